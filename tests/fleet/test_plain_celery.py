"""Plain Celery as it stands beside us in the table: what it loses there is not lost by the adapter."""

from __future__ import annotations

import pytest

from chaos import beds
from chaos.compare import HABITS
from chaos.plan import Wish
from chaos.storm import AT_MOST_S, Storm, Weather
from chaos.tally import tally

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(AT_MOST_S)]
RUNS, SPAN_S = 40, 4.0


def test_with_nothing_struck_plain_celery_does_all_of_it_once(tmp_path):
    bed = beds.make("plain", tmp_path)
    try:
        bed.up()
        wish = Wish(RUNS, SPAN_S, nodes=bed.nodes, habits=HABITS)
        storm = Storm(bed, Weather(seed=7, kinds=(), wish=wish, strikes=0))
        report = storm.run()
        counted = tally(storm.story, storm.strain, bed.states(storm.story.ends))
    finally:
        print(bed.logs())  # noqa: T201  shown when a test fails
        bed.close()
    assert report.found == []
    assert set(report.states) == {"SUCCESS", "FAILURE"}
    assert counted.accepted >= RUNS
    assert counted.chords > 0
    assert (counted.lost, counted.done_again, counted.chord_bodies_missing, counted.deaf) == (0, 0, 0, 0)
