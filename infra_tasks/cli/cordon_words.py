"""Why nothing new is placed on a node, in words: who cordoned it, whether it is drained. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra_tasks.cli.path_text import path_text
from infra_tasks.cli.printing import clock_time

if TYPE_CHECKING:
    from collections.abc import Mapping

SYSTEM = "the system"


def cordon_words(fields: Mapping[str, str]) -> str:
    """Return what the ledger's fields of a node say of it, "" when it is not cordoned."""
    if fields.get("cordoned") != "1":
        return ""
    said = [_drain(fields)] if fields.get("drain") else []
    by_person = bool(fields.get("cordoned_by") or fields.get("cordon_why"))
    if not said and (by_person or not fields.get("survivors_why")):
        said.append(f"cordoned{_by(fields.get('cordoned_by'))}: {_why(fields) or 'nobody said why'}")
    if fields.get("survivors_why"):
        said.append(f"cordoned by {SYSTEM}: {path_text(fields['survivors_why'])}")
    return "; ".join(said)


def _drain(fields: Mapping[str, str]) -> str:
    what = f"{fields['drain']}{_by(fields.get('drain_by'))}"
    until = fields.get("drain_until_at")
    if until and fields["drain"] == "draining":
        what += f", at {clock_time(float(until))} what still runs is stopped"
    why = _why(fields)
    return f"{what}: {why}" if why else what


def _by(somebody: str | None) -> str:
    return f" by {path_text(somebody)}" if somebody else ""


def _why(fields: Mapping[str, str]) -> str:
    return path_text(fields.get("cordon_why") or "")
