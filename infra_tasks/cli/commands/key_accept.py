"""`infra key accept`: trusts the host key of a node, once its user has seen it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import open_home
from infra_tasks.cli.exit_codes import DONE, FAILED
from infra_tasks.cli.params import fingerprint
from infra_tasks.cli.peers import peer_named
from infra_tasks.cli.printing import print_facts, print_json
from infra_tasks.cli.terminal import agreed, colour, is_interactive, note
from infra_tasks.errors import BadInput, HostKeyRefused

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner
    from infra_tasks.model.ssh_address import SshAddress
    from infra_tasks.releases.remote.host_key import HostKey, Judgement
    from infra_tasks.settings import Home

WITHIN_S = 10.0
EXAMPLES = """
infra key accept mac-2
infra key accept mac-2 --fingerprint SHA256:dGhlIGZpbmdlcnByaW50IG9mIGEgaG9zdCBrZXkgaXM
infra key accept mac-2 --yes
"""
WARNING = """This node knew another key of {}. Either that machine was set up anew, or somebody else answers in its
place and would be sent your code. Accept the new key only if you know why it changed."""


class Seen(NamedTuple):
    """What a node shows, and what is known of it."""

    node: str
    address: SshAddress
    key: HostKey
    known: list[HostKey]
    judged: Judgement
    user_knows: bool


@make("accept", EXAMPLES)
@click.argument("node")
@click.option("--fingerprint", "wanted", type=fingerprint, metavar="SHA256:...", help="Accept this key and no other.")
@click.option("--yes", is_flag=True, help="Do not ask. A key that has changed still wants --fingerprint.")
@click.pass_obj
def command(manner: Manner, /, node: str, *, wanted: str | None, yes: bool) -> int:
    """Show the host key of NODE and, when you agree, trust it from now on.

    Compare the fingerprint with what the machine itself says: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub

    Where nobody can be asked, --fingerprint is the safe way; --yes takes whatever answers.
    """
    from infra_tasks.releases.remote import known_hosts  # noqa: PLC0415  paramiko and pydantic

    home = open_home()
    seen = _look(home, node)
    if not manner.json:
        _print(seen)
    if wanted and wanted != seen.key.fingerprint:
        raise HostKeyRefused(f"{node} shows the key {seen.key.fingerprint}, not {wanted}: it is not accepted")
    accepted = seen.judged is not known_hosts.Judgement.SAME
    if accepted:
        if not (wanted or _agreed(manner, seen, yes=yes)):
            note("nothing was accepted")
            return FAILED
        known_hosts.accept(home, seen.address, seen.key)
    _tell(manner, seen, accepted=accepted)
    return DONE


def _look(home: Home, node: str) -> Seen:
    from infra_tasks.releases.remote import known_hosts  # noqa: PLC0415

    address = peer_named(home, node)
    before = known_hosts.known(home, address)
    key = known_hosts.shown_key(address, WITHIN_S, prefer=before)
    return Seen(node, address, key, before, known_hosts.judge(before, key), _user_knows(address, key))


def _user_knows(address: SshAddress, key: HostKey) -> bool:
    """Say whether the user's own ssh trusts the same key: then it was seen to before."""
    from infra_tasks.releases.remote import known_hosts  # noqa: PLC0415

    with suppress(OSError, RuntimeError):
        return key in known_hosts.known_in(Path("~/.ssh/known_hosts").expanduser(), address)
    return False


def _print(seen: Seen) -> None:
    from infra_tasks.releases.remote.host_key import where  # noqa: PLC0415

    changed = seen.judged.name == "CHANGED"
    print_facts(
        [
            ("node", seen.node),
            ("address", where(seen.address)),
            ("key type", seen.key.type),
            ("fingerprint", seen.key.fingerprint),
            ("accepted", ", ".join(map(str, seen.known)) if changed else None),
            ("your ssh", "knows the same key (~/.ssh/known_hosts)" if seen.user_knows else "does not know this key"),
        ]
    )
    if changed:
        warning = click.style(f"THE KEY HAS CHANGED. {WARNING.format(seen.node)}", fg="red")
        click.echo(f"\n{warning}\n", err=True, color=colour())


def _agreed(manner: Manner, seen: Seen, *, yes: bool) -> bool:
    """Ask, where somebody can be asked. Raises BadInput where not."""
    changed = seen.judged.name == "CHANGED"
    if yes and not changed:
        return True
    if yes or manner.json or not is_interactive():
        how = f"--fingerprint {seen.key.fingerprint}"
        raise BadInput(
            f"the key of {seen.node} has changed, and --yes is not enough for that: if it is right, give {how}"
            if changed
            else f"nobody can be asked here: if the key of {seen.node} is right, give {how} (or --yes)"
        )
    return agreed(f"Trust this key of {seen.node} from now on?")


def _tell(manner: Manner, seen: Seen, *, accepted: bool) -> None:
    from infra_tasks.releases.remote.host_key import where  # noqa: PLC0415

    if manner.json:
        print_json(
            {
                "node": seen.node,
                "address": where(seen.address),
                "type": seen.key.type,
                "fingerprint": seen.key.fingerprint,
                "judged": seen.judged.value,
                "accepted": accepted,
                "known_before": [{"type": key.type, "fingerprint": key.fingerprint} for key in seen.known],
                "user_knows": seen.user_knows,
            }
        )
    else:
        click.echo(f"the key of {seen.node} is {'accepted' if accepted else 'accepted already'}")
