"""The chaos suite hears a queue that is deaf, and which one it is."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from waiting import eventually

from chaos import beds
from chaos.nemeses.kills import hit
from chaos.plan import Wish
from chaos.probes import ANYWHERE, Probes
from chaos.storm import Storm, Weather

if TYPE_CHECKING:
    from pathlib import Path

    from chaos.beds.bed import Bed

pytestmark = pytest.mark.chaos

ONLY_CONTROL = frozenset({"dispatch.n1", "guardian", "celery"})


def deaf(bed: Bed, folder: Path, but_for: frozenset[str]) -> set[str]:
    """Probe until all queues `but_for` these were seen to consume, however long that takes; return the others."""
    folder.mkdir()
    storm = Storm(bed, Weather(0, (), Wish(0, 0.0), 0), print, folder=folder)
    probes = Probes(bed, storm.effects, folder / "probe.handed")
    handing, _ = storm._hand_in("probe", probes.items)

    def silent() -> set[str]:
        probes.answered()
        return {queue for queue, took_s in probes.consumed_after_s().items() if took_s is None}

    try:
        eventually(lambda: handing.poll() is not None, said="all probes are there")
        eventually(lambda: silent() <= but_for, said="all others consume")
        return silent()
    finally:
        handing.kill()
        handing.wait()


@pytest.fixture(autouse=True)
def _whole():
    """No node but that of the bed."""


def test_what_only_control_takes_from_is_deaf_while_it_stands_still(tmp_path: Path):
    bed = beds.make("one", tmp_path)
    try:
        bed.up()
        for part in ("watcher", "control"):
            hit(bed.pids(part, "n1"), signal.SIGSTOP)
        assert deaf(bed, tmp_path / "deaf", but_for=ONLY_CONTROL) == ONLY_CONTROL
        hit(bed.pids("control", "n1"), signal.SIGCONT)
        storm = Storm(bed, Weather(0, (), Wish(0, 0.0), 0), print, folder=tmp_path / "whole")
        consumed = storm._probe()
        assert set(consumed) == {*ONLY_CONTROL, ANYWHERE, "n1"}
        assert None not in consumed.values()
    finally:
        print(bed.logs())  # noqa: T201  shown when a test fails
        bed.close()
