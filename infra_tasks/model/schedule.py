"""A schedule of a user: when, what, what to do about slots that were missed, and about a run that still goes on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from infra_tasks.errors import BadInput
from infra_tasks.model.allowed import IN_WORDS
from infra_tasks.model.complaints import complaints
from infra_tasks.model.cron_rules import CRON_RULE, ZONE_RULE, check_cron, check_zone
from infra_tasks.model.kinds import LABEL_RULE, Whole
from infra_tasks.model.slots import Missed, Overlap  # noqa: TC001  pydantic reads them
from infra_tasks.model.spec import RunSpec  # noqa: TC001  pydantic reads it
from infra_tasks.model.timetable import Timetable

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
LONGEST_EVERY_S = 366 * 86400

Cron = Annotated[str, AfterValidator(check_cron), Field(max_length=200, json_schema_extra={IN_WORDS: CRON_RULE})]
Zone = Annotated[str, AfterValidator(check_zone), Field(max_length=64, json_schema_extra={IN_WORDS: ZONE_RULE})]
Every = Annotated[Whole, Field(ge=1, le=LONGEST_EVERY_S)]


class Schedule(BaseModel):
    """One entry under `schedules`: `cron` in the wall clock of `timezone`, or `every_s` seconds, counted from 1970 on.

    `missed`: slots that came while nobody could fire them: none of them (skip), the last one, or all (100 at most).
    `overlap`: while the run before goes on, a slot is left out (skip), waits, has that run cancelled, or is fired too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cron: Cron | None = None
    every_s: Every | None = None
    timezone: Zone = "UTC"
    spec: RunSpec
    missed: Missed = "one"
    overlap: Overlap = "skip"

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        wrong = list(self._complaints())
        if wrong:
            raise ValueError("\n".join(wrong))
        return self

    def _complaints(self) -> list[str]:
        wrong = []
        if (self.cron is None) == (self.every_s is None):
            wrong.append("either 'cron' or 'every_s' says when; " + ("found both" if self.cron else "found neither"))
        if self.every_s and self.timezone != "UTC":
            wrong.append("'timezone' goes with 'cron'; an interval is the same everywhere")
        if self.missed == "all" and self.overlap in {"skip", "cancel"}:
            wrong.append(f"missed 'all' goes with overlap 'queue' or 'allow'; {self.overlap!r} would leave most out")
        if self.spec.idempotency_key is not None:
            wrong.append("spec.idempotency_key: leave it out; every slot gives its run one of its own")
        return wrong

    @property
    def timetable(self) -> Timetable:
        """When it is due."""
        return Timetable(self.cron, self.every_s, self.timezone)

    def as_json(self) -> dict[str, Any]:
        """Return what a user would write."""
        return self.model_dump(mode="json", exclude_defaults=True)


def schedule_named(name: str, given: Mapping[str, Any]) -> Schedule:
    """Return the schedule somebody wants to add. Raises BadInput with every mistake, of its name as well."""
    if not NAME.fullmatch(name):
        raise BadInput(f"{name!r} cannot be the name of a schedule; allowed: {LABEL_RULE}")
    return schedule_of(given, f"schedule {name}")


def schedule_of(given: Mapping[str, Any], what: str) -> Schedule:
    """Return the schedule that a dict describes; `what` begins the message. Raises BadInput with every mistake."""
    try:
        return Schedule.model_validate(dict(given))
    except ValidationError as error:
        told = [f"{what} cannot be:", *(each.said for each in complaints(error, Schedule))]
        raise BadInput("\n".join(told)) from None
