"""When a storm takes a queue for consumed again."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from chaos.clock import now
from chaos.probes import ANYWHERE, Probes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ITS_RUNS = {ANYWHERE: 0, "n1": 1, "dispatch.n1": 2}


@dataclass
class Told:
    """Two slots on one node, a queue of projects and one of ticks; what it says, a test says."""

    nodes = ("n1",)
    slots = 2
    sources = ("site",)
    dispatches = "dispatch.n1"
    ticked = ("guardian",)
    state: str = "PENDING"
    takes: bool = False
    answers: bool = True
    ticks: list[str] = field(default_factory=list)

    def states(self, runs: list[str]) -> dict[str, str]:
        return dict.fromkeys(runs, self._said(self.state))

    def tick(self, queue: str) -> Callable[[], bool]:
        self.ticks.append(self._said(queue))
        return lambda: self._said(self.takes)

    def _said(self, said):
        if not self.answers:
            raise ConnectionError("Redis is away")
        return said


class Scene:
    """The probes of a bed, all handed in, and what commands note."""

    def __init__(self, folder: Path) -> None:
        self.bed, self.effects = Told(), folder / "effects"
        self.probes = Probes(self.bed, self.effects, folder / "handed")
        said = [{"item": number, "ids": [f"probe-{number}"], "sure": True, "at": 0, "since": 0} for number in range(3)]
        (folder / "handed").write_text("".join(json.dumps(one) + "\n" for one in said))

    def begin(self, run: str, node: str = "n1", at: float | None = None) -> None:
        note = {"what": "start", "run": run, "attempt": 1, "token": "1:c", "node": node, "pid": 1}
        with self.effects.open("a") as file:
            file.write(json.dumps({**note, "at": now() if at is None else at}) + "\n")

    def consumed(self) -> set[str]:
        self.probes.answered()
        return {queue for queue, took_s in self.probes.consumed_after_s().items() if took_s is not None}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_every_queue_is_said_also_one_that_never_consumed(scene: Scene):
    assert not scene.probes.answered()
    assert scene.probes.consumed_after_s() == dict.fromkeys([ANYWHERE, "n1", "dispatch.n1", "guardian"])


@pytest.mark.parametrize("queue", [ANYWHERE, "n1"])
def test_a_queue_of_runs_consumes_when_its_probe_begins(scene: Scene, queue: str):
    scene.begin(f"probe-{ITS_RUNS[queue]}")
    assert scene.consumed() == {queue}


def test_a_queue_of_runs_consumes_when_more_begin_than_there_were_slots(scene: Scene):
    scene.begin("before", at=now() - 60)
    scene.begin("a")
    scene.begin("b")
    assert scene.consumed() == set()
    scene.begin("c")
    assert scene.consumed() == {ANYWHERE, "n1"}


@pytest.mark.parametrize(
    ("state", "seen"), [("SYNCING", set()), ("QUEUED", {"dispatch.n1"}), ("SUCCESS", {"dispatch.n1"})]
)
def test_the_queue_of_projects_consumes_when_its_probe_has_left_it(scene: Scene, state: str, seen: set[str]):
    scene.bed.state = state
    assert scene.consumed() == seen


def test_a_queue_of_no_runs_consumes_when_a_tick_was_taken(scene: Scene):
    assert scene.consumed() == set()
    scene.bed.takes = True
    assert scene.consumed() == {"guardian"}


def test_a_tick_that_got_lost_is_not_the_last_one(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("chaos.probes.TICK_EVERY_S", 0.0)
    scene.consumed()
    scene.consumed()
    assert scene.bed.ticks == ["guardian"] * 2
    scene.bed.takes = True
    scene.consumed()
    scene.consumed()
    assert len(scene.bed.ticks) == 2, "what has consumed is asked no more"


def test_a_redis_that_comes_back_late_proves_nothing_and_breaks_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("chaos.probes.TICK_EVERY_S", 0.0)
    scene.bed.answers = False
    assert scene.consumed() == set()
    scene.bed.answers, scene.bed.takes, scene.bed.state = True, True, "QUEUED"
    scene.consumed()
    assert scene.consumed() == {"dispatch.n1", "guardian"}
