"""Tells the ledger which releases this node holds: others fetch from it, and people want to know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra_tasks.ledger.code import HeldRelease
from infra_tasks.releases.held import standing
from infra_tasks.releases.layout import Shelf
from infra_tasks.releases.snapshot import recall

if TYPE_CHECKING:
    from infra_tasks.ledger import Ledger
    from infra_tasks.releases.held import Standing
    from infra_tasks.settings import Home

LOOK_EVERY_S = 3.0
# Also said when nothing changed: the ledger may have lost it.
SAY_EVERY_S = 60.0
# A manifest of ten thousand files takes 30 ms to read, once; the agent has other duties.
MANIFESTS_A_LOOK = 3

Sizes = tuple[int, int]


class Holdings:
    """Looks at the names of releases now and then, and says what changed."""

    def __init__(self, home: Home, ledger: Ledger) -> None:
        self._home = home
        self._ledger = ledger
        self._look_at = 0.0
        self._say_at = 0.0
        self._said: list[HeldRelease] | None = None
        self._sizes: dict[str, Sizes | None] = {}

    def run_once(self, node: str, now: float) -> None:
        """Look if it is time, and say it if it is news. `now`: monotonic seconds. Raises FleetUnreachable."""
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY_S
        if now >= self._say_at:
            self._sizes = {digest: sizes for digest, sizes in self._sizes.items() if sizes}
        held = self._held()
        if held == self._said and now < self._say_at:
            return
        self._said = None
        self._ledger.code.publish_releases(node, held, patience_s=0)
        self._said, self._say_at = held, now + SAY_EVERY_S

    def _held(self) -> list[HeldRelease]:
        there = list(standing(self._home))
        self._sizes = {one.digest: self._sizes[one.digest] for one in there if one.digest in self._sizes}
        for one in [one for one in there if one.digest not in self._sizes][:MANIFESTS_A_LOOK]:
            self._sizes[one.digest] = self._measured(one)
        return [_told(one, sizes) for one in there if (sizes := self._sizes.get(one.digest))]

    def _measured(self, one: Standing) -> Sizes | None:
        """Read how large a release is. One whose manifest is lost can be given to nobody, and is not told of."""
        manifest = recall(Shelf(self._home, one.project), one.digest)
        return None if manifest is None else (len(manifest.entries), manifest.size_bytes)


def _told(one: Standing, sizes: Sizes) -> HeldRelease:
    files, size_bytes = sizes
    return HeldRelease(one.digest, one.project, one.built_at, one.used_at, files, size_bytes, one.in_use)
