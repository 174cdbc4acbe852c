"""Which runs a user wants to see: by state, node, project and name. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from infra_tasks.model.facts import UNREACHABLE, shown_state
from infra_tasks.model.run import FINAL, State

if TYPE_CHECKING:
    from collections.abc import Collection

    from infra_tasks.ledger.records import Run

STATES = (*(state.value for state in State), UNREACHABLE)
_PATTERN_SIGNS = "*?["


@dataclass(frozen=True)
class Wanted:
    """What fits all that was asked for; what was not asked for fits. `states` are those that are shown."""

    states: frozenset[str] = frozenset()
    node: str | None = None
    project: str | None = None
    name: str | None = None

    def fits(self, run: Run, silent: Collection[str]) -> bool:
        """Say whether a run is wanted. `silent`: the nodes that have not spoken lately."""
        return (
            (not self.states or shown_state(run, silent) in self.states)
            and self.node in {None, run.claim_node or run.node}
            and self.project in {None, run.project}
            and (self.name is None or is_named(run.name, self.name))
        )

    @property
    def live_only(self) -> bool:
        """No run that has ended can fit."""
        return bool(self.states) and not self.states & FINAL

    @property
    def narrows(self) -> bool:
        """Not every run fits."""
        return self != Wanted()


def is_named(name: str, pattern: str) -> bool:
    """Say whether a name fits a pattern with * ? [], or holds a text that has none of them; capitals do not matter."""
    name, pattern = name.lower(), pattern.lower()
    if any(sign in pattern for sign in _PATTERN_SIGNS):
        return fnmatchcase(name, pattern)
    return pattern in name
