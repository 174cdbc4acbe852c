"""How answers look: JSON, tables that fit the terminal, moments and spans for people."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from infra_tasks.cli import spans
from infra_tasks.cli.terminal import colour, styled, width
from infra_tasks.cli.wrapping import wrapped
from infra_tasks.model.amounts import bytes_in_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BETWEEN = "  "
BELOW = "    "
FEW_COLUMNS = 24  # text in a column that is narrower is hard to read
STATE_COLOURS = {
    "SUCCESS": "green",
    "FAILURE": "red",
    "REVOKED": "yellow",
    "STARTED": "cyan",
    "RETRY": "yellow",
    "UNREACHABLE": "magenta",
    "running": "green",
    "up": "green",
    "dead": "red",
    "backoff": "red",
}


def print_json(value: Any, *, lines: bool = False) -> None:
    """Print a value as JSON; `lines`: on one line, for values that come one after another."""
    indent = None if lines else 2
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    is_text = text.encode(errors="ignore").decode() == text  # names of files may hold bytes that are no text
    click.echo(text if is_text else json.dumps(value, indent=indent))


def print_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    flexible: int,
    wrap: bool = False,
    spare: Sequence[str] = (),
) -> None:
    """Print rows in columns; where the terminal is too narrow, the `flexible` column is cut.

    `wrap`: nothing is cut; the flexible column, which must be the last one, goes on in the lines below.
    `spare`: headings of columns that are left out where there is no room for them, the first of these first.
    """
    shown = _with_room(headings, rows, flexible, width(), spare)
    heads, cells = [headings[at] for at in shown], [[row[at] for at in shown] for row in rows]
    for line in table_lines(heads, cells, flexible=shown.index(flexible), columns=width(), wrap=wrap):
        click.echo(line, color=colour())


def _with_room(
    headings: Sequence[str], rows: Sequence[Sequence[str]], flexible: int, columns: int, spare: Sequence[str]
) -> list[int]:
    """Return which columns to show: all, less as many of the spare ones as it takes to leave room for the flexible."""
    widths = _widths(headings, rows)
    widths[flexible] = min(widths[flexible], FEW_COLUMNS)
    shown = list(range(len(headings)))
    for name in spare:
        if sum(widths[at] for at in shown) + len(BETWEEN) * (len(shown) - 1) <= columns:
            break
        shown.remove(headings.index(name))
    return shown


def _widths(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    from rich.cells import cell_len  # noqa: PLC0415  wide characters take two columns

    return [max(cell_len(row[at]) for row in [headings, *rows]) for at in range(len(headings))]


def table_lines(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, flexible: int, columns: int, wrap: bool = False
) -> list[str]:
    """Return the lines `print_table` prints where there are so many columns: the headings first."""
    widths = _widths(headings, rows)
    too_wide = sum(widths) + len(BETWEEN) * (len(widths) - 1) - columns
    if too_wide > 0:
        widths[flexible] = max(len(headings[flexible]), widths[flexible] - too_wide)
    lines = [styled(_line(headings, widths), dim=True)]
    for row in rows:
        lines += _wrapped_row(row, widths) if wrap else [_line(row, widths)]
    return lines


def _wrapped_row(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """Give the lines of a row; a last column that has room for a few letters only goes below the others."""
    from rich.cells import cell_len  # noqa: PLC0415

    *cells, text = row
    if widths[-1] >= min(FEW_COLUMNS, cell_len(text)):
        for at, part in enumerate(wrapped(text, widths[-1])):
            yield _line([*([""] * len(cells) if at else cells), part], widths)
    else:
        yield _line(cells, widths[:-1])
        yield from (f"{BELOW}{part}" for part in wrapped(text, width() - len(BELOW)))


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return BETWEEN.join(_cell(text, columns) for text, columns in zip(row, widths, strict=True)).rstrip()


def _cell(text: str, columns: int) -> str:
    from rich.cells import cell_len, set_cell_size  # noqa: PLC0415

    fitting = text if cell_len(text) <= columns else set_cell_size(text, columns - 1) + "…"
    padding = " " * (columns - cell_len(fitting))
    shade = STATE_COLOURS.get(text)
    return (styled(fitting, fg=shade) if shade else fitting) + padding


def print_facts(facts: Sequence[tuple[str, str | None]]) -> None:
    """Print names and what is known of them, one to a line; what is not known is left out."""
    known = [(name, text) for name, text in facts if text]
    column = max((len(name) for name, _ in known), default=0)
    for name, text in known:
        shown = styled(text, fg=STATE_COLOURS[text]) if text in STATE_COLOURS else text
        click.echo(f"{styled(name.ljust(column), dim=True)}{BETWEEN}{shown}", color=colour())


def heading(text: str) -> None:
    """Print a heading."""
    click.echo(f"\n{styled(text, bold=True)}", color=colour())


def ago(moment: float | None, now: float) -> str:
    """Return how long ago a moment (wall seconds) was."""
    return f"{spans.words(now - moment)} ago" if moment else ""


def clock_time(moment: float | None) -> str:
    """Return a moment (wall seconds) in this machine's time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment)) if moment else ""


def size(amount: float | None) -> str:
    """Return bytes for people: 512 B, 9.0 MiB."""
    return bytes_in_words(amount) if amount else ""
