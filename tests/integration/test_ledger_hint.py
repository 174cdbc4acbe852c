"""Our hint is what Celery's own producer would have put into the list: a change of kombu's layout is noticed here."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from celery import Celery
from celery.worker.request import Request
from kombu import Connection, Queue

from infra_tasks.model.hint import DISPATCH_TASK, OUTER_BELT_S, RUN_TASK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger_kit import Kit


@pytest.fixture
def app(kit: Kit) -> Iterator[Celery]:
    made = Celery("plain", broker=kit.url, backend=kit.url, set_as_current=False)

    @made.task(name=RUN_TASK, shared=False)
    def run_spec() -> None: ...

    yield made
    made.close()


def sent_by_celery(app: Celery, kit: Kit, run: str, queue: str, **options: Any) -> dict[str, Any]:
    app.tasks[RUN_TASK].apply_async((), task_id=run, queue=queue, **options)
    return dict(json.loads(kit.redis.rpop(queue)))


def ours(kit: Kit, name: str, **said: Any) -> dict[str, Any]:
    kit.submit(said.pop("run", None), node=name, **said)
    return dict(json.loads(kit.redis.rpop(f"node.{name}")))


def shape(value: Any) -> Any:
    """Return the names and types of a message, without its values."""
    if isinstance(value, dict):
        return {name: shape(inside) for name, inside in value.items()}
    return None if value is None else type(value).__name__


def body(message: dict[str, Any]) -> Any:
    return json.loads(base64.b64decode(message["body"]))


CANVAS = {
    "callbacks": [{"task": "x", "args": [], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False}]
}


@pytest.mark.parametrize("options", [{}, {"embed": CANVAS, "headers": {"root_id": "r", "group": "g"}}])
def test_it_has_the_shape_of_what_celery_sends(app: Celery, kit: Kit, options: dict[str, Any]) -> None:
    run, node = uuid4().hex, f"n{uuid4().hex[:8]}"
    plain = {"time_limit": OUTER_BELT_S, "argsrepr": "-"}
    canvas = {"group_id": "g", "link": app.signature("x")} if options else {}
    theirs = sent_by_celery(app, kit, run, f"node.{node}", **plain, **canvas)
    mine = ours(kit, node, run=run, options=options)
    for message in (theirs, mine):
        message["properties"].pop("delivery_tag")
        message["headers"].pop("origin")
        message["headers"].pop("argsrepr")
    theirs["properties"].pop("argsrepr")  # told Celery by the test, which it takes for a property too
    theirs["properties"].pop("reply_to")  # Celery's own queue for answers; results come by the backend here
    mine["properties"].pop("reply_to")
    if options:
        assert shape(mine) == shape(theirs)
        assert body(mine)[2].keys() == body(theirs)[2].keys()
    else:
        theirs["headers"].pop("args", None)
        assert (mine["headers"], mine["properties"]) == (theirs["headers"], theirs["properties"])
        assert body(mine) == body(theirs)
    assert mine.keys() == theirs.keys()


@pytest.mark.parametrize("said", [{}, {"name": 'ü "quoted" \\ @QUEUE@ %1 ☃ 🙂'}, {"options": {"embed": CANVAS}}])
def test_kombu_reads_it_and_a_worker_makes_a_request_of_it(app: Celery, kit: Kit, said: dict[str, Any]) -> None:
    run, node = uuid4().hex, f"n{uuid4().hex[:8]}"
    kit.submit(run, node=node, **said)
    got: list[Any] = []
    with (
        Connection(kit.url) as connection,
        connection.Consumer(
            Queue(f"node.{node}"), accept=["json"], callbacks=[lambda _body, message: got.append(message)]
        ),
    ):
        connection.drain_events(timeout=120)
        (message,) = got
        request = Request(message, app=app, task=app.tasks[RUN_TASK], hostname="h", decoded=False)
        message.ack()
    assert (request.id, request.name, request.args, request.kwargs) == (run, RUN_TASK, [], {})
    assert request.time_limits == [OUTER_BELT_S, None]
    assert request.delivery_info["routing_key"] == f"node.{node}"
    if "name" in said:
        assert said["name"] in request.argsrepr


def test_each_push_has_a_tag_of_its_own(kit: Kit) -> None:
    node = f"n{uuid4().hex[:8]}"
    kit.submit(node=node)
    tags = set()
    for _ in range(3):
        tags.add(json.loads(kit.redis.rpop(f"node.{node}"))["properties"]["delivery_tag"])
        kit.pass_time(10)
        kit.sweep()
    assert len(tags) == 3
    kit.redis.delete(f"node.{node}")


def test_a_dispatch_has_an_id_of_its_own(kit: Kit) -> None:
    run = kit.submit(project="p")
    sent = [json.loads(text)["headers"] for text in kit.redis.lrange("dispatch.a", 0, -1)]
    assert (f"dispatch:{run}", DISPATCH_TASK) in {(head["id"], head["task"]) for head in sent}
