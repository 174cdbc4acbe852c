"""Beat's tick becomes one message for each node that is there, and the agent tells what its node holds."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from caller import Caller
from redis_process import RedisProcess
from yard import REPOSITORY, Yard

from beat_schedule import CHECK_CODE_EVERY_S, SCHEDULE
from infra_tasks.ledger import Ledger
from infra_tasks.routing import GUARDIAN, dispatch_queue
from workers.holding import LOOK_EVERY_S, MANIFESTS_A_LOOK, SAY_EVERY_S, Holdings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NODES = ("n1", "n2", "n3")


class Fleet:
    """A node's folder, its Redis, and a program beside it."""

    def __init__(self, root: Path) -> None:
        self.redis = RedisProcess(root / "redis").start()
        home = root / "home"
        home.mkdir()
        nodes = {name: {"ssh": f"u@{name}.invalid", "root": "/r"} for name in NODES}
        nodes["n1"] = {"ssh": "local", "root": str(home)}
        said = {"fleet": "t", "broker": self.redis.url, "nodes": nodes, "projects": {}}
        (home / "nodes.json").write_text(json.dumps(said))
        self.ledger = Ledger.at(self.redis.url)
        self.call = Caller({**os.environ, "INFRA_HOME": str(home), "PYTHONPATH": str(REPOSITORY)})
        self.call(names)  # what it imports takes longer than a node may be silent, when the machine is busy

    def spoke(self, node: str, ago_s: float = 0) -> None:
        self.ledger.claims.renew(
            patience_s=5, node=node, uuid=node, slots=1, labels="[]", version="0", info="{}", live=[]
        )
        self.ledger.scripts.client.hset(self.ledger.scripts.key("node", node), "seen_at", time.time() - ago_s)

    def waiting(self, node: str) -> list[dict[str, Any]]:
        texts = self.ledger.scripts.client.lrange(dispatch_queue(node), 0, -1)
        return [json.loads(text) for text in texts]

    def close(self) -> None:
        self.call.close()
        self.ledger.close()
        self.redis.kill()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path)
    yield made
    made.close()


def tick():
    from infra_tasks.tasks import check_code

    check_code()


def test_a_tick_is_one_message_for_each_node_that_is_there_however_often_it_comes(fleet: Fleet):
    fleet.spoke("n1")
    fleet.spoke("n2")
    fleet.spoke("n3", ago_s=3600)
    fleet.call(tick)
    fleet.call(tick)
    assert [len(fleet.waiting(node)) for node in NODES] == [1, 1, 0]
    [message] = fleet.waiting("n2")
    assert message["headers"]["task"] == "infra_tasks.check_code"
    assert json.loads(message["headers"]["kwargsrepr"].replace("'", '"').replace("None", "null"))["node"] == "n2"
    assert message["headers"]["expires"] is not None


def test_the_next_tick_asks_again(fleet: Fleet):
    fleet.spoke("n1")
    fleet.call(tick)
    asked_again_s = fleet.ledger.scripts.client.ttl(fleet.ledger.scripts.key("check", "n1"))
    fleet.ledger.scripts.client.delete(fleet.ledger.scripts.key("check", "n1"))
    fleet.call(tick)
    assert len(fleet.waiting("n1")) == 2
    assert 0 < asked_again_s < CHECK_CODE_EVERY_S, "a tick that comes a little early is not passed over"


def test_who_asks_for_a_check_and_loses_the_answer_may_ask(fleet: Fleet, monkeypatch: pytest.MonkeyPatch):
    from redis.exceptions import ConnectionError as ConnectionLost

    client, lost = fleet.ledger.scripts.client, []
    real = client.set

    def forgetful(*args: Any, **more: Any) -> Any:
        said = real(*args, **more)
        if not lost:
            lost.append(said)
            raise ConnectionLost
        return said

    monkeypatch.setattr(client, "set", forgetful)
    assert fleet.ledger.code.may_ask_for_check("n1", 60)
    assert lost == [True]
    assert not fleet.ledger.code.may_ask_for_check("n1", 60)


def test_a_message_for_another_node_does_nothing(fleet: Fleet):
    fleet.ledger.code.expect("p", "n1", "1" * 64)  # a check of n1 would say that it is missing
    fleet.call(misled)
    assert fleet.ledger.code.syncs() == []


def misled():
    from infra_tasks.tasks import check_code

    check_code("n2")


def names():
    from infra_tasks.tasks import CHECK_EVERY_S, app

    return [sorted(app.tasks), CHECK_EVERY_S]


def test_the_schedule_and_the_tasks_agree(fleet: Fleet):
    tasks, every_s = fleet.call(names)
    for entry in SCHEDULE.values():
        assert entry["task"] in tasks
        assert entry["options"]["queue"] == GUARDIAN
        assert entry["options"]["expires"] <= entry["schedule"], "a tick is worth nothing when the next one is there"
    assert SCHEDULE["check-code"]["schedule"] == CHECK_CODE_EVERY_S == every_s


# What a node holds.


class Agent:
    """The part of an agent that tells of releases, at moments the test names."""

    def __init__(self, yard: Yard, ledger: Ledger) -> None:
        self.ledger = ledger
        self.holdings = Holdings(yard.home, ledger)
        self.now = 1000.0
        self.writes: list[int] = []
        real = ledger.code.publish_releases

        def publish(node: str, held: Any, **more: Any) -> None:
            self.writes.append(len(held))
            real(node, held, **more)

        ledger.code.publish_releases = publish  # type: ignore[method-assign]

    def looks(self, after_s: float = LOOK_EVERY_S) -> None:
        self.now += after_s
        self.holdings.run_once("n1", self.now)

    def told(self) -> dict[str, tuple[bool, int, int]]:
        held = self.ledger.code.releases().get("n1", [])
        return {one.digest: (one.in_use, one.files, one.size_bytes) for one in held}


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    made = Yard(tmp_path / "yard")
    made.write(a="one", sub__b="two")
    yield made
    made.let_go()


def test_what_changed_is_told_and_nothing_else(yard: Yard, ledger: Ledger):
    agent = Agent(yard, ledger)
    agent.looks()
    release = yard.ensure()
    agent.looks()
    agent.looks()
    assert agent.told() == {release.digest: (False, 2, 6)}
    yard.hold(release)
    agent.looks()
    assert agent.told() == {release.digest: (True, 2, 6)}
    yard.let_go()
    agent.looks()
    agent.looks()
    assert agent.told() == {release.digest: (False, 2, 6)}
    assert agent.writes == [0, 1, 1, 1]
    assert ledger.code.holders("p", release.digest) == ["n1"]


def test_a_node_looks_now_and_then_only(yard: Yard, ledger: Ledger):
    agent = Agent(yard, ledger)
    agent.looks()
    yard.ensure()
    agent.looks(after_s=LOOK_EVERY_S / 2)
    assert agent.told() == {}
    agent.looks(after_s=LOOK_EVERY_S / 2)
    assert len(agent.told()) == 1


def test_a_ledger_that_forgot_is_told_again(yard: Yard, ledger: Ledger):
    agent = Agent(yard, ledger)
    digest = yard.ensure().digest
    agent.looks()
    ledger.scripts.client.delete(ledger.scripts.key("held"))
    agent.looks(after_s=SAY_EVERY_S)
    assert agent.told().keys() == {digest}


def test_a_release_that_was_removed_is_not_told_of(yard: Yard, ledger: Ledger):
    from infra_tasks import releases

    agent = Agent(yard, ledger)
    first = yard.ensure().digest
    yard.write(a="another")
    second = yard.ensure().digest
    agent.looks()
    assert agent.told().keys() == {first, second}
    releases.prune(yard.home, "p", keep=1)
    agent.looks()
    assert agent.told().keys() == {second}


def test_many_new_releases_do_not_hold_the_agent_up_and_a_lost_manifest_hides_no_other(yard: Yard, ledger: Ledger):
    made = []
    for number in range(MANIFESTS_A_LOOK + 2):
        yard.write(a=f"{number}")
        made.append(yard.ensure().digest)
    for digest in sorted(made)[:MANIFESTS_A_LOOK]:
        (yard.shelf / f"{digest}.json").unlink()
    agent = Agent(yard, ledger)
    agent.looks()
    assert agent.told() == {}
    agent.looks()
    assert agent.told().keys() == set(sorted(made)[MANIFESTS_A_LOOK:])


def test_what_is_half_built_or_no_release_is_not_told_of(yard: Yard, ledger: Ledger):
    digest = yard.ensure().digest
    (yard.shelf / f".building-{'0' * 64}").mkdir()
    (yard.shelf / "notes").mkdir()
    (yard.home.projects / ".DS_Store").write_text("")
    (yard.home.projects / "stray").write_text("")
    agent = Agent(yard, ledger)
    agent.looks()
    assert agent.told().keys() == {digest}
