"""What follows a run - chains, chords, callbacks, plain tasks - happens, whoever is killed in the middle (G1, G6)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import caller
import pytest
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from effects import Effects
    from whole_node import WholeNode

    from infra_tasks.ledger import Ledger

pytestmark = pytest.mark.chaos

SLOTS = 2
VICTIMS = (
    ("worker", "children"),
    ("control",),
    ("watcher", "worker", "children", "agent", "control", "redis", "beat", "flower"),
)


@pytest.fixture
def there(node: WholeNode) -> Iterator[caller.Caller]:
    """Carries out functions in a python of the node's environment."""
    one = caller.Caller(node.env)
    yield one
    one.close()


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Where plain tasks say what they do."""
    return tmp_path / "notes"


def noted(notes: Path, word: str) -> list[str]:
    """Return the ids of the plain tasks that said this."""
    lines = notes.read_text().splitlines() if notes.exists() else []
    return [task for said, task in map(str.split, lines) if said == word]


def accept(spec, options=None):
    from infra_tasks import run_spec

    return run_spec.apply_async((spec,), **(options or {})).id


def link(command, notes, seconds):
    from following import follow

    from infra_tasks import run_spec

    return run_spec.apply_async(({"command": command},), link=follow.s(notes, seconds)).id


def submit_canvases(command, notes):
    from celery import chain, chord
    from following import follow

    from infra_tasks import run_spec

    def run():
        return run_spec.si({"command": command})

    return [
        chain(run(), run(), follow.s(notes, 0.5), run()).apply_async().id,
        chord([run(), run(), run()], follow.s(notes, 0.5)).apply_async().id,
        chord([run(), run()], run()).apply_async().id,
    ]


def results_of(ids):
    from infra_tasks.app import app

    return [app.AsyncResult(one).get(timeout=180) for one in ids]


@pytest.mark.parametrize("victims", VICTIMS, ids="+".join)
def test_canvases_complete_though_our_processes_are_killed_in_the_middle(
    victims: tuple[str, ...], node: WholeNode, effects: Effects, there: caller.Caller, notes: Path
):
    chained, chorded, body = there(submit_canvases, effects.command(0.4), str(notes))
    for reached in (2, 6):
        eventually(lambda reached=reached: len(effects.stamps("start")) >= reached, 60, f"{reached} have started")
        node.kill(*victims)
        if "watcher" in victims:
            node.up()
    last, parts, behind = there(results_of, [chained, chorded, body], within_s=240)
    assert (last["state"], behind["state"]) == ("SUCCESS", "SUCCESS")
    assert [part["state"] for part in parts] == ["SUCCESS"] * 3
    counted = Counter(one.run for one in effects.stamps("start"))
    assert (len(counted), set(counted.values())) == (3 + 3 + 3, {1})
    assert len(set(noted(notes, "ends"))) == 2
    assert effects.most_at_once() <= SLOTS


def test_what_follows_a_run_waits_for_no_slot(
    node: WholeNode, book: Ledger, effects: Effects, there: caller.Caller, notes: Path
):
    may_end = notes.with_name("may-end")
    run_id = there(link, effects.command(habits=(f"until:{may_end}",)), str(notes), 0)
    eventually(lambda: effects.stamps("start", run_id), 30, "it runs")
    long = [there(accept, {"command": effects.command(500), "grace_s": 0.1}) for _ in range(1 + SLOTS)]
    eventually(lambda: len(effects.stamps("start")) >= SLOTS, 30, "both slots are taken")
    node.kill("worker")  # nobody waits for the first any more; the next children wait for a slot
    may_end.touch()
    eventually(lambda: book.runs.peek(run_id)[0] == "SUCCESS", 30, "it has ended")
    eventually(lambda: noted(notes, "ends"), 20, "what follows it has happened")
    eventually(lambda: len(effects.stamps("start")) >= SLOTS + 1, 30, "its slot was given on")
    for one in long:
        book.runs.cancel(one, kill=True)
    eventually(lambda: not book.runs.unsettled(), 30, "nothing is left to follow")
    assert len(set(noted(notes, "begins"))) == 1  # a plain task is done at least once: once by all means


def test_a_plain_task_that_control_died_with_is_done_again(
    node: WholeNode, effects: Effects, there: caller.Caller, notes: Path
):
    there(link, effects.command(), str(notes), 3)
    eventually(lambda: noted(notes, "begins"), 30, "it has begun")
    node.kill("control")
    task = eventually(lambda: noted(notes, "ends"), 40, "it has ended")[0]
    assert noted(notes, "begins")[:2] == [task, task]
    assert set(noted(notes, "begins")) == {task}  # control may have died before it noted that it had sent it: once more


def test_a_plain_task_that_kills_control_is_given_up_and_who_waits_for_it_is_told(
    node: WholeNode, there: caller.Caller, notes: Path
):
    def submit(notes):
        from celery import chain
        from following import failed, murder

        from infra_tasks import run_spec

        steps = chain(run_spec.s({"command": ["true"]}), murder.s(notes).on_error(failed.s(notes)))
        return steps.apply_async().get(timeout=180, propagate=False).__class__.__name__

    assert there(submit, str(notes), within_s=240) == "WorkerLostError"
    assert len(noted(notes, "begins")) == 3
    eventually(lambda: noted(notes, "failed"), 30, "its errback was told")
    assert there(results_of, [there(link, ["true"], str(notes), 0)])[0]["state"] == "SUCCESS"
    eventually(lambda: noted(notes, "ends"), 30, "control does its work")


def test_a_foreign_message_that_control_died_with_becomes_its_run(
    node: WholeNode, book: Ledger, effects: Effects, there: caller.Caller
):
    def send(url, command):
        from celery import Celery

        foreign = Celery("stranger", broker=url, backend=url)
        # so long it is held; whoever looks for that on a busy machine is not to come too late
        return foreign.send_task("infra_tasks.run_spec", [{"command": command}], countdown=15).id

    def was_taken():
        return book.scripts.client.hlen("unacked.control.n1") == 1

    from infra_tasks.ledger.connect import url_of
    from infra_tasks.settings import Home

    run_id = there(send, url_of(Home(node.home)), effects.command())
    eventually(was_taken, 20, "control holds it until its moment")
    node.kill("control")
    assert there(results_of, [run_id], within_s=240)[0]["state"] == "SUCCESS"
    assert [one.run for one in effects.stamps("start")] == [run_id]
