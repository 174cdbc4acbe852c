"""A node behind ssh: whether it can be reached, whether its key is the accepted one, and how its machine is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from infra_tasks.cli.doctor import machine as machines
from infra_tasks.cli.doctor.finding import bad, ok
from infra_tasks.errors import HostKeyRefused, NodeUnreachable, ReleaseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra_tasks.cli.doctor.finding import Finding
    from infra_tasks.model.fleet import Fleet
    from infra_tasks.releases.remote.line import Line
    from infra_tasks.releases.remote.peer import Peer
    from infra_tasks.settings import Home

FACTS_WITHIN_S = 10.0


def look(home: Home, fleet: Fleet, name: str, version: str) -> Iterator[Finding]:
    """Call a node as a transfer does, and ask its porter how its machine is."""
    from infra_tasks.releases.remote.line import Line  # noqa: PLC0415  Fabric
    from infra_tasks.releases.remote.peer import peer_of  # noqa: PLC0415
    from infra_tasks.releases.remote.ssh_files import SshFiles  # noqa: PLC0415

    peer = peer_of(fleet, name)
    began = time.monotonic()
    try:
        line = Line(SshFiles(home), peer)
    except ReleaseError as error:
        yield judge_failure(error, peer)
        return
    try:
        yield ok("ssh", f"{peer.shown} answers in {time.monotonic() - began:.1f} s, with the accepted host key")
        yield machines.judge_version(str(line.hello["version"]), version)
        yield from _machine(line)
    finally:
        line.close()


def judge_failure(error: ReleaseError, peer: Peer) -> Finding:
    """Say why a node cannot be called, and what to do."""
    words = str(error)
    login = f"{'' if peer.address.port == 22 else f'-p {peer.address.port} '}{peer.target}"
    if isinstance(error, HostKeyRefused):
        return bad("host key", words, f"infra key accept {peer.name}")
    if not isinstance(error, NodeUnreachable):
        return bad("ssh", words, "mend what it names")
    if "lets nobody in" in words:
        return bad("ssh", words, f"ssh-copy-id {login}")
    if "started once" in words:
        return bad("ssh", words, f"ssh {login}, and there: infra up --detach")
    if "another protocol" in words or "says that it is node" in words:
        return bad("ssh", words, "bring both nodes to one version" if "protocol" in words else "mend nodes.json")
    return bad("ssh", words, f"see whether `ssh {login} true` works: is it on, is the address right, does sshd listen?")


def _machine(line: Line) -> Iterator[Finding]:
    from infra_tasks.releases.machine import Machine  # noqa: PLC0415

    asked_at = time.time()
    try:
        said = line.ask("machine", within_s=FACTS_WITHIN_S)
    except ReleaseError as error:
        yield bad("machine", f"says nothing of itself: {error}", "bring both nodes to one version")
        return
    heard_at = time.time()
    seen = Machine(**{name: said.get(name) for name in Machine.__dataclass_fields__})  # type: ignore[arg-type]
    yield from machines.judge(seen)
    yield machines.judge_clock(seen.clock_at - (asked_at + heard_at) / 2, (heard_at - asked_at) / 2, "this machine")
