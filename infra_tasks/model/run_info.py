"""A run as Python code is told of it: one frozen value, and the types of the dicts that results are. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict

from infra_tasks.errors import RunFailed, RunRevoked, StillGoing
from infra_tasks.model import outcome
from infra_tasks.model.facts import UNREACHABLE, as_json
from infra_tasks.model.run import RESULT_KEYS, Reason, State, is_final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from infra_tasks.ledger.records import Event, Run
    from infra_tasks.model.spec import RunSpec

FailureReason = Literal[
    "exit_code", "signal", "timeout", "memory", "node_lost", "sync_failed", "start_failed", "expired", "poisoned"
]  # fmt: skip


class OutputFile(TypedDict):
    """A file that a run brought home."""

    path: str
    size_bytes: int
    sha256: str


class LeftOut(TypedDict):
    """A file that was meant and could not be taken."""

    path: str
    why: str


class OutputsDict(TypedDict):
    """What a result says of outputs; docs/outputs.md tells each key."""

    files: list[OutputFile]
    count: int
    size_bytes: int
    missing: list[str]
    left_out: list[LeftOut]
    node: str
    home: str
    folder: str | None
    brought: bool
    error: str | None


class ResultDict(TypedDict):
    """What `run_spec.delay(spec).get()` returns. Moments are seconds since 1970, spans seconds, sizes bytes."""

    id: str
    state: Literal["SUCCESS", "FAILURE", "REVOKED"]
    reason: FailureReason | None
    exit_code: int | None
    signal: int | None
    node: str | None
    attempt: int
    release: str | None
    submitted_at: float | None
    started_at: float | None
    ended_at: float | None
    duration_s: float | None
    survivors: int
    max_rss_bytes: int | None
    cpu_s: float | None
    stdout_tail: str
    stderr_tail: str
    outputs: OutputsDict | None


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """A run as it was when it was asked for. None means: not known, or not known yet.

    Moments (`_at`) are seconds since 1970, by the clock of Redis or of the run's node; spans (`_s`) are seconds, sizes
    bytes. What is measured is that of the last attempt.
    """

    id: str
    state: State | Literal["UNREACHABLE"]
    """How far it is, equal to the word itself (`"SUCCESS"`). UNREACHABLE: it goes on, on a node that is silent now."""
    unreachable_since: float | None
    """When its node spoke last, while the run is UNREACHABLE."""
    reason: Reason | None
    """Why it failed, equal to the word itself (`"timeout"`)."""
    cause: str | None
    """Why it is what it is, in a sentence."""
    name: str | None
    project: str | None
    labels: tuple[str, ...]
    queue: str
    node: str | None
    """Where it is or was carried out; before that, the node it is pinned to."""
    attempt: int
    """How many attempts there were, the running one included."""
    release: str | None
    """The digest of the code it ran with."""
    timeout_s: float
    """Its limit, extensions included."""
    retry_of: str | None
    schedule: str | None
    """The schedule it was submitted by."""
    slot: str | None
    """The slot of that schedule it is for, in UTC (`2026-11-30T02:00:00Z`); None: asked for by hand."""
    cancel_asked: bool
    """It was asked to stop and has not ended yet."""
    warning: str | None
    submitted_at: float | None
    started_at: float | None
    ended_at: float | None
    duration_s: float | None
    exit_code: int | None
    signal: int | None
    survivors: int
    """Processes of it that could not be killed."""
    max_rss_bytes: int | None
    cpu_s: float | None
    stdout_tail: str
    """The last lines it wrote; empty while it goes on."""
    stderr_tail: str
    outputs: OutputsDict | None
    """The files it brought home, as they are by now."""
    spec: RunSpec
    """What was asked for."""

    @classmethod
    def of(cls, run: Run, silent: Mapping[str, float] | None = None, events: Sequence[Event] = ()) -> Self:
        """Return what the ledger's record says. `silent`: nodes that have not spoken lately, and when they did last."""
        said = as_json(run, silent or {}, events)
        known = {each.name: said[each.name] for each in fields(cls) if each.name in said}
        known |= {
            "state": said["state"] if said["state"] == UNREACHABLE else State(said["state"]),
            "reason": Reason(said["reason"]) if said["reason"] else None,
            "labels": tuple(said["labels"]),
            "survivors": said["survivors"] or 0,
            "stdout_tail": said["stdout_tail"] or "",
            "stderr_tail": said["stderr_tail"] or "",
            "warning": run.fields.get("warning") or None,
            "spec": run.spec,
        }
        return cls(**known)

    @property
    def final(self) -> bool:
        """Nothing may change it any more."""
        return is_final(self.state)

    @property
    def succeeded(self) -> bool:
        """It ended, and well."""
        return self.state == State.SUCCESS

    @property
    def result(self) -> ResultDict | None:
        """What `.get()` would return or carry in its error; None while the run goes on."""
        said = self.as_dict()
        return {key: said[key] for key in RESULT_KEYS} if self.final else None  # type: ignore[return-value]

    def check(self) -> Self:
        """Return this very value if the run succeeded.

        Raises RunRevoked, RunFailed (both with the last lines of output), StillGoing while it is not final.
        """
        if self.succeeded:
            return self
        result = self.result
        if result is None:
            raise StillGoing(f"run {self.id} is {self.state}", [self.id])
        kind = RunRevoked if self.state == State.REVOKED else RunFailed
        raise kind(outcome.told({**result}, self.cause or "", self.name), {**result})

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON knows it: what a web handler answers with."""
        return {
            **{each.name: getattr(self, each.name) for each in fields(self)},
            "state": str(self.state),
            "reason": self.reason and str(self.reason),
            "labels": list(self.labels),
            "spec": self.spec.model_dump(mode="json", exclude_unset=True),
        }
