"""Where somebody wants to begin to read a stream: at its last lines, at what was written after a moment, or both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from infra_tasks.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Begin:
    """`tail`: the last so many lines. `since`: what was written after this moment (wall seconds). Both: the later one.

    Raises BadInput.
    """

    tail: int | None = None
    since: float | None = None

    def __post_init__(self) -> None:
        if self.tail is not None and (type(self.tail) is not int or self.tail < 0):
            raise BadInput(f"tail: found {self.tail!r}; allowed: a number of lines, 0 or more")
        if self.since is not None and (isinstance(self.since, bool) or not _is_moment(self.since)):
            raise BadInput(f"since: found {self.since!r}; allowed: a moment in seconds, as time.time() gives it")

    @property
    def anywhere(self) -> bool:
        """Nothing was asked for: the stream's very beginning."""
        return self.tail is None and self.since is None

    def as_dict(self) -> dict[str, Any]:
        """Return it as it goes over the wire."""
        return {"tail": self.tail, "since": self.since}

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        """Return what `as_dict` made."""
        return cls(said["tail"], said["since"])


def _is_moment(said: object) -> bool:
    return isinstance(said, int | float) and math.isfinite(said)
