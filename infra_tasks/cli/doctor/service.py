"""The service that starts this node with its machine: launchd's or systemd's file, compared with what is here."""

from __future__ import annotations

import os
import plistlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infra_tasks.cli.doctor.finding import bad, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from infra_tasks.cli.doctor.finding import Finding

CHECK = "service"
STARTS = "workers.watcher"  # what the line of such a service holds
FOLDERS = ("~/Library/LaunchAgents", "/Library/LaunchDaemons", "~/.config/systemd/user", "/etc/systemd/system")


@dataclass(frozen=True)
class Service:
    """One file that starts a watcher. `spares_runs`: the system ends the watcher alone, not what it has started."""

    path: Path
    home: str
    python: str
    folder: str
    spares_runs: bool

    @property
    def reload(self) -> str:
        """How the system takes a changed file up."""
        if self.path.suffix == ".plist":
            return f"launchctl bootout gui/$UID '{self.path}'; launchctl bootstrap gui/$UID '{self.path}'"
        user = "" if self.path.is_relative_to("/etc") else "--user "
        return f"systemctl {user}daemon-reload; systemctl {user}restart {self.path.name}"


def installed(folders: Iterable[str] = FOLDERS) -> list[Service]:
    """Return the services of this machine that start a watcher; files that cannot be read are passed over."""
    paths = [path for folder in folders for path in sorted(Path(folder).expanduser().glob("*.[ps][le]*"))]
    return [one for path in paths if (one := _read(path))]


def judge(
    services: Iterable[Service], root: str, python: str, folder: str, *, there: Iterable[str]
) -> Iterator[Finding]:
    """Say whether the service of this node's folder starts what runs here. `there`: which of its paths exist."""
    ours = [one for one in services if one.home.rstrip("/") == root.rstrip("/")]
    if not ours:
        yield ok(CHECK, "none: nothing starts this node when the machine starts (launchd/, systemd/ have templates)")
    elif len(ours) > 1:
        extra = ", ".join(str(one.path) for one in ours[1:])
        yield bad(
            CHECK, f"{len(ours)} services start this node: {', '.join(str(one.path) for one in ours)}", f"rm {extra}"
        )
    for one in ours[:1]:
        yield _one(one, python, folder, set(there))


def _one(one: Service, python: str, folder: str, there: set[str]) -> Finding:
    missing = [path for path in (one.python, one.folder) if path not in there]
    if missing:
        said = f"{one.path} names {missing[0]}, which is not there: the node will not start with the machine"
        return bad(CHECK, said, f"put {python} and {folder} there, then {one.reload}")
    if not one.spares_runs:
        key = "AbandonProcessGroup true" if one.path.suffix == ".plist" else "KillMode=process"
        return bad(
            CHECK, f"{one.path} lacks {key}: running commands die with the watcher", f"add it, then {one.reload}"
        )
    wrong = [
        f"{seen}, here {wanted}" for seen, wanted in ((one.python, python), (one.folder, folder)) if seen != wanted
    ]
    if wrong:
        return warning(CHECK, f"{one.path} starts {'; '.join(wrong)}", f"put that there, then {one.reload}")
    return ok(CHECK, f"{one.path} starts this node")


def _read(path: Path) -> Service | None:
    try:
        data = path.read_bytes()
        if STARTS.encode() not in data:
            return None
        return _plist(path, data) if path.suffix == ".plist" else _unit(path, data.decode())
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None


def _plist(path: Path, data: bytes) -> Service:
    said = plistlib.loads(data)
    home = said["EnvironmentVariables"]["INFRA_HOME"]
    spares = bool(said.get("AbandonProcessGroup"))
    return Service(path, home, said["ProgramArguments"][0], said.get("WorkingDirectory", ""), spares)


def _unit(path: Path, text: str) -> Service:
    lines = [
        (name.strip(), value.strip())
        for name, sign, value in (line.partition("=") for line in text.splitlines())
        if sign
    ]
    words = [word for name, value in lines if name == "Environment" for word in shlex.split(value)]
    home = next(word.partition("=")[2] for word in words if word.startswith("INFRA_HOME="))
    said = dict(lines)
    python = shlex.split(said["ExecStart"])[0]
    spares = said.get("KillMode") == "process"
    return Service(path, _plain(home), _plain(python), _plain(said.get("WorkingDirectory", "")), spares)


def _plain(text: str) -> str:
    """Return a path without systemd's specifiers: %% is a percent sign, %h the home folder."""
    known = {"%%": "%", "%h": os.path.expanduser("~")}  # noqa: PTH111  a text stays a text
    return re.sub(r"%.", lambda found: known.get(found[0], found[0]), text)
