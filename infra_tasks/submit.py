"""Accepting a spec: checked against the fleet, then put into the ledger. What `delay()`, the CLI and foreign clients share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from infra_tasks.errors import BadInput, BadSpec
from infra_tasks.ledger.runs import Submission
from infra_tasks.model.nearest import did_you_mean
from infra_tasks.model.spec import RunSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra_tasks.ledger import Ledger
    from infra_tasks.ledger.records import Run
    from infra_tasks.model.fleet import Fleet

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")


def submission(
    given: RunSpec | Mapping[str, Any], fleet: Fleet, run_id: str | None = None, **options: Any
) -> Submission:
    """Return the submission of a spec to this fleet; `options` are those of `Submission`.

    Raises BadSpec: a wrong field, an unknown node or project, labels no node has, a limit above the fleet's ceiling.
    """
    spec = _with_defaults(RunSpec.of(given), fleet)
    _check(spec, fleet)
    source_node = fleet.projects[spec.project].node if spec.project else None
    return Submission(_id(run_id), spec, source_node=source_node, **options)


def again(run: Run, fleet: Fleet, **options: Any) -> Submission:
    """Return a new run of the same spec with `retry_of`. Raises BadInput while the old one still goes on."""
    if not run.final:
        raise BadInput(f"run {run.id} is {run.state}; only a final run can be run again (`infra cancel` ends it)")
    spec = run.spec.model_copy(update={"idempotency_key": None})
    return submission(spec, fleet, retry_of=run.id, **options)


def submit(ledger: Ledger, fleet: Fleet, given: RunSpec | Mapping[str, Any], **options: Any) -> str:
    """Accept a spec and return the run's id."""
    return ledger.runs.submit(submission(given, fleet, **options))


def _id(run_id: str | None) -> str:
    if run_id is None:
        return str(uuid4())
    if not _RUN_ID.fullmatch(run_id) or ".." in run_id:
        raise BadInput(f"{run_id!r} cannot be a run id: letters, digits and . _ : - only, at most 128")
    return run_id


def _with_defaults(spec: RunSpec, fleet: Fleet) -> RunSpec:
    """Fill in what the spec leaves to the fleet, so that the record says all of it."""
    limits = {
        name: float(getattr(fleet.limits, name)) for name in ("timeout_s", "grace_s", "lost_after_s", "stop_after_s")
    }
    unsaid = {name: value for name, value in limits.items() if name not in spec.model_fields_set}
    return spec.model_copy(update=unsaid)


def _check(spec: RunSpec, fleet: Fleet) -> None:
    if spec.node and spec.node not in fleet.nodes:
        raise BadSpec(f"node: {spec.node!r} is not in nodes.json{did_you_mean(spec.node, fleet.nodes)}")
    if spec.project and spec.project not in fleet.projects:
        raise BadSpec(
            f"project: {spec.project!r} is not in nodes.json{did_you_mean(spec.project, fleet.projects)} "
            "(add it under 'projects' with its source folder)"
        )
    if spec.timeout_s > fleet.limits.timeout_s:
        raise BadSpec(
            f"timeout_s: {spec.timeout_s:g} is above this fleet's ceiling of {fleet.limits.timeout_s:g} seconds"
        )
    able = [fleet.nodes[spec.node]] if spec.node else list(fleet.nodes.values())
    if not any(spec.labels <= set(node.labels) for node in able):
        known = sorted({label for node in fleet.nodes.values() for label in node.labels})
        missing = next((label for label in sorted(spec.labels) if label not in known), "")
        raise BadSpec(
            f"labels: no node has all of {', '.join(sorted(spec.labels))}"
            f"{did_you_mean(missing, known)}; nodes.json knows: {', '.join(known) or 'none'}"
        )
