"""What `infra` ends with. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DONE = 0
FAILED = 1
WRONG_USE = 2
UNREACHABLE = 3
TIMEOUT = 124  # as timeout(1)
CANCELLED = 130  # as a command that was ended by Ctrl-C
SIGNAL = 128  # + its number, as shells say it
READER_GONE = SIGNAL + 13


def of_states(states: Iterable[str]) -> int:
    """Return what waiting for runs ends with: 0 when all are SUCCESS, 1 when one failed, 130 when one was cancelled."""
    ended = set(states)
    if ended - {"SUCCESS", "REVOKED"}:
        return FAILED
    return CANCELLED if "REVOKED" in ended else DONE


def of_result(result: Mapping[str, Any]) -> int:
    """Return what `infra run` ends with: the command's own exit code where it had one that counts."""
    if result["state"] == "SUCCESS":
        return DONE
    if result["state"] == "REVOKED":
        return CANCELLED
    if result["reason"] == "timeout":
        return TIMEOUT
    if result["signal"]:
        return SIGNAL + int(result["signal"])
    return int(result["exit_code"] or FAILED)
