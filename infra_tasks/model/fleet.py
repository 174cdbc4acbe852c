"""The fleet as nodes.json says it: machines, projects, limits; checked whole before anything uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from infra_tasks.errors import BadFleet
from infra_tasks.model.allowed import IN_WORDS
from infra_tasks.model.broker_url import EMBEDDED, check_broker
from infra_tasks.model.broker_url import RULE as BROKER_RULE
from infra_tasks.model.complaints import complaints, each_once
from infra_tasks.model.fleet_rules import cross_complaints
from infra_tasks.model.fleet_text import told_with_places
from infra_tasks.model.kinds import Argument, Flag, Label, Name, NodePath, Number, Whole
from infra_tasks.model.schedule import Schedule  # noqa: TC001  pydantic reads it
from infra_tasks.model.ssh_address import LOCAL, ssh_address
from infra_tasks.model.ssh_address import RULE as SSH_RULE
from infra_tasks.model.strict_json import SCHEMA, NotStrictJson, read_object

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra_tasks.model.complaints import Complaint

CEILING_S = 7200  # no run of any fleet may take longer
LEASE_MARGIN_S = 15  # between the end of the last process and another node's start: clocks, one late renewal
MIB = 1024 * 1024
NAME_MARK = "{name}"
SECRET_COMMAND_RULE = f'a list: a program and its arguments, {NAME_MARK} in one of them, like ["pass", "{NAME_MARK}"]'


def _each_once(words: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({word for word in words if words.count(word) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} said twice; say each once")
    return words


def _reachable(text: str) -> str:
    ssh_address(text)
    return text


def _asks_for_a_name(command: tuple[str, ...]) -> tuple[str, ...]:
    if NAME_MARK in command[0] or not any(NAME_MARK in word for word in command[1:]):
        raise ValueError(f"allowed: {SECRET_COMMAND_RULE}")
    return command


Labels = Annotated[tuple[Label, ...], Field(max_length=32), AfterValidator(_each_once)]
Ssh = Annotated[str, AfterValidator(_reachable), Field(json_schema_extra={IN_WORDS: SSH_RULE})]
Broker = Annotated[str, AfterValidator(check_broker), Field(json_schema_extra={IN_WORDS: BROKER_RULE})]
Pattern = Annotated[Argument, Field(min_length=1)]
Arguments = Annotated[tuple[Argument, ...], Field(min_length=1)]
SecretCommand = Annotated[
    Arguments, AfterValidator(_asks_for_a_name), Field(json_schema_extra={IN_WORDS: SECRET_COMMAND_RULE})
]
Script = Annotated[Argument, Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(_Part):
    """What no run and no folder may exceed. A spec may ask for less, never for more."""

    timeout_s: Annotated[Number, Field(gt=0, le=CEILING_S)] = CEILING_S
    grace_s: Annotated[Number, Field(ge=0, le=600)] = 10
    retries: Annotated[Whole, Field(ge=0, le=100)] = 20
    output_bytes: Annotated[Whole, Field(ge=1024, le=1024 * 1024 * MIB)] = 64 * MIB
    lost_after_s: Annotated[Number, Field(gt=0, le=86400)] = 120
    stop_after_s: Annotated[Number, Field(gt=0, le=86400)] = 60
    keep_runs_days: Annotated[Number, Field(gt=0, le=3650)] = 7
    keep_releases: Annotated[Whole, Field(ge=1, le=1000)] = 5
    history_days: Annotated[Number, Field(gt=0, le=3650)] = 30

    @model_validator(mode="after")
    def _lease_ends_before_another_begins(self) -> Self:
        needed = self.stop_after_s + self.grace_s + LEASE_MARGIN_S
        if needed > self.lost_after_s:
            raise ValueError(
                f"stop_after_s {self.stop_after_s:g} + grace_s {self.grace_s:g} + {LEASE_MARGIN_S} is {needed:g}, more "
                f"than lost_after_s {self.lost_after_s:g}: a lost run could start elsewhere before it has stopped here"
            )
        return self


class Node(_Part):
    """One machine, or one of several nodes on it.

    `secret_command`: prints the secret whose name stands for `{name}` in its arguments (docs/secrets.md).
    """

    ssh: Ssh
    root: NodePath
    slots: Annotated[Whole, Field(ge=1, le=256)] = 2
    labels: Labels = ()
    secret_command: SecretCommand | None = None

    @property
    def is_local(self) -> bool:
        """Whether the node is on the machine this nodes.json is read on."""
        return self.ssh == LOCAL


class Project(_Part):
    """A source tree: where it is, on which node, what to leave out, what to run once per release, how many may run."""

    source: NodePath
    node: Name
    exclude: Annotated[tuple[Pattern, ...], Field(max_length=1000)] = ()
    setup: Script | Arguments | None = None
    setup_timeout_s: Annotated[Number, Field(gt=0, le=CEILING_S)] = 1800
    private: Flag = False
    max_running: Annotated[Whole, Field(ge=1, le=1_000_000)] | None = None


class Window(_Part):
    """Flower of every node: whether runs can be ended there, and its port on loopback (none: one that is free)."""

    read_only: Flag = True
    port: Annotated[Whole, Field(ge=1024, le=65535)] | None = None


class Fleet(_Part):
    """All of nodes.json. Made by `parse_fleet`; whoever holds one holds one that is right.

    `archive`: what is older than `limits.history_days` is exported before it is forgotten.
    """

    name: Name = Field(alias="fleet")
    broker: Broker = Field(default=EMBEDDED, repr=False)
    limits: Limits = Limits()
    nodes: Annotated[dict[Name, Node], Field(min_length=1)]
    projects: dict[Label, Project] = {}
    schedules: dict[Label, Schedule] = {}
    flower: Window = Window()
    archive: Flag = True

    def most_running(self, node: str) -> dict[str, int]:
        """Return how many runs may run of each project whose source is on this node, 0 where there is no limit."""
        return {name: project.max_running or 0 for name, project in self.projects.items() if project.node == node}

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        wrong = cross_complaints(self.model_dump())
        if wrong:
            raise ValueError("\n".join(each.said for each in wrong))
        return self


def parse_fleet(text: str | bytes, path: str = "nodes.json") -> Fleet:
    """Return the fleet that `text` describes; `path` is what the message calls the file.

    Raises BadFleet with every problem on a line of its own: its place in the text, JSON path, what was found, what is
    allowed.
    """
    try:
        raw = read_object(text)
    except NotStrictJson as error:
        raise _bad(path, text, error.problems) from None
    if isinstance(raw.get(SCHEMA), str):
        del raw[SCHEMA]
    try:
        return Fleet.model_validate(raw)
    except ValidationError as error:
        raise _bad(path, text, [*complaints(error, Fleet), *cross_complaints(raw)]) from None


def new_fleet(
    name: str, node: str, slots: int = 2, labels: tuple[str, ...] = (), root: str = "~/.infra"
) -> dict[str, Any]:
    """Return what nodes.json of a fleet of one local node says, to be written as JSON."""
    return {
        "fleet": name,
        "broker": EMBEDDED,
        "limits": {"timeout_s": CEILING_S},
        "nodes": {node: {"ssh": LOCAL, "root": root, "slots": slots, "labels": list(labels)}},
        "projects": {},
    }


def _bad(path: str, text: str | bytes, problems: Sequence[Complaint]) -> BadFleet:
    told = each_once(problems)
    return BadFleet(told_with_places(told, text, path), told)
