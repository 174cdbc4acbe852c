"""Short words to tell several runs apart by: names where they are distinct, else with the id. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from infra_tasks.cli.run_view import short

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WIDEST = 24  # columns of a name that is cut
CUT = "…"


def labels(runs: Sequence[tuple[str, str]]) -> list[str]:
    """Return a distinct label for each (id, name), on one line and without anything a terminal would obey."""
    said = [(run_id, _printable(name)) for run_id, name in runs]
    names: list[Callable[[str, str], str]] = [
        lambda run_id, name: _cut(name) or short(run_id),
        lambda run_id, name: f"{_cut(name)} {short(run_id)}".strip(),
        lambda run_id, _: run_id,
    ]
    found = [names[0](*one) for one in said]
    for name in names[1:]:
        often = Counter(found)
        found = [name(*one) if often[label] > 1 else label for one, label in zip(said, found, strict=True)]
    return found


def padded(texts: Sequence[str]) -> list[str]:
    """Return texts of the same width."""
    from rich.cells import cell_len  # noqa: PLC0415  wide characters take two columns

    widest = max((cell_len(text) for text in texts), default=0)
    return [text + " " * (widest - cell_len(text)) for text in texts]


def _cut(name: str) -> str:
    from rich.cells import cell_len, set_cell_size  # noqa: PLC0415

    return name if cell_len(name) <= WIDEST else set_cell_size(name, WIDEST - 1).rstrip() + CUT


def _printable(name: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in name).strip()
