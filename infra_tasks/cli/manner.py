"""How a user wants to be answered: as text or JSON, with tracebacks or without."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass
class Manner:
    """Set by the options every command has. `json`: answers on stdout and errors on stderr are JSON."""

    json: bool = False
    debug: bool = False

    @classmethod
    def asked_for(cls, arguments: Sequence[str]) -> Manner:
        """Return what a command line seems to ask for: it counts where the line is too wrong to be parsed."""
        ours = list(takewhile(lambda word: word != "--", arguments))
        return cls(json="--json" in ours, debug="--debug" in ours)
