"""Asks a command of the user for a secret: the keychain, `pass`, a vault. What it says goes nowhere else."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from infra_tasks.model.fleet import NAME_MARK
from infra_tasks.model.redactor import Redactor, without_logins
from infra_tasks.model.secret_rules import MOST_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# A person may have to unlock a keychain; a run waits no longer than this for each secret.
WITHIN_S = 30.0

READ_BYTES = 65536
KEPT_BYTES = MOST_BYTES + 2  # with its line end
LOOK_EVERY_MS = 50
SHOWN_CHARACTERS = 300


class CommandFailed(Exception):
    """The command gave no secret; the words say why, and hold nothing it told on stdout."""


def ask(
    command: Sequence[str],
    name: str,
    env: Mapping[str, str],
    within_s: float = WITHIN_S,
    known: Sequence[str] = (),
    goes_on: Callable[[], bool] = lambda: True,
) -> str:
    """Return what `command` prints for `name`, without the line end. `env` is its whole environment.

    `known`: other secrets that must not be seen in its words. It is ended when that which wants it no longer `goes_on`.
    Raises CommandFailed.
    """
    argv = [word.replace(NAME_MARK, name) for word in command]
    try:
        process = subprocess.Popen(
            argv,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise CommandFailed(f"cannot be started: {getattr(error, 'strerror', None) or error}") from error
    with process:
        try:
            out, err = _read(process, within_s, goes_on)
            code = process.wait()
        finally:
            _end(process)
    told = out.decode(errors="surrogateescape").removesuffix("\n").removesuffix("\r")
    if code:
        raise CommandFailed(_ending(code) + _words(err, [told, *told.split(), *known]))
    if not told:
        raise CommandFailed("printed nothing" + _words(err, known))
    return told


def _read(process: subprocess.Popen[bytes], within_s: float, goes_on: Callable[[], bool]) -> tuple[bytes, bytes]:
    """Read both streams to their ends, little of each. Raises CommandFailed when that takes too long."""
    assert process.stdout is not None
    assert process.stderr is not None
    said = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    poll, deadline = select.poll(), time.monotonic() + within_s
    for fd in said:
        poll.register(fd, select.POLLIN)
    while True:
        ended = process.poll() is not None
        ready = [fd for fd, _ in poll.poll(0 if ended else LOOK_EVERY_MS)]
        if ended and not ready:  # a daemon it started may hold the pipes for days
            out, err = said.values()
            return bytes(out), bytes(err)
        if time.monotonic() > deadline:
            raise CommandFailed(f"did not end within {within_s:g} s")
        if not goes_on():
            raise CommandFailed("was stopped: nobody waits for it any more")
        for fd in ready:
            piece = os.read(fd, READ_BYTES)
            said[fd] += piece[: max(0, KEPT_BYTES - len(said[fd]))]
            if not piece:
                poll.unregister(fd)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing of a command that did not end by itself."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _ending(code: int) -> str:
    return f"ended with {code}" if code > 0 else f"was killed by signal {-code}"


def _words(err: bytes, secrets: Sequence[str]) -> str:
    """Return the last words of the command, on one line, masked."""
    said = without_logins(Redactor(secrets).text(err.decode(errors="surrogateescape")))
    line = " ".join("".join(each if each.isprintable() else " " for each in said).split())
    return f": {line[-SHOWN_CHARACTERS:]}" if line else ""
