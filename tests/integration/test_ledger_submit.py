"""Accepting runs, asking twice, and what callers are told when Redis does not do as asked."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import redis
from ledger_kit import Kit
from redis_process import RedisProcess, refusing_port

from infra_tasks.errors import BadInput, FleetUnreachable, IdempotencyConflict, InfraError, SubmitUnknown, UnknownRun
from infra_tasks.ledger import Ledger
from infra_tasks.ledger.runs import Submission
from infra_tasks.model.run import State
from infra_tasks.model.spec import RunSpec

if TYPE_CHECKING:
    from pathlib import Path


def some(n: int, **said: object) -> list[Submission]:
    return [Submission(uuid4().hex, RunSpec.of({"command": [str(i)], "node": "a", **said})) for i in range(n)]


def test_the_same_id_with_the_same_spec_is_the_same_run(kit: Kit) -> None:
    run = kit.submit("r1", timeout_s=5)
    assert kit.submit("r1", timeout_s=5) == run
    with pytest.raises(IdempotencyConflict, match="r1"):
        kit.submit("r1", timeout_s=6)
    assert len(kit.runs.events(run)) == 1
    kit.check()


def test_an_idempotency_key_answers_with_the_run_it_made_whatever_became_of_it(kit: Kit) -> None:
    run = kit.submit(idempotency_key="k")
    kit.runs.cancel(run)
    assert kit.submit(idempotency_key="k") == run
    with pytest.raises(IdempotencyConflict, match="'k'"):
        kit.submit(idempotency_key="k", timeout_s=5)


def test_the_id_of_another_run_does_not_become_the_run_of_a_key(kit: Kit) -> None:
    kit.submit("r1")
    with pytest.raises(IdempotencyConflict):
        kit.submit("r1", idempotency_key="k")
    assert kit.submit("r2", idempotency_key="k") == "r2"
    kit.check()


def test_a_key_whose_run_is_gone_makes_a_run_with_its_own_id_and_hint(kit: Kit) -> None:
    kit.redis.set(kit.key("idem", "k"), "vanished")
    assert kit.submit("r1", idempotency_key="k") == "r1"
    kit.check()


@pytest.mark.parametrize("pair", [("x", "x:events"), ("x", "x:y"), ("story", "story:story")])
def test_ids_with_colons_do_not_meet(kit: Kit, pair: tuple[str, str]) -> None:
    for run in (kit.prefix[:-1] + name for name in pair):
        kit.submit(run)
        kit.claimed(run, slots=9)
        kit.finish((run, 1, "c1"))
    kit.check()


def test_the_id_of_a_task_that_has_a_result_is_refused(kit: Kit) -> None:
    taken = uuid4().hex
    kit.redis.set(f"celery-task-meta-{taken}", "{}", ex=60)
    with pytest.raises(IdempotencyConflict):
        kit.submit(taken)


def test_a_thousand_runs_are_accepted_in_order(kit: Kit) -> None:
    many = some(1000)
    assert kit.runs.submit_many(many) == [one.id for one in many]
    assert kit.runs.submit_many(many) == [one.id for one in many]
    assert kit.runs.counts()["QUEUED"] == 1000
    assert kit.runs.waiting() == {"node.a": 1000}


def test_of_a_bulk_with_a_conflict_the_part_is_refused_whole_and_the_count_is_told(kit: Kit) -> None:
    many = some(300)
    many[280] = Submission(many[0].id, RunSpec(command="another", node="a"))
    with pytest.raises(IdempotencyConflict, match="250 of the 300 runs had been accepted"):
        kit.runs.submit_many(many)
    assert kit.runs.counts()["QUEUED"] == 250
    kit.check()


def test_a_key_twice_in_a_bulk_is_one_run(kit: Kit) -> None:
    spec = RunSpec(command="x", node="a", idempotency_key="k")
    ids = kit.runs.submit_many([Submission("r1", spec), Submission("r2", spec)])
    assert ids == ["r1", "r1"]
    kit.check()


def test_everything_a_text_can_hold_comes_back(kit: Kit) -> None:
    said = {"name": 'ü ☃ 🙂 \\ " %1 @TAG@', "idempotency_key": "\x00\n🙂", "env": {"A": "\x01\x7f\u2028"}}
    run = kit.submit(**said)
    record = kit.runs.get(run)
    assert record is not None
    assert (record.spec.env, record.name, record.spec.idempotency_key) == (
        said["env"],
        said["name"],
        said["idempotency_key"],
    )
    kit.claimed(run)
    kit.check()


def test_half_a_character_from_a_shell_is_no_traceback(kit: Kit) -> None:
    kit.nodes.cordon("a", "disk \udcff gone")
    assert kit.redis.hget(kit.key("node", "a"), "cordon_why") == "disk ? gone"
    for beginning in ("\udcff", "ü", " "):
        with pytest.raises(UnknownRun):
            kit.runs.known(beginning)


def test_a_run_is_found_by_any_unique_beginning(kit: Kit) -> None:
    for run in ("abc1", "abc2", "abcd", "abc"):
        kit.submit(run)
    assert kit.runs.known("abcd") == "abcd"
    assert kit.runs.known("abc") == "abc"
    with pytest.raises(UnknownRun, match="several"):
        kit.runs.known("ab")


@pytest.mark.parametrize("by_s", [0, -5, float("nan"), float("inf")])
def test_a_run_is_extended_by_a_span_only(kit: Kit, by_s: float) -> None:
    with pytest.raises(BadInput):
        kit.runs.extend(kit.submit(), by_s, ceiling_s=7200)


def test_an_unreachable_redis_is_one_error_after_the_patience_with_the_id_of_the_run() -> None:
    began = time.monotonic()
    with refusing_port() as port:
        ledger = Ledger.at(f"redis://127.0.0.1:{port}/0")
        with pytest.raises(SubmitUnknown, match="r1") as caught:
            ledger.runs.submit(Submission("r1", RunSpec(command="x")), patience_s=0.5)
    assert caught.value.run_id == "r1"
    assert time.monotonic() - began > 0.4
    ledger.close()


def test_whoever_hands_in_while_redis_is_started_anew_is_patient_and_it_is_one_run(tmp_path: Path) -> None:
    server = RedisProcess(tmp_path).start()
    kit = Kit(server.url)
    try:
        kit.submit()
        server.kill()
        with ThreadPoolExecutor(1) as beside:
            handing_in = beside.submit(kit.runs.submit, *some(1), patience_s=600)
            with suppress(TimeoutError):
                handing_in.result(1)
            server.start()
            run = handing_in.result(180)
        assert [one.to_state for one in kit.runs.events(run)] == [State.QUEUED]
        kit.check()
    finally:
        kit.close()
        server.kill()


def test_a_wrong_password_is_told_at_once(tmp_path: Path) -> None:
    server = RedisProcess(tmp_path).start()
    try:
        with redis.Redis(port=server.port) as client:
            client.config_set("requirepass", "x")
        for url in (server.url, server.url.replace("127", ":wrong@127")):
            ledger = Ledger.at(url)
            with pytest.raises(FleetUnreachable, match="refuses the login"):
                ledger.runs.counts()
            ledger.close()
    finally:
        server.kill()


def test_a_redis_without_memory_takes_nothing_and_loses_nothing(tmp_path: Path) -> None:
    server = RedisProcess(tmp_path).start()
    try:
        kit = Kit(server.url)
        run = kit.submit()
        kit.redis.config_set("maxmemory", "1")
        with pytest.raises(FleetUnreachable, match="no memory left"):
            kit.submit()
        kit.redis.config_set("maxmemory", "0")
        kit.claimed(run)
        kit.check()
        kit.close()
    finally:
        server.kill()


def test_a_redis_that_forgot_the_scripts_is_told_them_again(kit: Kit) -> None:
    kit.submit()
    kit.redis.script_flush()
    kit.submit()


def test_a_refusal_that_does_not_pass_is_an_error_of_ours(kit: Kit) -> None:
    kit.redis.set(kit.key("ids"), "not a sorted set")
    with pytest.raises(InfraError, match="refused"):
        kit.runs.known("x")
