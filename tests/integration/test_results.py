"""Waiting for a result while Redis is away: `get()` waits it out, longer than Celery's own patience lasts."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from celery.exceptions import TimeoutError as TimedOut
from redis_process import RedisProcess
from waiting import eventually

from infra_tasks.app import RunsApp
from infra_tasks.model.outcome import META_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHORT_PATIENCE = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1}
TRIES = 5


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisProcess]:
    one = RedisProcess(tmp_path).start()
    yield one
    one.kill()


def client(server: RedisProcess) -> RunsApp:
    app = RunsApp(set_as_current=False, broker=server.url, backend=f"infra_tasks.backend:LedgerBackend+{server.url}")
    app.conf.result_backend_transport_options = {"retry_policy": SHORT_PATIENCE}
    return app


def is_back(server: RedisProcess, *tasks: str) -> None:
    """Start Redis again, and write results before anybody can have subscribed anew."""
    server.start()
    for task in tasks:
        server.put(META_PREFIX + task, json.dumps({"status": "SUCCESS", "result": f"of {task}", "task_id": task}))


def test_get_waits_an_outage_of_redis_out_that_is_longer_than_celery_is_patient(
    server: RedisProcess, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG, "infra_tasks.results")
    waiter, tasks = client(server), [str(uuid4()) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        before = threads.submit(waiter.AsyncResult(tasks[0]).get, timeout=180)
        eventually(lambda: server.waited_for(META_PREFIX + tasks[0]), 20, "it waits")
        server.kill()
        during = threads.submit(waiter.AsyncResult(tasks[1]).get, timeout=180)
        tried = eventually(
            lambda: caplog.text.count("still waiting for Redis") >= TRIES or before.done(), 30, "it tries again"
        )
        assert tried
        assert not before.done(), before.exception()
        is_back(server, *tasks)
        assert [before.result(180), during.result(180)] == [f"of {task}" for task in tasks]


def test_get_waits_for_the_last_of_a_chain_through_an_outage_though_it_looks_at_all_before_it(
    server: RedisProcess, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG, "infra_tasks.results")
    waiter, tasks = client(server), [str(uuid4()) for _ in range(2)]
    last = waiter.AsyncResult(tasks[1], parent=waiter.AsyncResult(tasks[0]))
    with ThreadPoolExecutor(2) as threads:
        before = threads.submit(last.get, timeout=180, interval=0.1)
        eventually(lambda: server.waited_for(META_PREFIX + tasks[1]), 20, "it waits")
        server.kill()
        during = threads.submit(waiter.AsyncResult(tasks[1], parent=waiter.AsyncResult(tasks[0])).get, timeout=180)
        eventually(lambda: caplog.text.count("still waiting for Redis") >= TRIES or before.done(), 30, "it tries again")
        assert not before.done(), before.exception()
        is_back(server, *tasks)
        assert [before.result(180), during.result(180)] == [f"of {tasks[1]}"] * 2


def test_the_timeout_of_get_holds_while_redis_is_away(server: RedisProcess):
    result = client(server).AsyncResult(str(uuid4()))
    server.kill()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(result.get, timeout=1)
        try:
            assert isinstance(waiting.exception(180), TimedOut)
        finally:
            is_back(server, result.id)


def test_a_result_nobody_waits_for_any_more_is_forgotten_in_silence_while_redis_is_away(server: RedisProcess):
    waiter, task = client(server), str(uuid4())
    result = waiter.AsyncResult(task)
    with pytest.raises(TimedOut):
        result.get(timeout=0.3)
    server.kill()
    waiter.backend.result_consumer.cancel_for(task)
