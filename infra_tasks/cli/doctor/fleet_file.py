"""nodes.json: whether it is there and right, whether folders overlap, and who can read what is secret."""

from __future__ import annotations

import os
import stat
from itertools import combinations
from typing import TYPE_CHECKING

from infra_tasks.cli.doctor.finding import bad, ok, warning
from infra_tasks.errors import BadFleet, FleetUnreachable, SecretUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from infra_tasks.cli.doctor.finding import Finding
    from infra_tasks.model.fleet import Fleet
    from infra_tasks.settings import Home

CHECK = "nodes.json"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def read(home: Home) -> tuple[Fleet | None, list[Finding]]:
    """Return the fleet, if there is one that is right, and what was found."""
    from infra_tasks.ledger.connect import fleet_of  # noqa: PLC0415  redis and pydantic

    try:
        fleet = fleet_of(home)
    except FleetUnreachable:
        return None, [bad(CHECK, f"{home.nodes_json} is not there: no fleet here yet", "infra init")]
    except BadFleet as error:
        return None, [bad(CHECK, str(error), f"mend {home.nodes_json}; what is said above is all of it")]
    except OSError as error:
        said = f"{home.nodes_json} cannot be read: {error.strerror}"
        return None, [bad(CHECK, said, f"sudo chown {os.geteuid()} '{home.nodes_json}'")]
    return fleet, [ok(CHECK, f"fleet {fleet.name}: {', '.join(fleet.nodes)}")]


def judge_place(home: Home, name: str | None, fleet: Fleet) -> Iterator[Finding]:
    """Say which node this is."""
    if name is None:
        roots = {node.root for node in fleet.nodes.values() if node.is_local}
        cure = f"export INFRA_HOME={min(roots)}" if roots else "give one node ssh 'local' and this folder as root"
        yield bad("node", f"no node of nodes.json with ssh 'local' lives in {home.root}", cure)


def judge_roots(fleet: Fleet, expand: Callable[[str], str]) -> list[Finding]:
    """Say which folders lie in one another. `expand` makes a root of this machine a whole path."""
    from infra_tasks.model.ssh_address import ssh_address  # noqa: PLC0415

    places = {}
    for name, node in fleet.nodes.items():
        address = ssh_address(node.ssh)
        machine = ("", expand(node.root)) if address is None else (f"{address.user}@{address.machine}", node.root)
        places[f"the root of {name}"] = (machine[0], machine[1].rstrip("/"))
    for name, project in fleet.projects.items():
        machine_of, _ = places[f"the root of {project.node}"]
        source = expand(project.source) if not machine_of else project.source
        places[f"the source of project {name}"] = (machine_of, source.rstrip("/"))
    return [each for pair in combinations(places, 2) for each in _overlap(places, *pair)] or [
        ok("folders", "no root and no source lies in another node's root")
    ]


def _overlap(places: dict[str, tuple[str, str]], first: str, second: str) -> Iterator[Finding]:
    for inner, outer in ((first, second), (second, first)):
        (inner_machine, inner_path), (outer_machine, outer_path) = places[inner], places[outer]
        if inner_machine != outer_machine or not f"{inner_path}/".startswith(f"{outer_path}/"):
            continue
        if "source" in outer and "source" in inner:
            continue  # one project may be a part of another
        said = f"{inner} ({inner_path}) lies in {outer} ({outer_path})"
        yield bad("folders", said, "give each its own folder in nodes.json; move it while the node is down")
        return


def judge_secrets(home: Home, fleet: Fleet | None) -> Iterator[Finding]:
    """Say whether others can read passwords and secrets."""
    from infra_tasks.secret_store.file import SecretsFile  # noqa: PLC0415

    open_files = [path for path in (*_passwords(home), *_with_login(home, fleet)) if _mode(path) & 0o077]
    for path in open_files:
        yield bad("secrets", f"{path} can be read by others (mode {_mode(path):04o})", f"chmod 600 '{path}'")
    try:
        count = len(SecretsFile(home.secrets_json).read())
    except SecretUnavailable as error:
        yield bad("secrets", str(error), f"chmod 600 '{home.secrets_json}'")
    else:
        if not open_files:
            yield ok(
                "secrets", f"{count} in {home.secrets_json.name}, for its owner only" if count else "none kept here"
            )


def judge_command(command: Sequence[str] | None, is_there: Callable[[str], bool]) -> Iterator[Finding]:
    """Say whether the program that tells secrets is there."""
    if command and not is_there(command[0]):
        cure = "install it, or name it with its whole path in nodes.<node>.secret_command"
        yield bad("secret_command", f"{command[0]} is not on the PATH that commands of this node have", cure)


def judge_broker(fleet: Fleet) -> Iterator[Finding]:
    """Say whether strangers could use the Redis of the fleet."""
    from urllib.parse import urlsplit  # noqa: PLC0415

    said = urlsplit(fleet.broker)
    if fleet.broker != "embedded" and not said.password and said.hostname not in LOOPBACK:
        yield warning(
            "broker",
            f"the URL of {said.hostname} has no password: who reaches that Redis runs commands on every node",
            "redis-cli CONFIG SET requirepass ... (and in redis.conf); then redis://:PASSWORD@... in nodes.json",
        )


def _passwords(home: Home) -> list[Path]:
    return sorted(home.secrets.glob("[!.]*")) if home.secrets.is_dir() else []


def _with_login(home: Home, fleet: Fleet | None) -> list[Path]:
    kept = [path for path in (home.nodes_json, home.accepted_json) if path.exists()]
    return kept if fleet and "@" in fleet.broker else []


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
