"""Which looks make an examination: of this machine, its node, the fleet's Redis, and each node behind ssh."""

from __future__ import annotations

import os
import shutil
import sys
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from infra_tasks import __version__
from infra_tasks.cli.doctor import fleet_file, machine, nodes, redis, roles, service, ssh
from infra_tasks.cli.doctor.finding import Finding, bad
from infra_tasks.cli.doctor.lookups import Lookup
from infra_tasks.cli.here import Here
from infra_tasks.errors import FleetUnreachable
from infra_tasks.settings import Home, inherited

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from infra_tasks.model.fleet import Fleet

SSH_WITHIN_S = 45.0
REDIS_WITHIN_S = 20.0
REDIS_CHECK = "Redis"


def lookups(home: Home, fleet: Fleet | None, only: str | None) -> list[Lookup]:
    """Return the looks for a fleet (None: there is none that is right). `only`: look at this node alone."""
    here = _name_here(home, fleet) or ""
    wanted = [name for name in (fleet.nodes if fleet else ()) if only in (None, name)]
    found: list[Lookup] = []
    if only in (None, here):
        found += _of_this_machine(home, fleet, here)
    if fleet:
        found += [_redis(home, fleet), *_of_ledger(home, fleet, wanted, here)]
        found += [_beside(fleet, name) for name in wanted if fleet.nodes[name].is_local and name != here]
        found += [_far(home, fleet, name) for name in wanted if not fleet.nodes[name].is_local]
    return found


def _of_this_machine(home: Home, fleet: Fleet | None, here: str) -> list[Lookup]:
    def secrets() -> Iterator[Finding]:
        yield from fleet_file.judge_secrets(home, fleet)
        if fleet and here:
            yield from fleet_file.judge_command(fleet.nodes[here].secret_command, _on_path)

    found = [
        Lookup("this machine", "machine", partial(_machine, home), here),
        Lookup("roles", "roles", partial(_roles, home), here),
        Lookup("the service", service.CHECK, partial(_service, home), here),
        Lookup("secrets", "secrets", secrets, here),
    ]
    return found if fleet is None else [Lookup("folders", "folders", partial(_fleet, home, fleet, here)), *found]


def _name_here(home: Home, fleet: Fleet | None) -> str | None:
    if fleet is None:
        return None
    from infra_tasks.node import name_here  # noqa: PLC0415

    return name_here(home, fleet)


def _fleet(home: Home, fleet: Fleet, here: str) -> Iterator[Finding]:
    yield from fleet_file.judge_place(home, here or None, fleet)
    yield from fleet_file.judge_roots(fleet, lambda text: os.fspath(Path(text).expanduser().resolve()))
    yield from fleet_file.judge_broker(fleet)


def _machine(home: Home) -> Iterable[Finding]:
    from infra_tasks.releases.machine import look_at  # noqa: PLC0415

    seen = look_at(home.root)
    return machine.judge(replace(seen, open_files=_open_files(home, seen.open_files)))


def _open_files(home: Home, of_shell: int) -> int:
    """Return the limit of what runs here: that of the watcher, where the system tells it, else that of this shell."""
    watcher = Here(home).watcher()
    if not watcher or sys.platform != "linux":
        return of_shell
    import resource  # noqa: PLC0415

    with suppress(OSError, TypeError):
        return resource.prlimit(watcher["pid"], resource.RLIMIT_NOFILE)[0]
    return of_shell


def _on_path(program: str) -> bool:
    """Say whether commands of this node find a program."""
    return shutil.which(program, path=inherited()["PATH"]) is not None


def _roles(home: Home) -> Iterable[Finding]:
    here = Here(home)
    usual = home.root == Path("~/.infra").expanduser()
    up = "infra up --detach" if usual else f"INFRA_HOME='{home.root}' infra up --detach"
    return roles.judge(here.watcher(), here.roles(), home.logs, up, __version__)


def _service(home: Home) -> Iterable[Finding]:
    import infra_tasks  # noqa: PLC0415  where it lies

    services = service.installed()
    paths = {path for one in services for path in (one.python, one.folder)}
    there = [path for path in paths if path and Path(path).exists()]
    folder = os.fspath(Path(infra_tasks.__file__).parent.parent)
    return service.judge(services, os.fspath(home.root), sys.executable, folder, there=there)


def _redis(home: Home, fleet: Fleet) -> Lookup:
    def look() -> Iterator[Finding]:
        from infra_tasks.ledger.connect import url_of  # noqa: PLC0415
        from infra_tasks.ledger.examine import examine  # noqa: PLC0415

        embedded = fleet.broker == "embedded"
        try:
            seen = examine(url_of(home))
        except FleetUnreachable as error:
            cure = "infra up --detach" if embedded else "start it, or mend 'broker' in nodes.json"
            yield bad(REDIS_CHECK, str(error), cure)
        else:
            yield from redis.judge(seen, embedded=embedded)

    return Lookup("Redis", REDIS_CHECK, look, within_s=REDIS_WITHIN_S)


def _of_ledger(home: Home, fleet: Fleet, wanted: list[str], here: str) -> list[Lookup]:
    """Ask the ledger; where Redis does not answer, the look at Redis itself says so."""

    def look() -> Iterator[Finding]:
        from infra_tasks.ledger import Ledger  # noqa: PLC0415
        from infra_tasks.ledger.connect import url_of  # noqa: PLC0415

        try:
            ledger = Ledger.at(url_of(home), socket_timeout_s=5.0)
            ledger.answers()
        except FleetUnreachable:
            return
        try:
            known = ledger.nodes.all()
            yield from nodes.judge_strangers(known, list(fleet.nodes))
            yield from nodes.judge_waiting(ledger.nodes.safe_mode())
            clocks = nodes.Clocks(time.time(), ledger.nodes.now(), time.time())
            watcher = Here(home).watcher() or {}
            up_s = clocks.heard_at - float(watcher.get("since_at") or clocks.heard_at)
            yield from _of(here, nodes.judge_pulse(ledger.nodes.last_pulse(), clocks, up_s))
            for name in wanted:
                seen = next((one for one in known if one.name == name), None)
                yield from _of(name, nodes.judge(name, seen, __version__))
                if seen and not fleet.nodes[name].is_local:
                    yield from _of(name, nodes.judge_roles(seen))
        finally:
            ledger.close()

    return [Lookup("the ledger", "ledger", look, within_s=REDIS_WITHIN_S)]


def _of(node: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    for each in findings:
        yield replace(each, node=node)


def _beside(fleet: Fleet, name: str) -> Lookup:
    """Another node on this machine."""
    root = Path(fleet.nodes[name].root).expanduser()
    return Lookup(f"the roles of {name}", "roles", partial(_roles, Home(root)), name)


def _far(home: Home, fleet: Fleet, name: str) -> Lookup:
    look = partial(ssh.look, home, fleet, name, __version__)
    return Lookup(f"{name} over ssh", "ssh", look, name, SSH_WITHIN_S)
