"""The attempts of this node that are not reported yet: one small file each, so that nobody walks through old runs.

`live/<run id>@<attempt>` is written before the claim (it carries the claim id: the ledger can never know of a claim
that this disk does not) and removed once the ledger knows the end.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from infra_tasks.runner.attempt import Attempt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from infra_tasks.settings import Home


class Token(NamedTuple):
    """The fencing token of an attempt, with its run."""

    run: str
    attempt: int
    claim: str


@dataclass(frozen=True)
class LiveAttempt:
    """One entry: whose attempt it is, and its folder."""

    token: Token
    folder: Attempt


def enter(home: Home, token: Token) -> None:
    """Note an attempt before it is claimed. Ordinarily a second name for its lock, which costs no new file."""
    try:
        lock = os.open(home.attempt(token.run, token.attempt) / "lock", os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            os.write(lock, token.claim.encode())
        finally:
            os.close(lock)
        os.link(home.attempt(token.run, token.attempt) / "lock", _entry(home, token))
    except OSError:
        _write_entry(home, token)


def _write_entry(home: Home, token: Token) -> None:
    """Write it as a file of its own: there is no lock yet, or it is on another disk, or an entry stands there."""
    home.live.mkdir(parents=True, exist_ok=True)
    beside = home.live / f".{os.getpid()}.{token.run}@{token.attempt}"
    try:
        beside.write_text(token.claim)
        beside.rename(_entry(home, token))
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def leave(home: Home, token: Token) -> None:
    """Strike an attempt off: it is reported, or its claim was refused."""
    _entry(home, token).unlink(missing_ok=True)


def is_noted(home: Home, token: Token) -> bool:
    """Say whether an attempt is still noted."""
    return _entry(home, token).exists()


def attempts(home: Home) -> Iterator[LiveAttempt]:
    """Return what is noted, in no order."""
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(home.live):
            run, at, number = entry.name.rpartition("@")
            if not at or entry.name.startswith(".") or not number.isdigit():
                continue
            with contextlib.suppress(FileNotFoundError), open(entry.path, encoding="utf-8") as file:  # noqa: PTH123
                yield LiveAttempt(Token(run, int(number), file.read()), Attempt(home.attempt(run, int(number))))


def _entry(home: Home, token: Token) -> Path:
    return home.live / f"{token.run}@{token.attempt}"
