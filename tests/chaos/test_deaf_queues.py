"""The chaos suite hears a queue that is deaf, and which one it is."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from chaos import beds
from chaos.nemeses.kills import hit
from chaos.plan import Wish
from chaos.probes import ANYWHERE
from chaos.storm import Storm, Weather

if TYPE_CHECKING:
    from pathlib import Path

    from chaos.beds.bed import Bed

pytestmark = pytest.mark.chaos

ONLY_CONTROL = {"dispatch.n1", "guardian", "celery"}


def probed(bed: Bed, folder: Path, **weather: float) -> dict[str, float | None]:
    return Storm(bed, Weather(0, (), Wish(0, 0.0), 0, **weather), print, folder=folder)._probe()


@pytest.fixture(autouse=True)
def _whole():
    """No node but that of the bed."""


def test_what_only_control_takes_from_is_deaf_while_it_stands_still(tmp_path: Path):
    bed = beds.make("one", tmp_path)
    try:
        bed.up()
        for part in ("watcher", "control"):
            hit(bed.pids(part, "n1"), signal.SIGSTOP)
        consumed = probed(bed, tmp_path / "deaf", rest_s=20.0)
        assert {queue for queue, took_s in consumed.items() if took_s is None} == ONLY_CONTROL
        assert set(consumed) - ONLY_CONTROL == {ANYWHERE, "n1"}
        hit(bed.pids("control", "n1"), signal.SIGCONT)
        assert None not in probed(bed, tmp_path / "whole").values()
    finally:
        print(bed.logs())  # noqa: T201  shown when a test fails
        bed.close()
