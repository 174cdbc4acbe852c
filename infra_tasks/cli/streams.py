"""The streams `infra` was started with: made sure of at the start, and given up where nobody can be written to.

A closed descriptor is plugged at once: the next file or connection that is opened would be given its number, and what
is written to stdout would go there.
"""

from __future__ import annotations

import errno
import io
import os
import sys

STREAMS = (0, 1, 2)
STDOUT = "stdout"  # as the file name of an error


class Answer(io.TextIOWrapper):
    """Our stdout. An error of it bears its name: a full disk below it is no fault of what was asked for."""

    @classmethod
    def of(cls, stream: io.TextIOWrapper) -> Answer:
        """Return stdout in place of Python's own, which must not be used any more."""
        return cls(
            stream.detach(),
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )

    def write(self, text: str) -> int:
        """Write as any stream does."""
        try:
            return super().write(text)
        except OSError as error:
            error.filename = STDOUT
            raise

    def flush(self) -> None:
        """Flush as any stream does."""
        try:
            super().flush()
        except OSError as error:
            error.filename = STDOUT
            raise


def make_sure() -> None:
    """Have stdin, stdout and stderr open: nothing to read, an error for who writes an answer, silence for the rest."""
    ways = {0: os.O_RDONLY, 1: os.O_RDONLY, 2: os.O_WRONLY}
    for fd in STREAMS:
        if not _is_open(fd):
            os.open(os.devnull, ways[fd])  # the lowest free number is this one
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115  it stays open
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    if type(sys.stdout) is io.TextIOWrapper:
        # Python's own is asked how wide the terminal is, by those who look for it there.
        sys.stdout = sys.__stdout__ = Answer.of(sys.stdout)  # type: ignore[misc]


def give_up() -> None:
    """Let nothing be written any more to a stream that takes nothing, so that Python does not complain at its end."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nothing, stream.fileno())


def trouble_with_stdout() -> OSError | None:
    """Return why stdout does not take what is still to be written, None if it does."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return error
    return None


def is_gone(error: OSError) -> bool:
    """Say whether nobody is there to read any more: a pipe without a reader, a terminal that was closed."""
    return isinstance(error, BrokenPipeError) or (error.errno == errno.EIO and error.filename == STDOUT)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
