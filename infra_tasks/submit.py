"""Accepting a spec: checked against the fleet, then put into the ledger.

What `delay()`, the CLI and foreign clients share.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from infra_tasks import __version__
from infra_tasks.errors import BadInput, BadSpec
from infra_tasks.ledger.submission import Submission, fingerprint
from infra_tasks.model.complaints import Complaint
from infra_tasks.model.nearest import did_you_mean
from infra_tasks.model.recorded import refusal
from infra_tasks.model.spec import RunSpec
from infra_tasks.node import name_here

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from infra_tasks.ledger import Ledger
    from infra_tasks.ledger.records import Run
    from infra_tasks.model.fleet import Fleet
    from infra_tasks.settings import Home

# What a spec leaves to the fleet.
FROM_LIMITS = ("timeout_s", "grace_s", "lost_after_s", "stop_after_s")
# So many wrong specs are told at once.
MOST_TOLD = 20
# A moment further away than this (ten years) is a slip.
FURTHEST_S = 10 * 365 * 86400
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")


def submission(
    given: RunSpec | Mapping[str, Any],
    fleet: Fleet,
    run_id: str | None = None,
    *,
    home: Home | None = None,
    **options: Any,
) -> Submission:
    """Return the submission of a spec to this fleet; `options` are those of `Submission`.

    `home`: the folder of the node it is submitted on, if outputs may be wanted there.

    Raises BadSpec: a wrong field, an unknown node or project, labels no node has, a limit above the fleet's ceiling, a
    spec that is too large.
    """
    limits = {name: float(getattr(fleet.limits, name)) for name in FROM_LIMITS}
    asked = RunSpec.of(given, limits)
    spec = _with_limits(asked, limits)
    spec = _pinned_to_the_only_node(spec, _check(spec, fleet))
    _check_spans(options)
    source_node = fleet.projects[spec.project].node if spec.project else None
    known_by = None if spec is asked else fingerprint(asked.to_json())
    one = Submission(
        _id(run_id),
        spec,
        source_node=source_node,
        fingerprint=known_by,
        text=spec.to_json(),
        pinned_by_fleet=spec.node != asked.node,
        **options,
    )
    if home and not one.home_node and (spec.outputs or one.canvas):
        return replace(one, home_node=name_here(home, fleet))
    return one


def submissions(specs: Iterable[RunSpec | Mapping[str, Any]], fleet: Fleet, **options: Any) -> list[Submission]:
    """Return the submissions of many specs, all of them right. Raises BadSpec with what is wrong with each."""
    made, wrong = [], []
    for number, spec in enumerate(specs, start=1):
        try:
            made.append(submission(spec, fleet, **options))
        except BadSpec as error:
            wrong.append(f"spec {number}: {error}")
    if wrong:
        more = [f"and {len(wrong) - MOST_TOLD} more are wrong"] if len(wrong) > MOST_TOLD else []
        raise BadSpec("\n".join(["nothing was submitted:", *wrong[:MOST_TOLD], *more]))
    return made


def again(run: Run, fleet: Fleet, **options: Any) -> Submission:
    """Return a new run of the same spec with `retry_of`.

    Raises BadInput while the old one still goes on, or when a newer version recorded more than is known here.
    """
    if not run.final:
        raise BadInput(f"run {run.id} is {run.state}; only a final run can be run again (`infra cancel` ends it)")
    if why := refusal(run.fields["spec"], __version__):
        raise BadInput(f"run {run.id} cannot be run again from here: {why}; do it on a node of that version")
    unpinned = {"node": None} if run.fields.get("pool") else {}  # the fleet had pinned it, and may have grown since
    spec = run.spec.model_copy(update={"idempotency_key": None, **unpinned})
    return submission(spec, fleet, retry_of=run.id, **options)


def submit(ledger: Ledger, fleet: Fleet, given: RunSpec | Mapping[str, Any], **options: Any) -> str:
    """Accept a spec and return the run's id."""
    return ledger.runs.submit(submission(given, fleet, **options))


def is_run_id(text: str) -> bool:
    """Say whether a text can be a run id; it names folders, too."""
    return bool(_RUN_ID.fullmatch(text)) and ".." not in text


def _id(run_id: str | None) -> str:
    if run_id is None:
        return str(uuid4())
    if not isinstance(run_id, str) or not is_run_id(run_id):
        raise BadInput(f"{run_id!r} cannot be a run id: letters, digits and . _ : - only, at most 128")
    return run_id


def _pinned_to_the_only_node(spec: RunSpec, able: list[str]) -> RunSpec:
    """Nobody else could take it over: no lease then, and the command outlives any silence of its node."""
    return spec.model_copy(update={"node": able[0]}) if len(able) == 1 and not spec.node else spec


def _with_limits(spec: RunSpec, limits: Mapping[str, float]) -> RunSpec:
    """Fill in what the spec leaves to the fleet, so that the record says all of it."""
    said = spec.model_fields_set
    unsaid = {name: value for name, value in limits.items() if name not in said and value != getattr(spec, name)}
    return spec.model_copy(update=unsaid) if unsaid else spec


def _check(spec: RunSpec, fleet: Fleet) -> list[str]:
    """Return the nodes that can take it. Raises BadSpec with all that does not fit the fleet."""
    wrong = [*_unknown_names(spec, fleet), *_above_ceilings(spec, fleet)]
    able = [
        name
        for name in ([spec.node] if spec.node else fleet.nodes)
        if name in fleet.nodes and spec.labels <= set(fleet.nodes[name].labels)
    ]
    if not able and not (spec.node and spec.node not in fleet.nodes):
        wrong.append(_no_node_has(spec, fleet))
    if wrong:
        raise BadSpec("\n".join(each.said for each in wrong), wrong)
    return able


def _unknown_names(spec: RunSpec, fleet: Fleet) -> Iterator[Complaint]:
    if spec.node and spec.node not in fleet.nodes:
        known = ", ".join(fleet.nodes)
        yield Complaint(
            ("node",),
            f"node: {spec.node!r} is not in nodes.json{did_you_mean(spec.node, fleet.nodes)} (its nodes: {known})",
        )
    if spec.project and spec.project not in fleet.projects:
        yield Complaint(
            ("project",),
            f"project: {spec.project!r} is not in nodes.json{did_you_mean(spec.project, fleet.projects)} "
            "(add it under 'projects' with its source folder)",
        )


def _above_ceilings(spec: RunSpec, fleet: Fleet) -> Iterator[Complaint]:
    for name in ("timeout_s", "retries"):
        asked, most = getattr(spec, name), getattr(fleet.limits, name)
        if asked > most:
            yield Complaint(
                (name,),
                f"{name}: {asked:g} is above this fleet's ceiling of {most:g} (limits.{name} in nodes.json)",
            )


def _no_node_has(spec: RunSpec, fleet: Fleet) -> Complaint:
    asked = [fleet.nodes[spec.node]] if spec.node else list(fleet.nodes.values())
    known = sorted({label for node in asked for label in node.labels})
    missing = next((label for label in sorted(spec.labels) if label not in known), "")
    who = f"node {spec.node!r} has not" if spec.node else "no node has"
    return Complaint(
        ("labels",),
        f"labels: {who} all of {', '.join(sorted(spec.labels))}{did_you_mean(missing, known)}; "
        f"{'it has' if spec.node else 'nodes.json knows'}: {', '.join(known) or 'none'}",
    )


def _check_spans(options: Mapping[str, Any]) -> None:
    for name in ("delay_s", "expires_s"):
        value = options.get(name)
        if value is not None and not (math.isfinite(value) and value <= FURTHEST_S):
            raise BadInput(f"{name}: found {value!r}; allowed: a number of seconds, at most {FURTHEST_S} (ten years)")
