"""A project's source and a node's folder to try releases with."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from infra_tasks import releases
from infra_tasks.settings import Home

REPOSITORY = Path(__file__).parent.parent


@dataclass
class Yard:
    """`source` holds the code, `home` is the node. The project is called "p"."""

    root: Path
    exclude: tuple[str, ...] = ()
    holds: list[int] = field(default_factory=list)

    @property
    def code(self) -> Path:
        return self.root / "source"

    @property
    def home(self) -> Home:
        return Home(self.root / "home")

    @property
    def source(self) -> releases.Source:
        return releases.Source(self.code, self.exclude)

    @property
    def shelf(self) -> Path:
        return self.home.projects / "p" / "releases"

    def write(self, **files: str) -> None:
        """Write files; `a__b` means the path `a/b`, `_py` at the end `.py`."""
        for name, text in files.items():
            self.put(name.replace("__", "/"), text)

    def put(self, path: str, text: str | bytes) -> Path:
        place = self.code / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text.encode() if isinstance(text, str) else text)
        return place

    def snapshot(self) -> releases.Snapshot:
        return releases.snapshot(self.home, "p", self.source)

    def ensure(self, digest: str | None = None, *, alone: bool = False) -> releases.Release:
        """Snapshot and ensure; with `alone` nobody can bring files from the source."""
        digest = digest or self.snapshot().digest
        return releases.ensure_release(self.home, "p", digest, source=None if alone else self.source)

    def hold(self, release: releases.Release) -> int:
        self.holds.append(releases.hold(release))
        return self.holds[-1]

    def let_go(self) -> None:
        while self.holds:
            os.close(self.holds.pop())

    def git(self, *words: str, folder: Path | None = None) -> None:
        who = ("-c", "user.name=yard", "-c", "user.email=yard@example.org", "-c", "protocol.file.allow=always")
        subprocess.run(["git", *who, *words], cwd=folder or self.code, check=True, capture_output=True)

    def commit_all(self) -> None:
        if not (self.code / ".git").exists():
            self.git("init", "-q")
        self.git("add", "-A")
        self.git("commit", "-qm", "all", "--allow-empty")

    def python(self, code: str, **more: object) -> subprocess.Popen[str]:
        """Start a python that has `yard` made for this place."""
        lines = f"from yard import Yard\nfrom pathlib import Path\nyard = Yard(Path({str(self.root)!r}))\n{code}"
        env = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}"}
        command = [sys.executable, "-c", lines]
        return subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)  # type: ignore[call-overload]


def tree(folder: Path) -> dict[str, str]:
    """Return what is in a folder: path -> content, or -> where a link leads."""
    found = {}
    for top, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            place = Path(top) / name
            path = str(place.relative_to(folder))
            if place.is_symlink():
                found[path] = f"-> {place.readlink()}"
            elif place.is_file():
                found[path] = place.read_bytes().decode(errors="replace")
    return found


def content(folder: Path) -> str:
    """Return one hash over what is in a folder."""
    return hashlib.sha256(repr(sorted(tree(folder).items())).encode("utf-8", "surrogateescape")).hexdigest()


def spoil(path: Path, text: str) -> None:
    """Write into a sealed file in place, as root or a stubborn task can, and hide it as well as utime can."""
    was = path.stat()
    path.chmod(0o644)
    path.write_text(text)
    path.chmod(was.st_mode & 0o7777)
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def end(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    process.communicate()
