"""The fleet as nodes.json says it: machines, projects, limits; checked whole before anything uses it."""

from __future__ import annotations

from os.path import normpath
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from infra_tasks.errors import BadFleet
from infra_tasks.model.allowed import IN_WORDS
from infra_tasks.model.broker_url import EMBEDDED, check_broker
from infra_tasks.model.broker_url import RULE as BROKER_RULE
from infra_tasks.model.complaints import complaints
from infra_tasks.model.fleet_rules import cross_complaints
from infra_tasks.model.kinds import Argument, Flag, Label, Name, NodePath, Number, Whole
from infra_tasks.model.ssh_address import LOCAL, ssh_address
from infra_tasks.model.ssh_address import RULE as SSH_RULE
from infra_tasks.model.strict_json import NotStrictJson, read_object

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CEILING_S = 7200  # no run of any fleet may take longer
LEASE_MARGIN_S = 15  # between the end of the last process and another node's start: clocks, one late renewal
MIB = 1024 * 1024


def _each_once(words: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({word for word in words if words.count(word) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} said twice; say each once")
    return words


def _reachable(text: str) -> str:
    ssh_address(text)
    return text


Labels = Annotated[tuple[Label, ...], Field(max_length=32), AfterValidator(_each_once)]
Ssh = Annotated[str, AfterValidator(_reachable), Field(json_schema_extra={IN_WORDS: SSH_RULE})]
Broker = Annotated[str, AfterValidator(check_broker), Field(json_schema_extra={IN_WORDS: BROKER_RULE})]
Pattern = Annotated[Argument, Field(min_length=1)]
Arguments = Annotated[tuple[Argument, ...], Field(min_length=1)]
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
    """One machine, or one of several nodes on it."""

    ssh: Ssh
    root: NodePath
    slots: Annotated[Whole, Field(ge=1, le=256)] = 2
    labels: Labels = ()

    @property
    def is_local(self) -> bool:
        """Whether the node is on the machine this nodes.json is read on."""
        return self.ssh == LOCAL


class Project(_Part):
    """A source tree: where it is, on which node, what to leave out, what to run once per release."""

    source: NodePath
    node: Name
    exclude: Annotated[tuple[Pattern, ...], Field(max_length=1000)] = ()
    setup: Script | Arguments | None = None
    setup_timeout_s: Annotated[Number, Field(gt=0, le=CEILING_S)] = 1800
    private: Flag = False


class Fleet(_Part):
    """All of nodes.json. Made by `parse_fleet`; whoever holds one holds one that is right."""

    name: Name = Field(alias="fleet")
    broker: Broker = Field(default=EMBEDDED, repr=False)
    limits: Limits = Limits()
    nodes: Annotated[dict[Name, Node], Field(min_length=1)]
    projects: dict[Label, Project] = {}

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        wrong = cross_complaints(self.model_dump())
        if wrong:
            raise ValueError("\n".join(wrong))
        return self


def parse_fleet(text: str | bytes, path: str = "nodes.json") -> Fleet:
    """Return the fleet that `text` describes; `path` is what the message calls the file.

    Raises BadFleet with every problem on a line of its own: JSON path, what was found, what is allowed.
    """
    try:
        raw = read_object(text)
    except NotStrictJson as error:
        raise _bad(path, error.problems) from None
    try:
        return Fleet.model_validate(raw)
    except ValidationError as error:
        raise _bad(path, [*complaints(error, Fleet), *cross_complaints(raw)]) from None


def local_node(fleet: Fleet, home_root: Path, expand: Callable[[str], Path]) -> str | None:
    """Return the name of the node that lives in `home_root` on this machine, or None.

    `expand` turns a root as written into a path (`~` replaced; links resolved, if they are in `home_root`).
    """
    wanted = normpath(home_root)
    local = (name for name, node in fleet.nodes.items() if node.is_local and normpath(expand(node.root)) == wanted)
    return next(local, None)


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


def _bad(path: str, problems: list[str] | tuple[str, ...]) -> BadFleet:
    each_once = list(dict.fromkeys(problems))
    count = "1 problem" if len(each_once) == 1 else f"{len(each_once)} problems"
    return BadFleet("\n".join([f"{path} has {count}:", *(f"  {line}" for line in each_once)]))
