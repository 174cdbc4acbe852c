"""A spec: what somebody wants run. Immutable, validated where it is given, refused with the nearest known word."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from infra_tasks.errors import BadSpec
from infra_tasks.model.complaints import Complaint, complaints
from infra_tasks.model.nearest import did_you_mean
from infra_tasks.model.patterns import MAX_PATTERNS, Pattern
from infra_tasks.model.run import Reason
from infra_tasks.model.secret_ref import SecretRef, as_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra_tasks.model.spec_text import Form

CEILING_S = 7200.0
DEFAULT_GRACE_S = 10.0
DEFAULT_LOST_AFTER_S = 120.0
DEFAULT_STOP_AFTER_S = 60.0
# Between the end of the grace at a node that lost the ledger and the start elsewhere, at least this much.
LEASE_MARGIN_S = 15.0
MAX_RETRIES = 100
MOST_RUNNING = 1_000_000
LEAST_MEMORY_BYTES = 1024**2
MOST_MEMORY_BYTES = 1024**5
# Linux passes less than 128 KiB per argument or variable and about 2 MiB in all; a spec also travels through Redis.
MAX_ARG_BYTES = 128 * 1024 - 1
MAX_SPEC_BYTES = 1024 * 1024

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
# Ten years; a lease as long as that would hold up safe mode, so a day is the most there.
Seconds = Annotated[float, Field(gt=0, le=10 * 365 * 86400, allow_inf_nan=False)]
LeaseSeconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]

# Reasons after which a further attempt can make sense.
RETRYABLE = (
    Reason.EXIT_CODE,
    Reason.SIGNAL,
    Reason.TIMEOUT,
    Reason.MEMORY,
    Reason.NODE_LOST,
    Reason.SYNC_FAILED,
    Reason.START_FAILED,
)


class RunSpec(BaseModel):
    """What to run, where it may run, how long, how often to retry. Spans are seconds.

    `command`: a list is argv, a string goes to `/bin/sh -c`.
    `env`: texts, or `{"secret": name}` for a value that the node looks up at the start (docs/secrets.md).
    `memory_bytes`: what all its processes may hold together; over it they are ended (docs/specs.md says how exactly).
    `node`: pinned to that node; without it any node that has all `labels` may take the run.
    `retry_on`: reasons that use up `retries`. An attempt that was lost (its machine or its shim died) is run again
    without using them, unless `node_lost` is left out here: then the run fails with that reason.
    `outputs`: patterns of files to bring home when the command has ended, however it ended (docs/outputs.md).
    `max_running`: it waits while so many runs of the same `name` run, in the whole fleet.
    `private`: run in a writable copy of the project's code (true) or in the shared one; None: as nodes.json says.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    command: list[str] | str
    project: Word | None = None
    node: Word | None = None
    labels: frozenset[Word] = Field(default=frozenset(), strict=False)
    env: dict[str, str | SecretRef] = Field(default_factory=dict)
    timeout_s: Annotated[float, Field(gt=0, le=CEILING_S, allow_inf_nan=False)] = CEILING_S
    grace_s: Annotated[float, Field(ge=0, le=600, allow_inf_nan=False)] = DEFAULT_GRACE_S
    memory_bytes: Annotated[int, Field(ge=LEAST_MEMORY_BYTES, le=MOST_MEMORY_BYTES)] | None = None
    retries: Annotated[int, Field(ge=0, le=MAX_RETRIES)] = 0
    retry_backoff_s: Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False)] = 5.0
    retry_on: tuple[Annotated[Reason, Field(strict=False)], ...] = Field(default=RETRYABLE, strict=False)
    idempotency_key: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = None
    expires_s: Seconds | None = None
    outputs: Annotated[tuple[Pattern, ...], Field(max_length=MAX_PATTERNS, strict=False)] | None = None
    private: Annotated[bool, Field(strict=True)] | None = None
    notify: None = None
    name: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    max_running: Annotated[int, Field(ge=1, le=MOST_RUNNING)] | None = None
    lost_after_s: LeaseSeconds = DEFAULT_LOST_AFTER_S
    stop_after_s: LeaseSeconds = DEFAULT_STOP_AFTER_S

    @classmethod
    def of(cls, given: RunSpec | Mapping[str, Any], defaults: Mapping[str, float] | None = None) -> RunSpec:
        """Return the spec meant by `given`; `defaults`: what the fleet says of spans that `given` leaves out.

        Raises BadSpec, naming each wrong field, what was found and the nearest known word.
        """
        if isinstance(given, RunSpec):
            wrong = given.lease_complaint(defaults or {})
            if wrong:
                raise bad_spec([Complaint((), wrong)])
            return given
        if not isinstance(given, Mapping):
            raise BadSpec(f"a spec is a RunSpec or a dict with at least 'command'; found {type(given).__name__}")
        if not all(isinstance(name, str) for name in given):
            raise BadSpec("the names of a spec's fields are texts: 'command', 'project', 'node' ...")
        try:
            return cls.model_validate(dict(given), context=defaults)
        except ValidationError as error:
            raise bad_spec(complaints(error, cls)) from None

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> RunSpec:
        """Return the spec that a dict describes, as JSON would. Raises BadSpec with every mistake."""
        return cls.of(given)

    @classmethod
    def from_json(cls, text: str | bytes) -> RunSpec:
        """Return the one spec that a JSON text holds. Raises BadSpec with every mistake and its line and column."""
        return _one_in(cls, text, "json")

    @classmethod
    def from_yaml(cls, text: str | bytes) -> RunSpec:
        """Return the one spec that a YAML text holds. Raises BadSpec with every mistake and its line and column.

        Numbers, true, false and null are as in JSON; everything else is a text, also `on`, `no`, `12:30` and `007`.
        """
        return _one_in(cls, text, "yaml")

    @field_validator("labels", mode="before")
    @classmethod
    def _labels(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError("a list of labels, not one string")  # noqa: TRY004  pydantic wants ValueError
        return value

    @field_validator("command", "retry_on", mode="before")
    @classmethod
    def _listed(cls, value: Any, info: ValidationInfo) -> Any:
        if info.field_name == "command":
            return list(value) if isinstance(value, tuple) else value
        if isinstance(value, str):
            raise ValueError("a list of reasons, not one string")  # noqa: TRY004  pydantic wants ValueError
        for reason in value if isinstance(value, (list, tuple, set, frozenset)) else ():
            if reason not in RETRYABLE:
                meant = did_you_mean(str(reason), [one.value for one in RETRYABLE])
                raise ValueError(f"{reason!r}{meant}; allowed: {', '.join(RETRYABLE)}")
        return value

    @field_validator("outputs", mode="before")
    @classmethod
    def _patterns(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError("a list of patterns, not one string")  # noqa: TRY004  pydantic wants ValueError
        return value

    @field_validator("outputs")
    @classmethod
    def _each_once(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return tuple(dict.fromkeys(value)) if value else None

    @field_validator("notify", mode="before")
    @classmethod
    def _not_yet(cls, value: Any) -> Any:
        if value is not None:
            raise ValueError("not yet: this version cannot do that; leave it out")
        return value

    @field_validator("retry_on")
    @classmethod
    def _retryable(cls, value: tuple[Reason, ...]) -> tuple[Reason, ...]:
        return tuple(sorted(set(value)))

    @field_validator("command")
    @classmethod
    def _command(cls, value: list[str] | str) -> list[str] | str:
        words = [value] if isinstance(value, str) else value
        if not words or not words[0].strip():
            raise ValueError("is empty")
        for word in words:
            if "\0" in word:
                raise ValueError("holds a NUL byte, which no program can be given")
            if len(word.encode()) > MAX_ARG_BYTES:
                raise ValueError(f"an argument is longer than {MAX_ARG_BYTES} bytes; put it into a file of the project")
        return value

    @field_validator("env")
    @classmethod
    def _env(cls, value: dict[str, str | SecretRef]) -> dict[str, str | SecretRef]:
        for name, said in value.items():
            text = said if isinstance(said, str) else ""
            if not _ENV_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of an environment variable")
            if name.startswith("INFRA_"):
                raise ValueError(f"{name!r}: names that begin with INFRA_ are ours")
            if "\0" in text:
                raise ValueError(f"the value of {name!r} holds a NUL byte")
            if len(name) + len(text.encode()) >= MAX_ARG_BYTES:
                raise ValueError(f"{name!r} is longer than {MAX_ARG_BYTES} bytes; put it into a file of the project")
        return value

    @field_validator("name")
    @classmethod
    def _name(cls, value: str | None) -> str | None:
        if value is not None and not value.isprintable():
            raise ValueError("allowed: one line of printable characters")
        return value

    @model_validator(mode="after")
    def _private_code(self) -> Self:
        if self.private and self.project is None:
            raise ValueError("private: found true; only a run with a 'project' has code to copy")
        return self

    @model_validator(mode="after")
    def _counted_by_name(self) -> Self:
        if self.max_running is not None and self.name is None:
            raise ValueError(
                f"max_running: found {self.max_running}; it counts the runs of one 'name', and there is none"
            )
        return self

    @model_validator(mode="after")
    def _whole(self, info: ValidationInfo) -> Self:
        wrong = self.lease_complaint(info.context or {})
        if wrong:
            raise ValueError(wrong)
        return self

    def lease_complaint(self, defaults: Mapping[str, float]) -> str | None:
        """Return what is wrong with the spans of the lease, those left out being `defaults`. A pinned run has none."""
        stop_s, grace_s, lost_s = (
            getattr(self, name) if name in self.model_fields_set else defaults.get(name, getattr(self, name))
            for name in ("stop_after_s", "grace_s", "lost_after_s")
        )
        if self.pinned or stop_s + grace_s + LEASE_MARGIN_S <= lost_s:
            return None
        return (
            f"stop_after_s {stop_s:g} + grace_s {grace_s:g} + {LEASE_MARGIN_S:g} must not exceed "
            f"lost_after_s {lost_s:g}: a cut-off node must have stopped before another one starts"
        )

    @property
    def argv(self) -> list[str]:
        """The command as the kernel is given it."""
        return ["/bin/sh", "-c", self.command] if isinstance(self.command, str) else list(self.command)

    @property
    def secrets(self) -> dict[str, str]:
        """Variables of the environment with the names of the secrets they get."""
        return {name: said.secret for name, said in self.env.items() if isinstance(said, SecretRef)}

    @property
    def pinned(self) -> bool:
        """Only this node may run it: its own lock file decides, there is no lease."""
        return self.node is not None

    def to_json(self) -> str:
        """Return the canonical text: the same spec gives the same text. Raises BadSpec when it is too large."""
        said = {name: value for name, value in self.__dict__.items() if value != _DEFAULTS.get(name, ...)}
        if "labels" in said:
            said["labels"] = sorted(said["labels"])
        text = _CANONICAL.encode(said)
        if len(text) > MAX_SPEC_BYTES:
            raise BadSpec(f"this spec is {len(text)} bytes; at most {MAX_SPEC_BYTES}: put data into files of a project")
        return text

    @classmethod
    def recorded(cls, text: str) -> RunSpec:
        """Return the spec that `to_json` wrote; of another version's what is known here (see `model.recorded`).

        Raises BadSpec when too little of it is.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError:
            from infra_tasks.model.recorded import known_part  # noqa: PLC0415  seldom needed

            return known_part(text)


_DEFAULTS: dict[str, Any] = {
    name: field.get_default(call_default_factory=True)
    for name, field in RunSpec.model_fields.items()
    if not field.is_required()
}
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=as_json)


def bad_spec(problems: Sequence[Complaint]) -> BadSpec:
    """Return the error for a spec with these problems."""
    return BadSpec("\n".join(["this spec cannot be run:", *(each.said for each in problems)]), problems)


def _one_in(kind: type[RunSpec], text: str | bytes, form: Form) -> RunSpec:
    from infra_tasks.model.spec_text import made_of, one_in  # noqa: PLC0415  seldom needed

    return made_of([one_in(text, form)], lambda given: kind.of(given.value))[0]
