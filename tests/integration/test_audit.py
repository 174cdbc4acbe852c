"""The audit: each kind of exception is made by hand, found with its run, and mended where that is safe."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from contextlib import suppress

import pytest
from cli_process import Terminal
from waiting import eventually

from infra_tasks.audit.look import Auditor
from infra_tasks.audit.repair import repair
from infra_tasks.model.audit import Row, Sums, check_run, check_sums
from infra_tasks.model.audit_here import AttemptSeen, check_attempt
from infra_tasks.model.hint import RUN_TASK, envelope
from infra_tasks.node import this_node


@pytest.fixture
def redis(fleet):
    return fleet.ledger.scripts.client


def audit(fleet, between=lambda: None):
    return Auditor(fleet.ledger, this_node(fleet.home), pause=lambda _: between()).run()


def found(fleet):
    return [(one.check, one.run) for one in audit(fleet).findings]


def mended(fleet):
    """Repair what is found; return what was done."""
    return [repair(fleet.home, fleet.ledger, one) for one in audit(fleet).findings]


def running(fleet, **spec):
    """A run whose attempt this node holds, with everything on the disk that it should have."""
    run = fleet.accepts(**spec)
    taken = fleet.takes(run)
    taken.folder.write_record({"run": run, "attempt": 1, "claim": taken.claim, "cookie": f"cookie-{run}", "mark": 0})
    fleet.home.live.mkdir(exist_ok=True)
    (fleet.home.live / f"{run}@1").write_text(taken.claim)
    return taken


def ended(fleet, **spec):
    taken = running(fleet, **spec)
    taken.ends(exit_code=0)
    (taken.folder.folder / "exit.json").write_text(json.dumps({"exit_code": 0, "ended_at": time.time()}))
    taken.folder.note_report()
    (fleet.home.live / f"{taken.id}@1").unlink()
    return taken.id


def key(*parts):
    return "infra:" + ":".join(parts)


def test_what_is_right_is_clean_and_all_of_it_is_counted(fleet):
    for _ in range(3):
        ended(fleet)
    running(fleet)
    fleet.accepts(node="n1")
    fleet.ledger.runs.cancel(fleet.accepts())
    said = audit(fleet)
    assert (said.findings, said.clean, said.looked) == ([], True, 6)
    assert said.sums.as_dict() == {
        "submitted": 6, "final": 4, "running": 1, "waiting": 1, "archived": 0, "forgotten": 0,
    }  # fmt: skip
    done = fleet.infra("audit")
    assert done.code == 0, done.out + done.err
    assert "all 6 runs" in done.out


def test_a_run_that_vanished_is_missed_in_the_sums_and_told_by_its_id(fleet, redis):
    run = ended(fleet)
    redis.delete(key("run", run))
    assert ("record", run) in found(fleet)
    redis.zrem(key("ids"), run)
    redis.zrem(key("recent"), run)
    redis.zrem(key("ended"), run)
    assert set(found(fleet)) == {("sums", None), ("hint", run)}
    redis.delete("node.n1")
    done = fleet.infra("audit", "--json")
    assert done.code == 1
    said = json.loads(done.out)
    assert said["ok"] is False
    assert {one["check"] for one in said["findings"]} == {"sums"}


def test_a_record_in_no_list_is_found_and_listed_again(fleet, redis):
    run = ended(fleet)
    for index in ("ids", "recent", "ended"):
        redis.zrem(key(index), run)
    assert ("record", run) in found(fleet)
    assert "put into recent, put into ids, put into ended" in mended(fleet)
    assert found(fleet) == []


def test_a_run_that_nothing_would_move_on_is_queued_again_with_a_hint(fleet, redis):
    run = fleet.accepts(node="n1")
    redis.zrem(key("waiting", "node.n1"), run)
    redis.delete("node.n1")
    assert found(fleet) == [("place", run)]
    assert mended(fleet) == ["put into its queue, with a hint"]
    assert redis.llen("node.n1") == 1
    assert found(fleet) == []
    assert fleet.ledger.runs.events(run)[-1].actor == "audit"


def test_a_run_between_two_attempts_whose_moment_is_lost_waits_for_it_again(fleet, redis):
    run = fleet.accepts(node="n1")
    redis.hset(key("run", run), mapping={"state": "RETRY", "not_before": "1.0"})
    redis.hincrby(key("counts"), "QUEUED", -1)
    redis.hincrby(key("counts"), "RETRY", 1)
    redis.zrem(key("waiting", "node.n1"), run)
    assert found(fleet) == [("place", run)]
    mended(fleet)
    assert found(fleet) == []
    fleet.ledger.claims.sweep("n1")
    assert fleet.ledger.runs.peek(run)[0] == "QUEUED"


@pytest.mark.parametrize("index", ["live", "ended"])
def test_a_run_in_the_wrong_list_is_put_right(fleet, redis, index):
    run = ended(fleet) if index == "live" else running(fleet).id
    redis.zadd(key(index), {run: 1.0})
    assert ("place", run) in found(fleet)
    mended(fleet)
    assert found(fleet) == []


def test_a_lease_and_a_continuation_that_nobody_watches_are_watched_again(fleet, redis):
    leased = running(fleet).id
    redis.hset(key("run", leased), "lease_until", "1000")
    followed = ended(fleet)
    redis.zadd(key("unsettled"), {followed: 1.0})
    assert sorted(found(fleet)) == sorted([("place", leased), ("place", followed)])
    mended(fleet)
    assert found(fleet) == []


def test_slots_are_counted_for_those_who_have_a_claim_and_for_nobody_else(fleet, redis):
    held, over = running(fleet).id, ended(fleet)
    fleet.ledger.claims.renew(patience_s=1, node="n1", uuid="u1", live=[])
    redis.srem(key("node", "n1", "live"), held)
    redis.sadd(key("node", "n1", "live"), over, "unknown")
    assert sorted(found(fleet)) == sorted([("slot", held), ("slot", over), ("slot", "unknown")])
    mended(fleet)
    assert redis.smembers(key("node", "n1", "live")) == {held, "unknown"}


def test_celerys_results_are_held_against_the_ledger(fleet, redis):
    lost, early, other = ended(fleet), fleet.accepts(node="n1"), ended(fleet)
    before = redis.getdel(f"celery-task-meta-{lost}")
    redis.set(f"celery-task-meta-{early}", '{"status": "SUCCESS", "result": 1}')
    redis.set(f"celery-task-meta-{other}", '{"status": "FAILURE", "result": 1}')
    assert sorted(found(fleet)) == sorted([("result", lost), ("result", early), ("result", other)])
    mended(fleet)
    again = json.loads(redis.get(f"celery-task-meta-{lost}"))
    assert (again["status"], again["result"]) == ("SUCCESS", json.loads(before)["result"])
    assert sorted(found(fleet)) == sorted([("result", early), ("result", other)])


def test_a_hint_that_got_lost_long_ago_is_pushed_again_but_not_for_a_cordoned_node(fleet, redis):
    run = fleet.accepts(node="n1")
    redis.delete("node.n1")
    assert found(fleet) == []
    redis.zincrby(key("waiting", "node.n1"), -61, run)
    fleet.ledger.nodes.cordon("n1", "why")
    fleet.ledger.claims.renew(patience_s=1, node="n1", uuid="u1", live=[])
    assert found(fleet) == []
    fleet.ledger.nodes.uncordon("n1")
    redis.delete("node.n1")
    redis.zadd(key("waiting", "node.n1"), {run: -61})
    assert found(fleet) == [("hint", run)]
    assert mended(fleet) == ["hint pushed again"]
    assert redis.llen("node.n1") == 1
    assert found(fleet) == []


def test_a_hint_for_nobody_is_told_and_a_foreign_clients_is_not(fleet, redis):
    fleet.accepts(node="n1")
    redis.lpush("node.n1", envelope(RUN_TASK, "nobody"), "garbage")
    assert found(fleet) == [("hint", "nobody")]


def test_a_run_on_the_move_is_no_exception(fleet, redis):
    run = fleet.accepts(node="n1")
    redis.zrem(key("waiting", "node.n1"), run)
    said = audit(fleet, between=lambda: fleet.ledger.auditing.mend(run))
    assert said.clean


def test_an_exit_record_that_nobody_would_report_is_handed_to_the_agent(fleet):
    taken = running(fleet)
    os.close(taken.lock)
    (taken.folder.folder / "exit.json").write_text(json.dumps({"exit_code": 0, "ended_at": time.time() - 60}))
    entry = fleet.home.live / f"{taken.id}@1"
    assert found(fleet) == [("disk", taken.id)]
    entry.unlink()
    assert {("disk", taken.id)} == set(found(fleet))
    assert "attempt 1 noted for the agent" in mended(fleet)
    assert entry.read_text() == taken.claim


def test_a_claim_without_trace_and_a_folder_that_is_gone_are_told(fleet):
    held, over = running(fleet), ended(fleet)
    (fleet.home.live / f"{held.id}@1").unlink()
    shutil.rmtree(fleet.home.runs / over)
    assert sorted(found(fleet)) == sorted([("disk", held.id), ("disk", over)])


def test_an_exit_code_that_is_another_one_on_the_disk_is_told(fleet):
    run = ended(fleet)
    exit_json = fleet.home.attempt(run, 1) / "exit.json"
    exit_json.write_text(json.dumps({"exit_code": 3, "ended_at": time.time()}))
    assert found(fleet) == [("disk", run)]


def test_what_lives_though_its_run_is_final_is_ended(fleet):
    run = ended(fleet)
    env = {
        **os.environ,
        "INFRA_RUN": run,
        "INFRA_TOKEN": "1:old",
        "INFRA_COOKIE": f"cookie-{run}",
        "INFRA_SCRATCH": str(fleet.home.attempt(run, 1) / "scratch"),
    }
    process = subprocess.Popen(["sleep", "600"], env=env, start_new_session=True)
    try:
        eventually(lambda: found(fleet) == [("process", run)], said="it is seen")
        done = fleet.infra("audit", "--repair")
        assert done.code == 1
        assert str(process.pid) in done.out
        assert "processes of attempt 1 killed" in done.out
        assert process.wait(30) < 0
        assert found(fleet) == []
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()


def test_the_shim_of_a_run_that_is_final_is_told_to_end_it(fleet):
    taken = running(fleet)
    fleet.ledger.scripts.client.hset(key("run", taken.id), "claim", "another")
    assert found(fleet) == []
    row = Row(taken.id, {"state": "SUCCESS", "claim": "another", "attempt": "1", "lapsed": ""}, ended=True)
    seen = AttemptSeen(taken.id, 1, taken.claim, entered=True, locked=True, recorded=True, reported=False, ended_s=None)
    (one,) = check_attempt(seen, row)
    assert "the shim of attempt 1 lives" in one.found
    repair(fleet.home, fleet.ledger, one)
    assert taken.folder.orders() == {"stop": "fenced", "kill": True}
    os.close(taken.lock)


def test_safe_mode_is_told(fleet, redis):
    fleet.ledger.claims.renew(patience_s=1, node="n1", uuid="u1", live=[])
    redis.hset(key("epoch"), "server", "another")
    fleet.ledger.claims.sweep("n1")
    done = fleet.infra("audit")
    assert done.code == 1
    assert "safe mode" in done.err


def test_names_reach_no_terminal_as_signs_it_obeys(fleet, redis):
    redis.zadd(key("ids"), {"\x1b[31mred": 0})
    with Terminal(fleet.home.root, "audit") as terminal:
        assert terminal.ends() == 1
    assert "red" in terminal.seen
    assert "\x1b[31mred" not in terminal.seen


def sums(**more):
    return Sums(
        {"SUCCESS": 2, "STARTED": 1, "QUEUED": 3},
        {"submitted": 10, "archived": 4, **more},
        {"recent": 6, "ids": 6, "ended": 2, "live": 4},
    )


def test_the_sum_is_right_or_told_with_both_sides():
    assert list(check_sums(sums())) == []
    (one,) = check_sums(sums(submitted=11))
    assert (one.found, one.expected) == (
        "2 final + 1 running + 3 waiting + 4 archived + 0 forgotten = 10", "11 submitted",
    )  # fmt: skip


def test_a_state_nobody_knows_is_told():
    (one,) = check_run(Row("r", {"state": "LOST"}), 1.0)
    assert "LOST" in one.found
