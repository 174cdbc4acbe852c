"""What an attempt came to: from its record and exit record to a result, a next attempt, or an end. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from infra_tasks.model.run import (
    POISONED_AFTER_LOST,
    POISONED_AFTER_UNSTARTED,
    RESULT_KEYS,
    Reason,
    State,
    retry_delay_s,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra_tasks.model.spec import RunSpec

# Results (and chord keys) live as long as the history.
KEEP_S = 30 * 24 * 3600
META_PREFIX = "celery-task-meta-"
SHOWN_LINES = 10
SIGKILL = 9
SHELL_SAYS_SIGNAL = 128

Result = dict[str, Any]


@dataclass(frozen=True)
class Ending:
    """What to tell the ledger about an attempt that is over."""

    to: State
    reason: Reason | None
    cause: str
    retry_in_s: float | None = None
    # "lost" (its command may have started) or "unstarted": run again without using a retry
    lost: str | None = None


def ending(exit_record: Mapping[str, Any], spec: RunSpec, counts: Mapping[str, int]) -> Ending:
    """Decide what becomes of a run whose attempt left this exit record.

    `counts`: retries_used, lost, unstarted as they were when the attempt was claimed.
    """
    outcome = exit_record["outcome"]
    if outcome == "exited" and exit_record["exit_code"] == 0:
        return Ending(State.SUCCESS, None, "exit code 0")
    if outcome == "cancelled":
        return Ending(State.REVOKED, None, "ended on request")
    if outcome in {"down", "lost", "fenced", "lease"}:
        return _lost(exit_record, spec, counts)
    reason, cause = _failure(exit_record)
    if _is_worth_waiting(exit_record, spec, counts):
        return Ending(State.FAILURE, reason, cause, lost="unstarted")
    if reason in spec.retry_on and counts["retries_used"] < spec.retries:
        return Ending(
            State.FAILURE, reason, cause, retry_in_s=retry_delay_s(spec.retry_backoff_s, counts["retries_used"])
        )
    return Ending(State.FAILURE, reason, cause)


def _is_worth_waiting(exit_record: Mapping[str, Any], spec: RunSpec, counts: Mapping[str, int]) -> bool:
    """Whether only a node that has the code was away: it may be back, or another node that has it takes the run."""
    away = exit_record["outcome"] == "sync_failed" and exit_record.get("holder_away")
    return bool(away) and Reason.SYNC_FAILED in spec.retry_on and counts["unstarted"] + 1 < POISONED_AFTER_UNSTARTED


def _failure(exit_record: Mapping[str, Any]) -> tuple[Reason, str]:
    outcome, error = exit_record["outcome"], exit_record.get("error")
    if outcome == "exited":
        return Reason.EXIT_CODE, f"exit code {exit_record['exit_code']}{_killer(exit_record)}"
    if outcome == "signaled":
        return Reason.SIGNAL, f"killed by signal {exit_record['signal']}{_killer(exit_record)}"
    reason = {"timeout": Reason.TIMEOUT, "memory": Reason.MEMORY, "sync_failed": Reason.SYNC_FAILED}.get(
        outcome, Reason.START_FAILED
    )
    return reason, error or reason.value


def _killer(exit_record: Mapping[str, Any]) -> str:
    """Say that the kernel may have killed the command, or a child whose shell passed the news on as an exit code."""
    killed = exit_record.get("signal") == SIGKILL or exit_record.get("exit_code") == SHELL_SAYS_SIGNAL + SIGKILL
    if not killed or not exit_record.get("kills_by_kernel"):
        return ""
    return "; meanwhile the kernel's out-of-memory killer struck on this node: perhaps it was that"


def _lost(exit_record: Mapping[str, Any], spec: RunSpec, counts: Mapping[str, int]) -> Ending:
    cause = exit_record.get("error") or {
        "down": "the node was stopped",
        "lease": "the node could not renew its lease and stopped the command",
        "fenced": "its claim was refused",
    }.get(exit_record["outcome"], "the attempt was lost")
    started = exit_record.get("started_at") is not None
    if started and Reason.NODE_LOST not in spec.retry_on:
        return Ending(State.FAILURE, Reason.NODE_LOST, cause)
    if exit_record["outcome"] == "down":
        return Ending(State.FAILURE, Reason.NODE_LOST, cause, lost="unstarted" if not started else "stopped")
    if started and counts["lost"] + 1 >= POISONED_AFTER_LOST:
        return Ending(State.FAILURE, Reason.POISONED, f"lost {POISONED_AFTER_LOST} times; the last time: {cause}")
    if not started and counts["unstarted"] + 1 >= POISONED_AFTER_UNSTARTED:
        return Ending(State.FAILURE, Reason.POISONED, f"never started in {POISONED_AFTER_UNSTARTED} attempts: {cause}")
    return Ending(State.FAILURE, Reason.NODE_LOST, cause, lost="lost" if started else "unstarted")


def unstarted(record: Mapping[str, Any], outcome: str, error: str, *, now: float) -> dict[str, Any]:
    """Return the exit record of an attempt whose command never started."""
    return {
        "run": record["run"],
        "attempt": record["attempt"],
        "claim": record["claim"],
        "outcome": outcome,
        "exit_code": None,
        "signal": None,
        "started_at": None,
        "ended_at": now,
        "duration_s": None,
        "survivors": 0,
        "max_rss_bytes": None,
        "cpu_s": None,
        "error": error,
        "boot_id": record.get("boot_id"),
    }


def result_of(
    run: Mapping[str, Any],
    state: State,
    reason: Reason | None,
    exit_record: Mapping[str, Any],
    tails: tuple[str, str] = ("", ""),
    outputs: Mapping[str, Any] | None = None,
) -> Result:
    """Return what `.get()` gives. `run` holds id, node, attempt, release, submitted_at."""
    known = {
        "id": run["id"],
        "state": state.value,
        "reason": reason.value if reason else None,
        "node": run.get("node") or None,
        "attempt": run.get("attempt", 0),
        "release": run.get("release") or None,
        "submitted_at": run.get("submitted_at"),
        "stdout_tail": tails[0],
        "stderr_tail": tails[1],
        "outputs": outputs,
    }
    taken = {
        key: exit_record.get(key)
        for key in (
            "exit_code",
            "signal",
            "started_at",
            "ended_at",
            "duration_s",
            "survivors",
            "max_rss_bytes",
            "cpu_s",
        )
    }
    result = {key: {**taken, **known}[key] for key in RESULT_KEYS}
    result["survivors"] = result["survivors"] or 0
    return result


def meta(result: Result, error: str | None, now: float, headers: Mapping[str, Any] | None = None) -> str:
    """Return the text Celery's result backend would have written for this end, `error` being what `.get()` raises."""
    state = State(result["state"])
    value: Any = result
    if state is not State.SUCCESS:
        kind = "RunRevoked" if state is State.REVOKED else "RunFailed"
        value = {"exc_type": kind, "exc_module": "infra_tasks.errors", "exc_message": [error or "", result]}
    said = {
        "status": state.value,
        "result": value,
        "traceback": None,
        "children": [],
        "date_done": datetime.fromtimestamp(now, UTC).isoformat(),
        "task_id": result["id"],
    }
    for name in ("group", "parent_id"):
        if headers and headers.get(name):
            said["group_id" if name == "group" else name] = headers[name]
    return json.dumps(said)


def told(result: Result, cause: str, name: str | None = None) -> str:
    """Return the sentence a caller reads when a run did not succeed: run, node, reason, and the last lines."""
    where = f" on {result['node']}" if result["node"] else ""
    who = f"run {result['id']}" + (f" ({name})" if name else "")
    verb = "was cancelled" if result["state"] == State.REVOKED else f"failed{where}: {cause}"
    tail = (result["stderr_tail"] or result["stdout_tail"]).rstrip().splitlines()[-SHOWN_LINES:]
    lines = "".join(f"\n  | {line}" for line in tail)
    return f"{who} {verb}{_reason(result, cause)}{lines}"


def _reason(result: Result, cause: str) -> str:
    reason = result["reason"]
    return f" ({reason})" if reason and reason.replace("_", " ") not in cause else ""
