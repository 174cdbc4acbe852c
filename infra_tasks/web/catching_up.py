"""What Flower heard of runs, put right and completed by the ledger.

Celery's events tell of hints, not of runs. Nobody tells of a run that waits, that began while Flower was away, whose
worker was killed, or that was cancelled while its hint waited for a slot; the hint of a cancelled run "failed", and so
did one whose child was killed, while its command goes on. So the window asks for what it does not know, now and then.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra_tasks.errors import InfraError
from infra_tasks.model.hint import RUN_TASK
from infra_tasks.model.outcome import told
from infra_tasks.model.run import State, is_final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from infra_tasks.ledger import Ledger
    from infra_tasks.ledger.records import Run

ASK_EVERY_S = 2.0
AT_ONCE = 1000
NEWEST = 300  # of all runs, and as many of those that go on: what is older was heard of, or is history
UNKNOWN_FOR_S = 120.0  # a run that the ledger does not know after so long is no run, or was forgotten
# Celery has no word for some states; its nearest one is shown.
SHOWN = {State.PENDING: "RECEIVED", State.SYNCING: "STARTED", State.QUEUED: "RECEIVED"}
MOMENTS = {State.SUCCESS: "succeeded", State.FAILURE: "failed", State.REVOKED: "revoked"}


def unsure(tasks: Iterable[Any], sure: Mapping[str, str], now: float) -> dict[str, float]:
    """Return which runs to ask for, with the moment of the last that was heard of each; newest heard last. Pure.

    `sure`: the final states that the ledger confirmed, "" for runs it does not know. What is shown otherwise by now is
    asked for again. `now` in wall seconds.
    """
    found = {
        task.uuid: task.timestamp or 0.0
        for task in tasks
        if task.name == RUN_TASK
        and not (is_final(task.state) and sure.get(task.uuid) == task.state)
        and not (sure.get(task.uuid) == "" and now - (task.timestamp or 0.0) > UNKNOWN_FOR_S)
    }
    return dict(sorted(found.items(), key=lambda item: item[1])[-AT_ONCE:])


def shown(state: str) -> str:
    """Return the state that Celery's tools have a word for. Pure."""
    return SHOWN.get(State(state), str(state))


def put_right(task: Any, run: Run) -> None:
    """Make a task of Flower's say what the ledger says of its run."""
    state = shown(run.state)
    if task.state == state:
        return
    for final, moment in MOMENTS.items():
        if final != state:
            setattr(task, moment, None)
    task.state = state
    if is_final(state):
        _tell_end(task, run, State(state))
    else:
        task.exception = task.traceback = task.result = None


def _tell_end(task: Any, run: Run, state: State) -> None:
    result, cause = run.result or {}, run.fields.get("cause") or ""
    task.timestamp = run.at("ended_at") or task.timestamp
    setattr(task, MOMENTS[state], task.timestamp)
    task.runtime = result.get("duration_s")
    task.traceback = None
    task.result = f"exit code {result.get('exit_code')}" if state == State.SUCCESS else None
    task.exception = None if state == State.SUCCESS else (told(result, cause, run.name) if result else cause)


def _tell_beginning(task: Any, run: Run) -> None:
    task.name, task.args, task.kwargs = RUN_TASK, run.fields.get("shown") or "-", "{}"
    task.received = task.timestamp = run.at("submitted_at")
    task.started = run.at("claimed_at")


@dataclass(frozen=True)
class Answer:
    """What the ledger said: the state of what was asked for, and all of what is shown otherwise or was never heard."""

    states: Mapping[str, str | None]
    otherwise: Mapping[str, Run]
    unheard: list[Run]


class CatchingUp:
    """Asks the ledger, again and again, and corrects what Flower holds. `memory`: gives Flower's state."""

    def __init__(self, memory: Callable[[], Any], ledger: Ledger) -> None:
        self._memory = memory
        self._ledger = ledger
        self._sure: dict[str, str] = {}
        self.corrected = 0

    async def turn(self, now: float) -> None:
        """Ask once; a ledger that is away is asked the next time. `now` in wall seconds."""
        tasks = dict(self._memory().tasks.data)  # past its own way of reading, which counts as a use of each
        self._sure = {run_id: state for run_id, state in self._sure.items() if run_id in tasks}
        asked = unsure(tasks.values(), self._sure, now)
        shown_now = {run_id: tasks[run_id].state for run_id in asked}
        with suppress(InfraError):
            answer = await asyncio.get_running_loop().run_in_executor(None, self._ask, shown_now, frozenset(tasks))
            self._correct(asked, answer)
            self._learn(answer.unheard)

    def _ask(self, shown_now: Mapping[str, str], heard: frozenset[str]) -> Answer:
        runs = self._ledger.runs
        newest = runs.newest(NEWEST)  # raises at once while Redis is away
        known = {run.id: run.state for run in runs.some(list(shown_now), ["state"])}
        states = {run_id: known.get(run_id) for run_id in shown_now}
        otherwise = [run_id for run_id, state in known.items() if shown(state) != shown_now[run_id]]
        unheard = [run_id for run_id in newest if run_id not in heard]
        return Answer(states, {run.id: run for run in runs.get_many(otherwise)}, runs.get_many(unheard))

    def _correct(self, asked: Mapping[str, float], answer: Answer) -> None:
        memory = self._memory()
        for run_id, state in answer.states.items():
            task = memory.tasks.data.get(run_id)
            if task is None or (task.timestamp or 0.0) != asked[run_id]:
                continue  # something was heard meanwhile: the next turn looks again
            if run_id in answer.otherwise:
                put_right(task, answer.otherwise[run_id])
                memory.search_engine.upsert(task)
                self.corrected += 1
            if state is None or is_final(state):
                self._sure[run_id] = state or ""

    def _learn(self, unheard: Iterable[Run]) -> None:
        """Have Flower know runs as if it had heard of them."""
        memory = self._memory()
        for run in unheard:
            if run.id in memory.tasks.data:
                continue
            evicted = memory._eviction_candidate(run.id)  # noqa: SLF001  what its own way of hearing does
            task = memory.get_or_create_task(run.id)[0]
            _tell_beginning(task, run)
            task.worker = memory.workers.data.get(f"worker@{run.claim_node}")
            put_right(task, run)
            memory._index_task(task, evicted)  # noqa: SLF001
            self.corrected += 1
