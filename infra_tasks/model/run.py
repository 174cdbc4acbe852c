"""The states of a run, the moves between them, and the reasons a run can fail.

`MOVES` is the one table: the Lua scripts are given it when they are loaded, `docs/states.md` is tested against it.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Celery's names where it has one. UNREACHABLE is shown, never stored."""

    PENDING = "PENDING"
    SYNCING = "SYNCING"
    QUEUED = "QUEUED"
    STARTED = "STARTED"
    RETRY = "RETRY"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    REVOKED = "REVOKED"


class Reason(StrEnum):
    """Why a run is FAILURE."""

    EXIT_CODE = "exit_code"
    SIGNAL = "signal"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    NODE_LOST = "node_lost"
    SYNC_FAILED = "sync_failed"
    START_FAILED = "start_failed"
    EXPIRED = "expired"
    POISONED = "poisoned"


FINAL = frozenset({State.SUCCESS, State.FAILURE, State.REVOKED})

MOVES: dict[State, frozenset[State]] = {
    # accepted: goes to dispatch (project), to its queue, or waits for its moment
    State.PENDING: frozenset({State.SYNCING, State.QUEUED, State.REVOKED, State.FAILURE}),
    # its code is being brought, by a dispatcher (back to PENDING when that died) or by the node that claimed it
    State.SYNCING: frozenset(
        {State.PENDING, State.QUEUED, State.STARTED, State.RETRY, State.FAILURE, State.REVOKED, State.SUCCESS}
    ),
    # waits for a free slot
    State.QUEUED: frozenset({State.SYNCING, State.STARTED, State.FAILURE, State.REVOKED}),
    # a node holds the claim; QUEUED again when the attempt was lost
    State.STARTED: frozenset({State.SUCCESS, State.FAILURE, State.REVOKED, State.RETRY, State.QUEUED}),
    # between two attempts
    State.RETRY: frozenset({State.QUEUED, State.FAILURE, State.REVOKED}),
    State.SUCCESS: frozenset(),
    State.FAILURE: frozenset(),
    State.REVOKED: frozenset(),
}

# An attempt that was lost after its command may have started is run again this often; then the run is poisoned.
POISONED_AFTER_LOST = 3
# An attempt that was lost before its command started (its worker died in between) does no harm: more patience.
POISONED_AFTER_UNSTARTED = 10

RESULT_KEYS = (
    "id",
    "state",
    "reason",
    "exit_code",
    "signal",
    "node",
    "attempt",
    "release",
    "submitted_at",
    "started_at",
    "ended_at",
    "duration_s",
    "survivors",
    "max_rss_bytes",
    "cpu_s",
    "stdout_tail",
    "stderr_tail",
    "outputs",
)


def is_final(state: str) -> bool:
    """Say whether nothing may change this run any more."""
    return state in FINAL


def retry_delay_s(backoff_s: float, retries_used: int) -> float:
    """Return how long to wait before the next attempt: the backoff doubles, up to an hour."""
    return float(min(backoff_s * 2 ** min(retries_used, 64), 3600.0))
