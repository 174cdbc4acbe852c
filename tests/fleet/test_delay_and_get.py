"""`delay()` and `get()` on a whole node: results, failures, many at once, options of `apply_async`."""

from __future__ import annotations

import collections
import json
import time

import pytest
from told_once import was_carried_on_once
from waiting import eventually

pytestmark = pytest.mark.fleet

KEYS = [
    "id",
    "state",
    "reason",
    "exit_code",
    "signal",
    "node",
    "attempt",
    "release",
    "submitted_at",
    "started_at",
    "ended_at",
    "duration_s",
    "survivors",
    "max_rss_bytes",
    "cpu_s",
    "stdout_tail",
    "stderr_tail",
    "outputs",
]


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def get(spec, options=None):
    from infra_tasks import run_spec

    return run_spec.apply_async((spec,), **(options or {})).get(timeout=180)


def accept(spec, options=None):
    from infra_tasks import run_spec

    return run_spec.apply_async((spec,), **(options or {})).id


def result_of(run_id):
    from infra_tasks import run_spec

    return run_spec.AsyncResult(run_id).get(timeout=180)


def test_get_gives_the_documented_dict_and_nothing_else(call):
    before = time.time()
    said = call(get, {"command": ["sh", "-c", "echo out; echo err >&2"]})
    assert list(said) == KEYS
    assert (said["state"], said["reason"], said["exit_code"], said["signal"]) == ("SUCCESS", None, 0, None)
    assert (said["node"], said["attempt"], said["release"], said["survivors"]) == ("n1", 1, None, 0)
    assert (said["stdout_tail"], said["stderr_tail"]) == ("out\n", "err\n")
    assert before - 1 <= said["submitted_at"] <= said["started_at"] <= said["ended_at"] <= time.time() + 1
    assert 0 < said["duration_s"] < 30


def test_a_runspec_and_a_dict_mean_the_same(call):
    def both():
        from infra_tasks import RunSpec, run_spec

        one = run_spec.delay(RunSpec(command="echo $A-$0", env={"A": "x"}))
        return [
            one.get(timeout=180)["stdout_tail"],
            run_spec.delay(spec={"command": "echo y"}).get(timeout=180)["stdout_tail"],
        ]

    assert call(both) == ["x-/bin/sh\n", "y\n"]


def test_a_failed_run_raises_naming_run_node_exit_code_and_last_lines(call):
    command = "for i in $(seq 30); do echo line $i; done; exit 7"
    raised = call.fails(get, {"command": command, "name": "nightly"})
    assert raised.kind == "RunFailed"
    assert set(raised.result) == set(KEYS)
    assert (raised.result["state"], raised.result["reason"], raised.result["exit_code"]) == ("FAILURE", "exit_code", 7)
    for words in (raised.result["id"], "nightly", "n1", "exit code 7", "line 30", "line 21"):
        assert words in raised.said
    assert "line 20\n" not in raised.said


def test_a_command_that_kills_itself_fails_with_its_signal(call):
    raised = call.fails(get, {"command": ["sh", "-c", "kill -SEGV $$"]})
    assert (raised.result["reason"], raised.result["signal"], raised.result["exit_code"]) == ("signal", 11, None)
    assert "signal 11" in raised.said


def test_a_command_that_is_not_there_fails_to_start(call):
    raised = call.fails(get, {"command": ["no-such-program-anywhere"]})
    assert (raised.result["reason"], raised.result["exit_code"]) == ("start_failed", None)
    assert "no-such-program-anywhere" in raised.said


@pytest.mark.timeout(1200)
def test_a_thousand_runs_at_once_keep_their_order_and_each_has_its_effect_once(call, tmp_path):
    def thousand(path):
        from infra_tasks import submit_many

        many = submit_many({"command": ["sh", "-c", f"echo {i} | tee -a {path}"]} for i in range(1000))
        return [one.id for one in many]

    effects = tmp_path / "effects"
    ids = call(thousand, str(effects))

    def printed(ids):
        from infra_tasks import run_spec

        return [int(run_spec.AsyncResult(one).get(timeout=180)["stdout_tail"]) for one in ids]

    assert call(printed, ids, within_s=900) == list(range(1000))
    assert len(set(ids)) == 1000
    assert collections.Counter(effects.read_text().split()) == {str(i): 1 for i in range(1000)}


def test_submit_many_refuses_all_when_one_is_wrong(call, book):
    def wrong():
        from infra_tasks import submit_many

        submit_many([{"command": ["true"]}, {"command": ["true"], "timeout": 5}])

    before = sum(book.runs.counts().values())
    raised = call.fails(wrong)
    assert raised.kind == "BadSpec"
    assert "timeout_s" in raised.said
    assert sum(book.runs.counts().values()) == before


def test_no_run_starts_before_its_moment_however_that_is_said(call):
    def early_by():
        from datetime import UTC, datetime, timedelta, timezone

        from infra_tasks import run_spec

        at = datetime.now(UTC) + timedelta(seconds=1.5)
        ways = {
            "countdown": {"countdown": 1.5},
            "aware": {"eta": at},
            "naive, so UTC": {"eta": at.replace(tzinfo=None)},
            "text": {"eta": at.isoformat()},
            "another zone": {"eta": at.astimezone(timezone(timedelta(hours=-7)))},
        }
        runs = {way: run_spec.apply_async(({"command": ["true"]},), **options) for way, options in ways.items()}
        return {way: at.timestamp() - run.get(timeout=180)["started_at"] for way, run in runs.items()}

    for way, early_s in call(early_by).items():
        assert -900 < early_s <= 0.05, way  # zones are half an hour apart or more


def test_a_run_nobody_could_take_in_time_expires_however_that_is_said(call):
    def expire():
        from datetime import UTC, datetime, timedelta

        from infra_tasks import run_spec

        soon = datetime.now(UTC) + timedelta(seconds=0.5)
        runs = [
            run_spec.apply_async(({"command": ["true"]},), countdown=60, expires=0.5),
            run_spec.apply_async(({"command": ["true"]},), countdown=60, expires=soon),
            run_spec.apply_async(({"command": ["true"], "expires_s": 0.5},), countdown=60),
        ]
        ends = [run.get(timeout=180, propagate=False) for run in runs]
        return [[type(end).__name__, end.result["state"], end.result["reason"]] for end in ends]

    assert call(expire) == [["RunFailed", "FAILURE", "expired"]] * 3


def test_a_task_id_is_the_runs_id_and_asking_again_with_it_is_the_same_run(call, tmp_path):
    spec = {"command": ["sh", "-c", f"echo x >> {tmp_path}/effect"]}
    for _ in range(3):
        assert call(get, spec, {"task_id": f"mine-{tmp_path.name}"})["id"] == f"mine-{tmp_path.name}"
    assert (tmp_path / "effect").read_text() == "x\n"
    raised = call.fails(accept, {"command": ["false"]}, {"task_id": f"mine-{tmp_path.name}"})
    assert raised.kind == "IdempotencyConflict"
    assert call.fails(accept, spec, {"task_id": "../../etc"}).kind == "BadInput"


def test_an_idempotency_key_makes_one_run_and_refuses_another_spec(call, tmp_path):
    spec = {"command": ["sh", "-c", f"echo x >> {tmp_path}/effect"], "idempotency_key": str(tmp_path)}
    ids = {call(accept, spec) for _ in range(3)}
    assert len(ids) == 1
    call(result_of, ids.pop())
    assert (tmp_path / "effect").read_text() == "x\n"
    raised = call.fails(accept, {**spec, "command": ["false"]})
    assert raised.kind == "IdempotencyConflict"
    assert str(tmp_path) in raised.said


def test_what_is_linked_behind_a_run_happens_once(call, book, tmp_path):
    def linked(path):
        from plain_tasks import note

        from infra_tasks import run_spec

        return run_spec.apply_async(
            ({"command": ["echo", "first"]},),
            link=[note.s(path), run_spec.si({"command": ["sh", "-c", f"echo run >> {path}.run"]})],
        ).id

    path = tmp_path / "notes"
    run_id = call(linked, str(path))
    assert eventually(lambda: lines_of(path), 30, "the linked task ran")[0]["id"] == run_id
    eventually((tmp_path / "notes.run").exists, 30, "the linked run ran")
    assert call(get, {"command": ["true"]})["state"] == "SUCCESS"
    assert len(lines_of(path)) == 1 or not was_carried_on_once(book, run_id)
    assert (tmp_path / "notes.run").read_text() == "run\n"


def test_what_is_linked_behind_a_failure_is_told_the_failure_once(call, book, tmp_path):
    def linked(path, spec):
        from plain_tasks import note, note_failure

        from infra_tasks import run_spec

        return run_spec.apply_async((spec,), link=note.s(f"{path}.wrong"), link_error=note_failure.s(path)).id

    path = tmp_path / "notes"
    run_id = call(linked, str(path), {"command": ["sh", "-c", "exit 9"]})
    said, *again = eventually(lambda: lines_of(path), 30, "the errback ran")
    assert not again or not was_carried_on_once(book, run_id)
    assert (said["id"], said["kind"]) == (run_id, "RunFailed")
    assert "exit code 9" in said["said"]
    assert not (tmp_path / "notes.wrong").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("priority", 3), ("queue", "x"), ("routing_key", "x"), ("exchange", "x"), ("serializer", "pickle"),
        ("retry_policy", {"max_retries": 1}), ("time_limit", 5), ("soft_time_limit", 5), ("compression", "gzip"),
        ("retry", True), ("headers", {"a": 1}), ("shadow", "other name"), ("countdwn", 5),
    ],
)  # fmt: skip
def test_an_option_that_would_do_nothing_is_refused_by_name(call, option, value):
    raised = call.fails(accept, {"command": ["true"]}, {option: value})
    assert raised.kind == "BadOption"
    assert option in raised.said


@pytest.mark.parametrize(
    ("option", "value"),
    [("countdown", "soon"), ("countdown", True), ("eta", "tomorrow"), ("eta", 5), ("expires", []), ("countdown", 1e12)],
)
def test_an_option_with_a_wrong_value_is_refused_by_name(call, option, value):
    raised = call.fails(accept, {"command": ["true"]}, {option: value})
    assert raised.kind in {"BadOption", "BadInput"}
    assert option in raised.said or "delay_s" in raised.said
