"""A chord whose waiting children are killed, and hints that come six times: every part and the body happen once."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import caller
import pytest
from waiting import eventually

from infra_tasks.model.hint import QUEUE_MARK, RUN_TASK, TAG_MARK, envelope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from effects import Effects
    from whole_node import WholeNode

    from infra_tasks.ledger import Ledger

pytestmark = pytest.mark.chaos

TIMES = 6


@pytest.fixture
def there(node: WholeNode) -> Iterator[caller.Caller]:
    """Carries out functions in a python of the node's environment."""
    one = caller.Caller(node.env)
    yield one
    one.close()


def submit_chord(part, body):
    from celery import chord

    from infra_tasks import run_spec

    result = chord([run_spec.s({"command": part}) for _ in range(3)], run_spec.s({"command": body})).apply_async()
    return [result.id, [one.id for one in result.parent.children]]


def result_of(run_id):
    from infra_tasks import run_spec

    return run_spec.AsyncResult(run_id).get(timeout=180)["stdout_tail"]


def run_two(command):
    from infra_tasks import submit_many

    return [one.get(timeout=180)["state"] for one in submit_many([{"command": command}] * 2)]


def push_again(book: Ledger, run_id: str) -> None:
    """Put the hint of a run into its queue again, as a redelivery or a second producer would."""
    run = book.runs.get(run_id)
    assert run
    hint = run.fields.get("hint") or envelope(RUN_TASK, run_id)
    for _ in range(TIMES):
        again = hint.replace(QUEUE_MARK, run.fields["queue"]).replace(TAG_MARK, f"again{random.random()}")
        book.scripts.client.lpush(run.fields["queue"], again)


def test_the_body_of_a_chord_happens_once_though_every_child_that_waited_for_a_part_was_killed(
    node: WholeNode, effects: Effects, there: caller.Caller, tmp_path
):
    body, parts = there(submit_chord, effects.command(1.5), effects.command())
    eventually(lambda: len(effects.stamps("start")) >= 2, 30, "two parts run")
    node.kill("children")
    eventually(lambda: len(effects.stamps("start")) >= 3, 40, "the third runs")
    node.kill("children")
    assert there(result_of, body, within_s=240) == f"said by {body}\n"
    assert Counter(one.run for one in effects.stamps("start")) == Counter([*parts, body])


def test_hints_that_come_six_times_have_one_effect_and_one_body(
    node: WholeNode, book: Ledger, effects: Effects, there: caller.Caller
):
    body, parts = there(submit_chord, effects.command(1), effects.command(0.5))
    for part in parts:
        push_again(book, part)
    eventually(lambda: effects.stamps("start", body), 60, "the body runs")
    for run_id in [*parts, body]:
        push_again(book, run_id)
    assert there(result_of, body, within_s=240) == f"said by {body}\n"
    for run_id in [*parts, body]:
        push_again(book, run_id)
    assert there(run_two, effects.command(), within_s=240) == ["SUCCESS"] * 2  # behind all the doubled ones
    counted = Counter(one.run for one in effects.stamps("start"))
    assert set(counted.values()) == {1}
    assert len(counted) == len([*parts, body]) + 2
