"""One figure: what was measured, ours beside its floor, and what is wanted of the two."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

HEAD = ("what", "ours", "floor", "ratio", "wanted", "ok?", "load")


@dataclass(frozen=True)
class Figure:
    """`wanted` says it in words, `ok` whether it holds (None: only told, nothing is wanted).

    `load`: of the machine for the last minute, where that was higher: before or after the measuring.
    """

    what: str
    ours: float
    unit: str
    floor: float | None = None
    wanted: str = ""
    ok: bool | None = None
    load: float | None = None

    @property
    def ratio(self) -> float | None:
        """Ours divided by the floor."""
        return self.ours / self.floor if self.floor else None

    def as_dict(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        return {**asdict(self), "ratio": self.ratio}

    def row(self) -> tuple[str, ...]:
        """Return it as a line of the table."""
        return (
            self.what,
            f"{_digits(self.ours)} {self.unit}",
            "-" if self.floor is None else f"{_digits(self.floor)} {self.unit}",
            "-" if self.ratio is None else f"{self.ratio:.2f}x",
            self.wanted or "-",
            {True: "yes", False: "MISSED", None: ""}[self.ok],
            "-" if self.load is None else f"{self.load:.1f}",
        )


def table(figures: list[Figure]) -> str:
    """Return all figures as one table."""
    rows = [HEAD, *(one.row() for one in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _digits(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
