"""Runs that are cancelled, retried, extended or run into their limit, and what Celery cannot do to a run."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import pairwise

import psutil
import pytest
from waiting import eventually

pytestmark = pytest.mark.fleet


def accept(spec, options=None):
    from infra_tasks import run_spec

    return run_spec.apply_async((spec,), **(options or {})).id


def get(run_id):
    from infra_tasks import run_spec

    return run_spec.AsyncResult(run_id).get(timeout=180)


def revoke(run_id):
    from infra_tasks import run_spec

    run_spec.AsyncResult(run_id).revoke(terminate=True, signal="SIGKILL")


def control_revoke(run_id):
    from infra_tasks import run_spec

    run_spec.app.control.revoke(run_id)


def state(book, run_id):
    return book.runs.peek(run_id)[0]


def starts(book, run_id):
    return eventually(lambda: state(book, run_id) == "STARTED", 30, f"run {run_id} starts")


@contextmanager
def full_slots(call, book):
    """Both slots of the node are taken."""
    ids = [call(accept, {"command": ["sleep", "300"], "grace_s": 1}) for _ in range(2)]
    try:
        for run_id in ids:
            starts(book, run_id)
        yield
    finally:
        for run_id in ids:
            book.runs.cancel(run_id, kill=True)
        for run_id in ids:
            eventually(lambda run_id=run_id: state(book, run_id) == "REVOKED", 30, "the sleepers end")


def is_revoked(call, book, run_id):
    raised = call.fails(get, run_id)
    assert (raised.kind, raised.result["state"]) == ("RunRevoked", "REVOKED")
    assert run_id in raised.said
    assert "cancelled" in raised.said
    assert state(book, run_id) == "REVOKED"
    events = book.runs.events(run_id)
    assert [each.to_state for each in events].count("REVOKED") == 1
    return raised.result


WAYS = {
    "cancel": lambda _call, book, run_id: book.runs.cancel(run_id),
    "result.revoke": lambda call, _book, run_id: call(revoke, run_id),
    "control.revoke": lambda call, _book, run_id: call(control_revoke, run_id),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_pending_run_can_be_cancelled(call, book, way):
    run_id = call(accept, {"command": ["true"]}, {"countdown": 300})
    WAYS[way](call, book, run_id)
    assert is_revoked(call, book, run_id)["started_at"] is None


def test_a_waiting_run_can_be_cancelled_and_never_starts(call, book, tmp_path):
    with full_slots(call, book):
        for way, cancel in WAYS.items():
            run_id = call(accept, {"command": ["touch", f"{tmp_path}/{way}"]})
            assert state(book, run_id) == "QUEUED"
            cancel(call, book, run_id)
            is_revoked(call, book, run_id)
    after = call(accept, {"command": ["true"]})
    assert call(get, after)["state"] == "SUCCESS"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("way", WAYS)
def test_a_running_run_can_be_cancelled_with_all_its_processes(call, book, node, way):
    run_id = call(accept, {"command": ["sh", "-c", "sleep 301 & echo up; sleep 302"], "grace_s": 5})
    starts(book, run_id)
    eventually(lambda: len(node.run_processes()) >= 3, 30, "its processes are there")
    WAYS[way](call, book, run_id)
    result = is_revoked(call, book, run_id)
    assert (result["stdout_tail"], result["survivors"]) == ("up\n", 0)
    assert not [one for one in node.run_processes() if "30" in " ".join(one.cmdline())]


def test_a_retrying_run_can_be_cancelled(call, book):
    run_id = call(accept, {"command": ["false"], "retries": 5, "retry_backoff_s": 300})
    eventually(lambda: state(book, run_id) == "RETRY", 30, "it waits for its next attempt")
    call(revoke, run_id)
    is_revoked(call, book, run_id)


def test_a_final_run_cannot_be_cancelled_any_more(call, book):
    run_id = call(accept, {"command": ["true"]})
    assert call(get, run_id)["state"] == "SUCCESS"
    call(revoke, run_id)
    assert book.runs.cancel(run_id) == "SUCCESS"
    assert call(get, run_id)["state"] == "SUCCESS"


def test_nothing_celery_says_about_a_run_changes_it(call, book, tmp_path):
    def lies(run_id):
        from celery.backends.redis import RedisBackend
        from celery.exceptions import TimeLimitExceeded, WorkerLostError

        from infra_tasks.app import app

        assert isinstance(app.backend, RedisBackend)
        app.backend.store_result(run_id, {"a": "lie"}, "SUCCESS")
        app.backend.mark_as_failure(run_id, WorkerLostError("a lie"))
        app.backend.mark_as_failure(run_id, TimeLimitExceeded(1))
        app.backend.mark_as_done(run_id, "a lie")
        app.backend.mark_as_revoked(run_id, "a lie")
        app.backend.mark_as_started(run_id)
        app.backend.mark_as_retry(run_id, ValueError("a lie"))
        return app.AsyncResult(run_id).state

    running = call(accept, {"command": ["sh", "-c", f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo truth"]})
    starts(book, running)
    assert call(lies, running) == "PENDING"
    (tmp_path / "go").touch()
    assert call(get, running)["stdout_tail"] == "truth\n"
    assert call(lies, running) == "SUCCESS"
    failed = call(accept, {"command": ["false"]})
    assert call.fails(get, failed).kind == "RunFailed"
    assert call(lies, failed) == "FAILURE"
    assert call.fails(get, failed).result["exit_code"] == 1


def test_a_failing_run_is_tried_again_with_doubling_pauses_then_fails(call, book, tmp_path):
    spec = {"command": f"echo $INFRA_ATTEMPT >> {tmp_path}/tries; exit 3", "retries": 2, "retry_backoff_s": 0.4}
    run_id = call(accept, spec)
    raised = call.fails(get, run_id)
    assert (raised.result["attempt"], raised.result["exit_code"]) == (3, 3)
    assert (tmp_path / "tries").read_text() == "1\n2\n3\n"
    events = book.runs.events(run_id)
    assert [each.to_state for each in events] == [
        "QUEUED", "STARTED", "RETRY", "QUEUED", "STARTED", "RETRY", "QUEUED", "STARTED", "FAILURE",
    ]  # fmt: skip
    pauses = [b.at - a.at for a, b in pairwise(events) if a.to_state == "RETRY"]
    assert pauses[0] >= 0.4
    assert pauses[1] >= 0.8
    assert len({each.token for each in events if each.to_state == "STARTED"}) == 3


def test_a_run_that_succeeds_at_its_second_try_is_a_success(call, tmp_path):
    run_id = call(
        accept, {"command": f"test $INFRA_ATTEMPT = 2 && echo {tmp_path.name}", "retries": 3, "retry_backoff_s": 0}
    )
    result = call(get, run_id)
    assert (result["state"], result["attempt"], result["stdout_tail"]) == ("SUCCESS", 2, f"{tmp_path.name}\n")


def test_only_the_reasons_of_retry_on_are_tried_again(call):
    spec = {"command": ["false"], "retries": 3, "retry_backoff_s": 0, "retry_on": ["signal", "timeout"]}
    assert call.fails(get, call(accept, spec)).result["attempt"] == 1
    spec |= {"command": ["sh", "-c", "kill -9 $$"], "retries": 1}
    assert call.fails(get, call(accept, spec)).result["attempt"] == 2


def test_a_run_past_its_limit_ends_with_everything_it_started(call, node):
    command = "trap '' TERM; echo begun; setsid sleep 311 & sleep 312; sleep 313"
    raised = call.fails(get, call(accept, {"command": command, "timeout_s": 5, "grace_s": 1}))
    assert (raised.result["reason"], raised.result["survivors"], raised.result["stdout_tail"]) == (
        "timeout",
        0,
        "begun\n",
    )
    assert 5 <= raised.result["duration_s"] < 300
    assert not [one for one in node.run_processes() if "31" in " ".join(one.cmdline())]


def test_a_running_command_gets_more_time(call, book, node):
    run_id = call(accept, {"command": ["sh", "-c", "sleep 16; echo whole"], "timeout_s": 15})
    starts(book, run_id)
    assert book.runs.extend(run_id, 300, ceiling_s=7200) == 315
    assert call(get, run_id)["stdout_tail"] == "whole\n"


def test_a_hint_that_comes_twice_or_from_nowhere_does_no_harm(call, book, tmp_path):
    def doubled(run_id):
        from infra_tasks.app import app

        for queue in ("node.n1", "pool._any", "celery"):
            app.send_task("infra_tasks.run_spec", [], task_id=run_id, queue=queue)
            app.send_task("infra_tasks.run_spec", [], task_id="nobody-knows-this-one", queue=queue)

    run_id = call(accept, {"command": f"echo x >> {tmp_path}/effect; sleep 1"})
    starts(book, run_id)
    call(doubled, run_id)
    assert call(get, run_id)["attempt"] == 1
    call(doubled, run_id)
    assert call(get, call(accept, {"command": ["sleep", "0.5"]}))["state"] == "SUCCESS"
    assert (tmp_path / "effect").read_text() == "x\n"


def test_a_foreign_client_that_knows_only_the_broker_gets_its_result(node, call, book, tmp_path):
    def foreign(url, specs):
        from celery import Celery

        app = Celery("stranger", broker=url, backend=url)
        sent = [app.send_task("infra_tasks.run_spec", [spec]) for spec in specs]
        ends = [one.get(timeout=180, propagate=False) for one in sent]
        return [[one.id, end if isinstance(end, dict) else str(end)] for one, end in zip(sent, ends, strict=True)]

    from infra_tasks.ledger.connect import url_of
    from infra_tasks.settings import Home

    effect = {"command": f"echo x >> {tmp_path}/effect; echo done", "name": "from afar"}
    specs = [effect, {"command": ["false"]}, {"comand": ["true"]}, "nonsense", {"command": ["true"], "node": "n2"}]
    good, failed, misspelt, nonsense, elsewhere = call(foreign, url_of(Home(node.home)), specs)
    assert (good[1]["id"], good[1]["stdout_tail"]) == (good[0], "done\n")
    assert book.runs.get(good[0]).name == "from afar"
    assert (tmp_path / "effect").read_text() == "x\n"
    assert "exit code 1" in failed[1]
    assert "did you mean 'command'" in misspelt[1]
    assert "a spec is a RunSpec or a dict" in nonsense[1]
    assert "'n2' is not in nodes.json" in elsewhere[1]


def test_afterwards_no_process_of_any_run_is_left(node):
    eventually(lambda: not node.run_processes(), 30, "no process of a run lives")
    eventually(lambda: not list((node.home / "live").iterdir()), 30, "every end is struck off")
    assert psutil.pid_exists(node.watcher_pid())
