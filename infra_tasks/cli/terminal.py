"""What the user's terminal can show: colours, a line that changes, how wide."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Self

import click

from infra_tasks.cli.path_text import harmless

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

UNLIMITED = 100_000  # a pipe has no width: nothing is cut
NARROWEST = 40
PIPE_COLUMNS = 80


def colour() -> bool | None:
    """Return False where colours are not wanted (https://no-color.org), None where the stream decides."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def width() -> int:
    """Return how many columns stdout has."""
    return max(NARROWEST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else UNLIMITED


def picture_width() -> int:
    """Return how many columns a picture may have: as many as stdout has, in a pipe what everybody has."""
    return width() if sys.stdout.isatty() else PIPE_COLUMNS


def shows(signs: str) -> bool:
    """Say whether stdout's encoding has these signs."""
    try:
        signs.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def styled(text: str, **style: object) -> str:
    """Return text for stdout in a style, or as it is where stdout shows none."""
    return click.style(text, **style) if colour() is None and sys.stdout.isatty() else text  # type: ignore[arg-type]


_hushed: ContextVar[bool] = ContextVar("hushed", default=False)


@contextmanager
def hushed(*, wanted: bool = True) -> Iterator[None]:
    """Tell nothing but the answer and errors meanwhile, if that is wanted."""
    before = _hushed.set(wanted)
    try:
        yield
    finally:
        _hushed.reset(before)


def note(text: str) -> None:
    """Tell the user something that is not the answer: on stderr, dim on a terminal."""
    if _hushed.get():
        return
    with suppress(OSError):  # the terminal may be gone
        click.echo(click.style(f"infra: {harmless(text)}", dim=True), err=True, color=colour())


def is_interactive() -> bool:
    """Say whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def agreed(question: str) -> bool:
    """Ask on stderr, yes or no. Raises click.Abort on Ctrl-C and at the end of stdin, on a line of its own."""
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        click.echo(err=True)
        raise


def cut(text: str, columns: int) -> str:
    """Return as much of a text as has room in so many columns; wide characters take two."""
    if len(text) <= columns and text.isascii():
        return text
    from rich.cells import set_cell_size  # noqa: PLC0415

    return set_cell_size(text, max(0, columns)).rstrip()


class ChangingLine:
    """One line on stderr that says what is waited for; nothing at all where stderr is no terminal."""

    def __init__(self) -> None:
        self.able = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not _hushed.get()
        self._shown = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.clear()

    def show(self, text: str) -> None:
        """Show `text` in place of what stands there."""
        if not self.able or text == self._shown:
            return
        self._write(f"\r\x1b[K{cut(text, shutil.get_terminal_size().columns - 1)}")
        self._shown = text

    def clear(self) -> None:
        """Leave the line as if nothing had been there."""
        if self._shown:
            self._write("\r\x1b[K")
            self._shown = ""

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            self.able = False
