"""The Celery tasks, and `run_spec` as its users call it.

    run_spec.delay({"command": ["true"]}).get()

A hint carries nothing but the run's id; what `delay()` is given goes into the ledger.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from celery import Task
from celery.canvas import maybe_signature
from celery.exceptions import Ignore
from celery.signals import worker_process_init
from celery.utils import uuid
from kombu.exceptions import OperationalError
from kombu.utils import json

from infra_tasks import settings
from infra_tasks.app import app
from infra_tasks.backend import Told, told_of
from infra_tasks.errors import BadOption, BadSpec, RunFailed, RunRevoked
from infra_tasks.ledger import Ledger, open_ledger
from infra_tasks.ledger.connect import FleetFile
from infra_tasks.model import outcome
from infra_tasks.model.hint import DISPATCH_TASK, FETCH_TASK, RUN_TASK, fetch_asked
from infra_tasks.model.nearest import did_you_mean
from infra_tasks.model.run import State
from infra_tasks.model.spec import RunSpec
from infra_tasks.node import NodeHere, this_node
from infra_tasks.routing import dispatch_queue
from infra_tasks.submit import submission, submissions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from celery.result import AsyncResult

    from infra_tasks.execute import Executor
    from infra_tasks.ledger.runs import Submission
    from infra_tasks.many import RunResults
    from infra_tasks.settings import Home
    from infra_tasks.typed import RunResult, RunSpecTask

PULSE_TASK = "infra_tasks.pulse"
PULSE_EVERY_S = 30
CHECK_TASK = "infra_tasks.check_code"
CHECK_EVERY_S = 30 * 60

log = logging.getLogger(__name__)

# What Celery's canvas hands along, and what of a user's options is honoured.
_CANVAS = {"group_id": "group", "group_index": "group_index", "root_id": "root_id", "parent_id": "parent_id",
           "stamped_headers": "stamped_headers", "replaced_task_nesting": "replaced_task_nesting"}  # fmt: skip
_HONOURED = {"countdown", "eta", "expires", "link", "link_error", "task_id", "chain", "chord", "reply_to", *_CANVAS}
# Said by Celery itself without meaning anything here.
_SILENT = {"add_to_parent", "producer", "publisher", "connection", "ignore_result", "retries", "app", "typing",
           "task_type", "stamps"}  # fmt: skip


class RunTask(Task):  # type: ignore[misc]
    """`infra_tasks.run_spec`: submitting is one ledger script, running is done by a node that takes the hint."""

    abstract = True
    typing = False
    throws = (RunFailed,)
    Request = "infra_tasks.request:RunRequest"
    executor: Executor | None = None  # set in the children of a node's worker, nowhere else

    def signature(self, args: Any = None, *more: Any, **options: Any) -> Any:
        """Return a signature for a canvas; a RunSpec in it travels as a dict."""
        if args is not None:
            args = tuple(_plain(one) for one in args)
        return super().signature(args, *more, **options)

    subtask = signature

    def delay(self, *args: Any, **kwargs: Any) -> AsyncResult:
        """Accept a spec durably and return its AsyncResult. See `apply_async`."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self, args: Any = None, kwargs: Any = None, task_id: str | None = None, **options: Any
    ) -> AsyncResult:
        """Accept a spec (the last argument; what a chain or chord puts before it is not needed) as a run.

        Honours countdown, eta, expires, link, link_error, task_id and the canvas; everything else raises BadOption.
        Raises BadSpec, IdempotencyConflict; SubmitUnknown when the connection was lost in between (it has `run_id`).
        """
        one = _submission(_spec_in(args, kwargs), task_id or uuid(), options, **_home())
        run_id = _ledger().runs.submit(one)
        result = self.AsyncResult(run_id)
        _trail(result)
        return result

    def map(self, specs: Iterable[RunSpec | Mapping[str, Any]]) -> RunResults:
        """Accept many specs in a few round trips; returns their results in order. Refuses all when one is wrong."""
        from infra_tasks.many import RunResults  # noqa: PLC0415  who submits one run needs none of it

        return RunResults(submit_many(specs))

    def after_return(self, status: str, _retval: Any, task_id: str, *_: Any) -> None:
        """All that follows the run was done by Celery's tracer: say so, unless a chord's body may still be missing."""
        told = told_of(self.request, task_id)
        if told and not told.followed:
            return
        run = _ledger().runs.get(task_id)
        if run is None or not run.final or (status == State.SUCCESS) != (run.state == State.SUCCESS):
            return
        if not self.backend.chord_is_open(self.request.group if self.request.chord else None):
            _ledger().claims.settle(task_id)


@app.task(base=RunTask, bind=True, name=RUN_TASK, shared=False)
def _run_spec(self: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Look at the run this hint speaks of. Celery calls this on a node; users call `run_spec.delay(spec)`."""
    if RunTask.executor is None:
        _become_executor()  # Celery says nothing when that failed at the start of this child: try again, and be heard
    if RunTask.executor is None:
        return _look(self.request, args, kwargs)
    verdict = RunTask.executor.follow(self.request.id)
    if verdict.said == "unknown":
        return _adopt_foreign(self.request, args, kwargs)
    if verdict.said != "final":
        raise Ignore(verdict.cause)
    return _end(self.request, verdict.result, verdict.cause, followed=verdict.followed, home_node=verdict.home_node)


run_spec: RunSpecTask = _run_spec


@app.task(name=DISPATCH_TASK, bind=True, ignore_result=True, shared=False)
def dispatch(self: Any) -> None:
    """Bring the code of a run that waits for it, and queue the run."""
    from infra_tasks.dispatch import dispatch as dispatch_run  # noqa: PLC0415  callers of delay() need none of it

    run_id = self.request.id.removeprefix("dispatch:")
    done = dispatch_run(this_node(settings.home()), _ledger(), run_id)
    log.info("dispatch of run %s: %s", run_id, done.said)
    if done.ready and done.is_new_code:
        ask_check(done.ready.node, done.ready.project, done.ready.digest)


@app.task(name=FETCH_TASK, bind=True, ignore_result=True, shared=False)
def fetch_outputs(self: Any) -> None:
    """Note that outputs of another node are wanted here; control's fetcher brings them."""
    from infra_tasks.fetch import want  # noqa: PLC0415  callers of delay() need none of it

    want(settings.home(), *fetch_asked(self.request.id))


@app.task(name=PULSE_TASK, ignore_result=True, shared=False)
def pulse() -> None:
    """Note that beat, broker and control are a chain without a break. The same slot twice is one tick."""
    ledger = _ledger()
    ledger.nodes.pulse(int(ledger.nodes.now() // PULSE_EVERY_S))


@app.task(name=CHECK_TASK, ignore_result=True, shared=False)
def check_code(node: str | None = None, project: str | None = None, digest: str | None = None) -> None:
    """Compare the releases of a node with what they should be; without a node (a tick of beat), have every node do it.

    `project` and `digest` leave out all others. Asked for twice at once, a node does it once.
    """
    from infra_tasks.code_check import CodeCheck  # noqa: PLC0415  callers of delay() need none of it
    from infra_tasks.suppliers import supplying  # noqa: PLC0415

    me, ledger = this_node(settings.home()), _ledger()
    if node is None:
        _have_code_checked()
    elif node == me.name:
        check = CodeCheck(me, ledger, partial(supplying, me, ledger), goes_on=lambda: not _is_stopping(me.home))
        said = check.run(project, digest)
        log.info("check of code: %s", "another one goes on" if said is None else f"{len(said)} projects")


def ask_check(node: str, project: str | None = None, digest: str | None = None, *, patient: bool = True) -> None:
    """Have a node check its code: all, or one project or release. An answer that came too late is no use to anybody.

    Raises kombu's OperationalError when the broker is away; who is not `patient` hears that at once.
    """
    check_code.apply_async(
        kwargs={"node": node, "project": project, "digest": digest},
        queue=dispatch_queue(node),
        expires=CHECK_EVERY_S,
        ignore_result=True,
        retry=patient,
    )


def ask_check_at_once(node: str, project: str, digest: str) -> None:
    """Have a release that was just brought checked; the next tick will, if this cannot be said now."""
    try:
        ask_check(node, project, digest, patient=False)
    except OperationalError as error:
        log.warning("the check of %s %s is left to the next tick: %s", project, digest[:12], error)


def _is_stopping(home: Home) -> bool:
    """Say whether this worker, or the whole node, was told to stop: what takes long ends early then."""
    from celery.worker import state  # noqa: PLC0415  callers of delay() need none of it

    told = (state.should_stop, state.should_terminate)  # None or False; an exit code, 0 as well, means yes
    return (home.root / "stopping.json").exists() or any(one is not None and one is not False for one in told)


def _have_code_checked() -> None:
    """Ask every node that is there. Doubled ticks are one: a node is not asked twice in half a period."""
    ledger = _ledger()
    for seen in ledger.nodes.all():
        if seen.reachable and ledger.code.may_ask_for_check(seen.name, CHECK_EVERY_S / 2):
            ask_check(seen.name)


@worker_process_init.connect
def _become_executor(**_: Any) -> None:
    """A child of the worker role carries runs out; one of any other Celery worker only accepts them."""
    if settings.role() == "worker":
        from infra_tasks.execute import Executor  # noqa: PLC0415  callers of delay() need none of it
        from infra_tasks.runner.launch import Zygote  # noqa: PLC0415

        zygote = Zygote()
        zygote.warm()
        RunTask.executor = Executor(NodeHere(settings.home()).current, _ledger(), zygote, ask_check_at_once)


def submit_many(specs: Iterable[RunSpec | Mapping[str, Any]]) -> list[RunResult]:
    """Accept many specs in a few round trips; returns their AsyncResults in order.

    Refuses all when one is wrong: BadSpec then says what is wrong with each.
    """
    many = submissions(specs, _fleet_file().current(), **_home())
    return [run_spec.AsyncResult(run_id) for run_id in _ledger().runs.submit_many(many)]


def _look(request: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Carry on what follows a run that nobody waited for: that needs no slot, only one who is no node's worker."""
    run = _ledger().runs.get(request.id)
    if run is None:
        return _adopt_foreign(request, args, kwargs)
    if run.result is None:
        raise Ignore(f"run is {run.state}")
    return _end(request, run.result, run.fields.get("cause") or "", followed=True, home_node=run.home_node)


def _end(request: Any, result: dict[str, Any], cause: str, *, followed: bool, home_node: str | None) -> dict[str, Any]:
    """Return or raise how a final run ended: Celery's tracer does what follows."""
    request.told = Told(result["state"], followed, home_node)
    if result["state"] == State.SUCCESS:
        return result
    kind = RunRevoked if result["state"] == State.REVOKED else RunFailed
    raise kind(outcome.told(result, cause), result)


def _adopt_foreign(request: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """A client that only knows Celery sent the spec itself: it becomes a run with the message's own id."""
    ledger = _ledger()
    if not args and not kwargs:
        raise Ignore(f"run {request.id} is not known here")
    if ledger.runs.peek(request.id)[0] is None:
        canvas = {
            "link": request.callbacks,
            "link_error": request.errbacks,
            "chain": request.chain,
            "chord": request.chord,
            "group_id": request.group,
            "group_index": request.group_index,
            "root_id": request.root_id,
            "parent_id": request.parent_id,
            "reply_to": request.reply_to,
        }
        try:
            ledger.runs.submit(_submission(_spec_in(args, kwargs), request.id, canvas, actor="foreign client"))
        except BadSpec as error:
            raise RunFailed(str(error)) from error
    raise Ignore("accepted as a run")


def _home() -> dict[str, Any]:
    """Return where outputs are wanted: on this node; of what follows a run, where those of the run are."""
    task = app.current_worker_task
    if not isinstance(task, RunTask):
        return {"home": _home_folder()}
    told = told_of(task.request, task.request.id)
    if told and told.home_node is not None:
        return {"home_node": told.home_node or None}
    before = _ledger().runs.get(task.request.id)
    return {"home_node": before.home_node or None} if before else {}


def _submission(spec: Any, run_id: str, options: Mapping[str, Any], actor: str = "submit", **where: Any) -> Submission:
    given = {name: value for name, value in options.items() if value is not None}
    if given.pop("serializer", "json") != "json":
        raise BadOption(f"serializer is json for every run, never {options['serializer']!r}")
    for name in given:
        if name not in _HONOURED and name not in _SILENT:
            raise BadOption(
                f"apply_async option {name!r} is not supported by runs{did_you_mean(name, _HONOURED)}; "
                f"supported: {', '.join(sorted(_HONOURED - set(_CANVAS)))}"
            )
    embed = {
        "callbacks": _signatures(given.get("link")),
        "errbacks": _signatures(given.get("link_error")),
        "chain": given.get("chain"),
        "chord": given.get("chord"),
    }
    return submission(
        spec,
        _fleet_file().current(),
        run_id,
        embed=json.loads(json.dumps(embed)) if any(embed.values()) else None,
        headers={header: given[name] for name, header in _CANVAS.items() if name in given} or None,
        delay_s=_positive("countdown", given["countdown"]) if "countdown" in given else None,
        at=_moment("eta", given["eta"]) if "eta" in given else None,
        expires_s=_expires_s(given["expires"]) if "expires" in given else None,
        reply_to=given.get("reply_to") or "",
        actor=actor,
        **where,
    )


def _spec_in(args: Any, kwargs: Any) -> Any:
    given = [*(args or ()), *(kwargs or {}).values()]
    if kwargs and set(kwargs) != {"spec"}:
        wrong = next(name for name in kwargs if name != "spec")
        raise BadSpec(f"run_spec takes a spec, not {wrong!r}: run_spec.delay({{'command': [...], {wrong!r}: ...}})")
    if not given:
        raise BadSpec("run_spec takes a spec: run_spec.delay({'command': [...]})")
    return given[-1]


def _signatures(links: Any) -> Any:
    if not links:
        return None
    return [maybe_signature(one, app=app) for one in (links if isinstance(links, (list, tuple)) else [links])]


def _plain(value: Any) -> Any:
    if isinstance(value, RunSpec):
        return value.model_dump(mode="json", exclude_unset=True)
    return dict(value) if isinstance(value, Mapping) and not isinstance(value, dict) else value


def _positive(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:  # noqa: PLR0124  not a number
        raise BadOption(f"{name} is a number of seconds; found {value!r}")
    return max(0.0, float(value))


def _moment(name: str, value: Any) -> float:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise BadOption(f"{name} is a datetime; found {value!r}") from None
    if not isinstance(value, datetime):
        raise BadOption(f"{name} is a datetime; found {value!r}")
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()


def _expires_s(value: Any) -> float:
    if isinstance(value, (int, float)):
        return _positive("expires", value)
    return max(0.001, _moment("expires", value) - _ledger().nodes.now())


def _trail(result: AsyncResult) -> None:
    parent = app.current_worker_task
    if parent is not None:
        parent.add_trail(result)


@cache
def _home_folder() -> Home:
    return settings.home()


@cache
def _fleet_file() -> FleetFile:
    return FleetFile(_home_folder())


def _ledger() -> Ledger:
    """One ledger per process: a connection must not be shared with a forked child."""
    return _ledger_of(os.getpid())


@cache
def _ledger_of(_pid: int) -> Ledger:
    return open_ledger(settings.home())
