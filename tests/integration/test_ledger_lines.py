"""How many run at once, and whose turn it is: lines in front of gates, and who lets them through."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from ledger_kit import FAILED, LOST, WORKED, Kit

from infra_tasks.ledger.lines import line_of
from infra_tasks.ledger.runs import Submission
from infra_tasks.model.spec import RunSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def kit(kit: Kit) -> Iterator[Kit]:
    yield kit
    kit.check()


@pytest.fixture
def node(kit: Kit) -> Iterator[str]:
    """A node of this test's own: lists of the broker have no prefix."""
    name = kit.prefix[:-1]
    yield name
    kit.redis.delete(f"node.{name}")


def hints_in(kit: Kit, queue: str) -> list[str]:
    """Return whose hints are in a queue, the next one first."""
    return [json.loads(text)["headers"]["id"] for text in reversed(kit.redis.lrange(queue, 0, -1))]


def hints(kit: Kit, node: str) -> list[str]:
    return hints_in(kit, f"node.{node}")


def next_hint(kit: Kit, node: str) -> str | None:
    """Take a hint as a worker does."""
    text = kit.redis.rpop(f"node.{node}")
    return json.loads(text)["headers"]["id"] if text else None


def named(kit: Kit, node: str, count: int, most: int = 1, **spec: object) -> list[str]:
    return [kit.submit(node=node, name="n", max_running=most, **spec) for _ in range(count)]


ENDS: dict[str, Callable[[Kit, str], object]] = {
    "works": lambda kit, run: kit.finish((run, 1, "c1"), WORKED),
    "fails": lambda kit, run: kit.finish((run, 1, "c1"), FAILED),
    "waits for a retry": lambda kit, run: kit.finish((run, 1, "c1"), FAILED),
    "is cancelled while it runs": lambda kit, run: (kit.runs.cancel(run), kit.finish((run, 1, "c1"), FAILED)),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_next_in_line_gets_its_hint_when_one(kit: Kit, node: str, end: str) -> None:
    runs = named(kit, node, 3, retries=1 if "retry" in end else 0)
    assert hints(kit, node) == runs[:1], "the others stand in line"
    assert next_hint(kit, node) == runs[0]
    kit.claimed(runs[0], node=node)
    assert hints(kit, node) == []
    assert kit.claim(runs[1], node=node, slots=9)["why"] == "running"
    ENDS[end](kit, runs[0])
    assert hints(kit, node) == runs[1:2]
    kit.claimed(runs[1], node=node, slots=9)


def test_a_lost_attempt_stands_in_line_again_in_front(kit: Kit, node: str) -> None:
    runs = named(kit, node, 3)
    kit.claimed(next_hint(kit, node) or "", node=node)
    kit.finish((runs[0], 1, "c1"), LOST)
    assert hints(kit, node) == [runs[1]], "who waited is next"
    kit.claimed(next_hint(kit, node) or "", node=node)
    kit.finish((runs[1], 1, "c1"))
    assert hints(kit, node) == [runs[0]], "it was there first"
    assert kit.runs.cancel(runs[0]) == "REVOKED"
    assert hints(kit, node)[1:] == [runs[2]]


def test_a_lease_that_ends_gives_its_place_away(kit: Kit, node: str) -> None:
    first = kit.submit(node=None, name="n", max_running=1)
    kit.claimed(first, node="gone")
    [waits] = named(kit, node, 1)
    assert hints(kit, node) == []
    kit.pass_time(121)
    kit.sweep()
    assert hints(kit, node) == [waits]


def test_cancelling_those_in_line_and_in_front_of_it_holds_up_nobody(kit: Kit, node: str) -> None:
    runs = named(kit, node, 4)
    assert kit.runs.cancel(runs[1]) == "REVOKED"
    assert kit.runs.cancel(runs[0]) == "REVOKED"
    assert hints(kit, node)[1:] == [runs[2]]
    kit.check()


def test_runs_of_a_name_without_a_limit_of_their_own_are_counted(kit: Kit, node: str) -> None:
    free = kit.submit(node=node, name="n")
    kit.claimed(free, node=node)
    [limited] = named(kit, node, 1)
    assert kit.claim(limited, node=node)["why"] == "running"
    kit.claimed(kit.submit(node=node, name="n"), node=node)


def test_a_queue_that_nobody_serves_holds_up_no_other(kit: Kit, node: str) -> None:
    asleep, awake = named(kit, f"{node}-asleep", 2), named(kit, node, 2)
    assert hints(kit, node) == awake[:1]
    kit.claimed(awake[0], node=node)
    kit.finish((awake[0], 1, "c1"))
    kit.claimed(awake[1], node=node)
    assert kit.claim(asleep[0], node=f"{node}-asleep")["why"] == "running"
    kit.finish((awake[1], 1, "c1"))
    kit.claimed(asleep[0], node=f"{node}-asleep")


def projects(kit: Kit, node: str, count: int, project: str = "p") -> list[str]:
    runs = [kit.submit(node=node, project=project) for _ in range(count)]
    for run in runs:
        kit.claims.dispatch("begin", run, "d", node="a", actor="a")
        kit.claims.dispatch("end", run, "d", node="a", actor="a", release="r" * 64)
    return runs


def test_a_projects_limit_is_the_word_of_the_node_that_has_its_source(kit: Kit, node: str) -> None:
    kit.renew("a", most_running={"p": 1})
    runs = projects(kit, node, 4)
    kit.claimed(runs[0], node=node)
    assert kit.claim(runs[1], node=node, slots=9)["why"] == "running"
    kit.renew("b", most_running={})
    assert hints(kit, node) == [runs[0]], "another node has no say in it"
    kit.renew("a", most_running={"p": 2})
    assert hints(kit, node) == [runs[1], runs[0]], "a place more, for who waits"
    kit.renew("a", most_running={})
    assert sorted(hints(kit, node)) == sorted(runs), "no limit any more"
    kit.renew("a", most_running={"p": 1})
    assert kit.claim(runs[1], node=node, slots=9)["why"] == "running"
    assert kit.state(runs[0]) == "SYNCING", "a lower limit ends nobody"


def test_after_a_restart_places_are_as_they_were(kit: Kit, node: str) -> None:
    kit.renew(node)
    runs = named(kit, node, 3)
    fields = kit.claimed(runs[0], node=node)
    kit.another_server()
    shown = {"run": runs[0], "attempt": 1, "claim": "c1", "ended": False, "fields": fields}
    for other in kit.redis.smembers(kit.key("nodes")):
        kit.claims.present(other, f"uuid-{other}", [shown] if other == node else [], done=True)
    assert kit.claim(runs[1], node=node, slots=9)["why"] == "running"


def test_a_claim_the_ledger_forgot_takes_its_place_again(kit: Kit, node: str) -> None:
    kit.renew(node)
    runs = named(kit, node, 2)
    fields = kit.claimed(runs[0], node=node)
    kit.redis.delete(kit.key("run", runs[0]), kit.key("node", node, "live"), kit.key("running", "name:n"))
    kit.redis.delete(kit.key("story", runs[0]), kit.key("counts"))
    kit.redis.hset(kit.key("counts"), "QUEUED", 1)
    kit.another_server()
    shown = {"run": runs[0], "attempt": 1, "claim": "c1", "ended": False, "fields": fields}
    assert kit.claims.present(node, f"uuid-{node}", [shown], done=True)["taken"] == [runs[0]]
    assert (kit.field(runs[0], "most_named"), kit.field(runs[0], "line")) == ("1", fields["line"]), "first stays first"
    assert kit.claim(runs[1], node=node, slots=9)["why"] == "running"


def test_who_stands_behind_a_limited_one_without_a_limit_of_its_own_is_told_so(kit: Kit, node: str) -> None:
    kit.claimed(kit.submit(node=node, name="n"), node=node)
    named(kit, node, 1)
    found = kit.runs.get(kit.submit(node=node, name="n"))
    assert found is not None
    line = line_of(kit.scripts, found)
    assert line is not None
    assert (line.kind, line.of, line.before, line.most) == ("name", "n", 1, None)


def test_whom_it_waits_for_is_known(kit: Kit, node: str) -> None:
    runs = named(kit, node, 3)
    kit.claimed(runs[0], node=node)
    found = kit.runs.get(runs[2])
    assert found is not None
    line = line_of(kit.scripts, found)
    assert line is not None
    assert (line.kind, line.of, line.before, line.running, line.most) == ("name", "n", 1, (runs[0],), 1)
    first = kit.runs.get(runs[0])
    assert first is not None
    assert line_of(kit.scripts, first) is None


def test_who_stands_in_line_is_where_it_belongs_and_can_be_put_there_again(kit: Kit, node: str) -> None:
    runs = named(kit, node, 2)
    assert kit.scripts.call("mend", run=runs[1])["said"] == "right"
    assert kit.nodes.waits_for(node) == runs
    [row] = kit.scripts.call("audit", runs=[runs[1]], meta_prefix="celery-task-meta-")["rows"]
    assert row["waits"] == 0
    kit.redis.zrem(kit.key("line", f"name:n@node.{node}"), runs[1])
    [row] = kit.scripts.call("audit", runs=[runs[1]], meta_prefix="celery-task-meta-")["rows"]
    assert "waits" not in row
    assert kit.scripts.call("mend", run=runs[1])["said"] == "mended"
    kit.check()
    kit.redis.zrem(kit.key("line", f"name:n@node.{node}"), runs[1])
    assert kit.runs.cancel(runs[0]) == "REVOKED"
    assert kit.scripts.call("mend", run=runs[1])["said"] == "mended"
    kit.check()
    [runs[0]] = named(kit, node, 1, most=9)
    kit.claimed(runs[0], node=node)
    kit.redis.srem(kit.key("node", node, "live"), runs[0])
    kit.redis.srem(kit.key("running", "name:n"), runs[0])
    assert kit.scripts.call("mend", run=runs[0])["said"] == "mended"
    kit.check()


def test_ten_of_one_project_come_soon_behind_thousands_of_another(kit: Kit, node: str) -> None:
    spec = RunSpec.of({"command": ["true"], "node": node})
    many = [Submission(f"{node}-{number}", spec) for number in range(3000)]
    kit.runs.submit_many(many)
    few = projects(kit, node, 10)
    started: list[str] = []
    while not set(few) <= set(started):
        run = next_hint(kit, node)
        assert run, "nothing is offered any more"
        kit.claimed(run, node=node)
        kit.finish((run, 1, "c1"))
        started.append(run)
    assert len(started) <= 80, "four times what is their fair share"
    without = [run for run in started if run not in few]
    assert without == [one.id for one in many[: len(without)]], "who came first goes first"
    assert kit.runs.waiting()[f"node.{node}"] == 3000 - len(without)


def test_a_queue_is_known_again_when_who_stood_in_line_for_days_is_let_through(kit: Kit, node: str) -> None:
    runs = named(kit, node, 2)
    kit.claimed(runs[0], node=node)
    kit.redis.zadd(kit.key("queues"), {f"node.{node}": -2 * 24 * 3600})
    kit.sweep()
    kit.finish((runs[0], 1, "c1"))
    assert f"node.{node}" in kit.nodes.pools(), "else no worker looks there, and a lost hint is never pushed again"


def test_places_of_those_that_are_long_gone_are_given_away(kit: Kit, node: str) -> None:
    """A node with an older version of the scripts leaves them behind."""
    runs = named(kit, node, 1)
    kit.claimed(runs[0], node=node)
    kit.redis.sadd(kit.key("running", "name:m"), "gone", runs[0])
    kit.redis.sadd(kit.key("ahead", f"lane:@node.{node}"), *(f"gone{number}" for number in range(32)))
    waits = [kit.submit(node=node, name="m", max_running=1), kit.submit(node=node)]
    kit.redis.srem(kit.key("running", "name:m"), runs[0])
    assert hints(kit, node)[1:] == []
    for _ in range(8):
        kit.sweep()
    assert sorted(hints(kit, node)) == sorted(waits)
    kit.redis.srem(kit.key("ahead", f"lane:@node.{node}"), *(f"gone{number}" for number in range(32)))


def test_a_run_that_ended_in_line_is_not_let_through(kit: Kit, node: str) -> None:
    runs = named(kit, node, 3)
    line = kit.key("line", f"name:n@node.{node}")
    number = kit.redis.zscore(line, runs[1])
    assert kit.runs.cancel(runs[1]) == "REVOKED"
    kit.redis.zadd(line, {runs[1]: number})
    kit.redis.hset(kit.key("run", runs[1]), "in_line", f"name:n@node.{node}")
    assert kit.runs.cancel(runs[0]) == "REVOKED"
    assert hints(kit, node)[1:] == [runs[2]]


def test_a_project_that_moves_to_another_node_keeps_its_limit(kit: Kit, node: str) -> None:
    kit.renew("a", most_running={"p": 1})
    runs = projects(kit, node, 2)
    kit.renew("b", most_running={"p": 1})
    kit.renew("a", most_running={})
    assert hints(kit, node) == runs[:1]
    kit.renew("a", most_running={"p": 1})
    kit.renew("b", most_running={"p": 0})
    assert hints(kit, node) == runs, "whoever has its source now, says that it has no limit"


def test_who_asks_for_fewer_of_its_name_is_not_overtaken_for_ever(kit: Kit, node: str) -> None:
    first, alone = named(kit, node, 2)
    wider = named(kit, node, 2, most=2)
    assert hints(kit, node) == [first]
    kit.claimed(first, node=node)
    kit.finish((first, 1, "c1"))
    assert hints(kit, node)[1:] == [alone, wider[0]]


@pytest.fixture
def full(kit: Kit, node: str) -> list[str]:
    """Fill the node; return the runs that run there."""
    runs = [kit.submit(node=node) for _ in range(2)]
    for run in runs:
        kit.claimed(run, node=node)
    kit.redis.delete(f"node.{node}")
    return runs


def test_a_full_node_gives_the_hint_of_a_pool_back_to_be_the_next_one(kit: Kit, node: str, full: list[str]) -> None:
    label = kit.prefix[:-1]
    runs = [kit.submit(node=None, labels=[label]) for _ in range(3)]
    queue = kit.field(runs[0], "queue")
    for _ in range(2):
        assert kit.redis.rpop(queue)
        said = kit.claim(runs[0], node=node, labels=(label,))
        assert (said["why"], said["handed_back"]) == ("full", True)
    assert hints_in(kit, queue) == runs
    kit.claimed(runs[0], node=f"{node}-other", labels=(label,))
    said = kit.claim(runs[0], node=node, labels=(label,))
    assert (said["why"], kit.redis.llen(queue)) == ("state", 3), "a hint that came too late goes nowhere"
    kit.redis.delete(queue)


def test_a_late_hint_of_a_run_of_a_pool_that_stands_in_line_is_not_given_back(
    kit: Kit, node: str, full: list[str]
) -> None:
    label = kit.prefix[:-1]
    runs = [kit.submit(node=None, labels=[label]) for _ in range(33)]
    queue = kit.field(runs[0], "queue")
    assert kit.field(runs[32], "in_line")
    assert kit.claim(runs[32], node=node, labels=(label,))["why"] == "full"
    assert hints_in(kit, queue) == runs[:32]
    kit.redis.delete(queue)


def test_hints_that_a_full_node_keeps_in_hand_hold_up_none_behind_them(kit: Kit, node: str, full: list[str]) -> None:
    runs = [kit.submit(node=node) for _ in range(34)]
    assert hints(kit, node) == runs[:32]
    for run in runs[:2]:
        assert next_hint(kit, node) == run
        for _ in range(2):
            said = kit.claim(run, node=node)
            assert (said["why"], said.get("handed_back")) == ("full", None)
    assert hints(kit, node) == runs[2:]


def test_who_was_claimed_before_places_were_counted_is_counted_at_the_next_heartbeat(kit: Kit, node: str) -> None:
    runs = named(kit, node, 2)
    kit.claimed(runs[0], node=node)
    kit.redis.srem(kit.key("running", "name:n"), runs[0])
    kit.renew(node, ((runs[0], 1, "c1"),))
    assert kit.claim(runs[1], node=node, slots=9)["why"] == "running"


def test_a_limit_that_is_lifted_lets_all_go_in_small_steps(kit: Kit, node: str) -> None:
    kit.renew("a", most_running={"p": 1})
    runs = projects(kit, node, 300)
    kit.claimed(runs[0], node=node)
    kit.renew("a", most_running={})
    lane, project = kit.key("line", f"lane:p@node.{node}"), kit.key("line", f"project:p@node.{node}")
    assert kit.redis.zcard(project) >= 200
    for _ in range(3):
        kit.sweep()
    assert kit.redis.zcard(project) == 0
    assert hints(kit, node) == runs[1:33]
    assert kit.redis.zrange(lane, 0, -1) == runs[33:]


def test_who_gives_up_in_line_holds_up_nobody_who_asks_for_less(kit: Kit, node: str) -> None:
    first, alone = named(kit, node, 2)
    [wider] = named(kit, node, 1, most=2)
    assert hints(kit, node) == [first]
    assert kit.runs.cancel(alone) == "REVOKED"
    assert hints(kit, node) == [first, wider]


def turn(kit: Kit, node: str, running: list[str], slots: int) -> list[str]:
    """Let the run that runs longest end, and what has a hint take the free slots; return what is claimed."""
    if running:
        kit.finish((running.pop(0), 1, "c1"))
    claimed = []
    while len(running) < slots and (run := next_hint(kit, node)):
        if kit.claim(run, node=node, slots=slots)["said"] == "claimed":
            running.append(run)
            claimed.append(run)
    return claimed


@pytest.mark.parametrize("elsewhere", [False, True], ids=["in its queue", "on another node"])
def test_a_limited_run_has_its_turn_though_unlimited_ones_of_its_name_follow_each_other_without_a_gap(
    kit: Kit, node: str, *, elsewhere: bool
) -> None:
    its_node, running, others = f"{node}-other" if elsewhere else node, [], []
    theirs = [] if elsewhere else running
    for _ in range(10):
        others += [kit.submit(node=node, name="n") for _ in range(2)]
        turn(kit, node, running, 3)
    limited = named(kit, its_node, 3)
    for _ in range(80):
        others.append(kit.submit(node=node, name="n"))
        turn(kit, node, running, 3)
        if elsewhere:
            turn(kit, its_node, theirs, 3)
    claimed = sorted([*limited, *others], key=lambda run: float(kit.field(run, "claimed_at") or "inf"))
    assert [run in limited for run in claimed].index(True) <= 40, "at most twice those that came first"
    assert kit.runs.peek(limited[-1])[1] == 1, "each has its turn"
    assert kit.field(others[30], "claimed_at"), "and those behind it have theirs"


def test_unlimited_runs_behind_a_limited_one_of_their_name_hold_up_nobody_else(kit: Kit, node: str) -> None:
    kit.claimed(kit.submit(node=node, name="n"), node=node)
    kit.redis.delete(f"node.{node}")
    named(kit, node, 1)
    spec = RunSpec.of({"command": ["true"], "node": node, "name": "n"})
    kit.runs.submit_many([Submission(f"{node}-{number}", spec) for number in range(500)])
    other = kit.submit(node=node)
    assert hints(kit, node) == [other]


def test_limited_runs_of_a_busy_node_have_their_turn_beside_those_of_one_that_has_little_to_do(
    kit: Kit, node: str
) -> None:
    """Whenever the busy node comes to its one, the other has the place again."""
    idle, here, there = f"{node}-idle", [], []
    for _ in range(5):
        kit.submit(node=node)
    ours, theirs = named(kit, node, 3), named(kit, idle, 60)
    for _ in range(40):
        kit.submit(node=node)
        turn(kit, node, here, 1)
        turn(kit, idle, there, 1)
    ran = [run for run in (*ours, *theirs) if kit.field(run, "claimed_at")]
    assert set(ours) <= set(ran), "three of 63"


def test_a_place_is_kept_for_a_while_only(kit: Kit, node: str) -> None:
    idle = f"{node}-idle"
    [waits], others = named(kit, node, 1), named(kit, idle, 3)
    kit.claimed(others[0], node=idle)
    assert kit.claim(waits, node=node)["why"] == "running"
    kit.finish((others[0], 1, "c1"))
    assert kit.claim(others[1], node=idle)["why"] == "running", "its place is kept"
    assert hints(kit, node)[-1] == waits
    kit.pass_time(11)
    kit.sweep()
    assert others[1] in hints(kit, idle)
    kit.claimed(others[1], node=idle)
    assert kit.claim(waits, node=node)["why"] == "running"
