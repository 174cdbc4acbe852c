"""What can be done to a bed: every kind of strike, by the nemesis it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.nemeses import broker, code, freezes, kills, links, machine, redis, rollback, room, waiters

if TYPE_CHECKING:
    from chaos.nemeses.kind import Kind

ROOMS = (kills, freezes, redis, rollback, broker, room, code, links, machine, waiters)
KINDS: dict[str, Kind] = {one.name: one for nemesis in ROOMS for one in nemesis.ALL}


def kinds(bed: str, numbers: set[int] | None = None, names: set[str] | None = None) -> list[Kind]:
    """Return the kinds that can strike a bed: those of some nemeses, some by name, or all."""
    there = [one for one in KINDS.values() if one.beds & {bed, bed.removesuffix("-small")}]
    return [one for one in there if (not numbers or one.number in numbers) and (not names or one.name in names)]
