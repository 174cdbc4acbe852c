"""What the user's terminal can show: colours, a line that changes, how wide."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import click

if TYPE_CHECKING:
    from types import TracebackType

UNLIMITED = 100_000  # a pipe has no width: nothing is cut
NARROWEST = 40


def colour() -> bool | None:
    """Return False where colours are not wanted (https://no-color.org), None where the stream decides."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def width() -> int:
    """Return how many columns stdout has."""
    return max(NARROWEST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else UNLIMITED


def styled(text: str, **style: object) -> str:
    """Return text for stdout in a style, or as it is where stdout shows none."""
    return click.style(text, **style) if colour() is None and sys.stdout.isatty() else text  # type: ignore[arg-type]


def note(text: str) -> None:
    """Tell the user something that is not the answer: on stderr, dim on a terminal."""
    with suppress(OSError):  # the terminal may be gone
        click.echo(click.style(f"infra: {text}", dim=True), err=True, color=colour())


def is_interactive() -> bool:
    """Say whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


class ChangingLine:
    """One line on stderr that says what is waited for; nothing at all where stderr is no terminal."""

    def __init__(self) -> None:
        self.able = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._shown = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.clear()

    def show(self, text: str) -> None:
        """Show `text` in place of what stands there."""
        if not self.able or text == self._shown:
            return
        columns = max(NARROWEST, shutil.get_terminal_size().columns)
        self._write(f"\r\x1b[K{text[: columns - 1]}")
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
