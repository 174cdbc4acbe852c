"""The forms of the chaos suite: what the tests play, and what `make chaos` plays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from chaos import beds, forms
from chaos.nemeses import KINDS, kinds, room
from chaos.plan import Wish
from chaos.storm import Storm, Weather

CHAOS_TESTS = Path(__file__).parents[1] / "chaos"


def test_every_storm_of_the_short_form_is_a_test():
    said = "".join(file.read_text() for file in CHAOS_TESTS.glob("test_storm_over_*.py"))
    assert [form.bed for form in forms.SHORT] == sorted({form.bed for form in forms.SHORT}), "one storm a bed"
    for form in forms.SHORT:
        assert f'assert_nothing_breaks("{form.bed}"' in said


@pytest.mark.parametrize("form", [*forms.SHORT, *forms.LONG], ids=str)
def test_a_storm_has_a_bed_and_something_to_strike_it_with(form: forms.Form):
    assert form.bed in beds.BEDS
    assert form.strikes
    assert set(form.without) <= set(KINDS)
    assert {one.name for one in kinds(form.bed, set(form.nemeses))} - set(form.without)


def test_the_long_form_strikes_with_every_nemesis_alone_and_with_all_at_once():
    alone = {number for form in forms.LONG for number in form.nemeses if len(form.nemeses) == 1}
    assert alone == set(forms.NEMESES)
    assert all(form.runs >= 2000 for form in forms.LONG)
    assert {form.bed for form in forms.LONG if not form.nemeses} >= {"one", "three"}


def test_a_bed_on_small_disks_is_left_out_where_it_cannot_be_made():
    assert beds.why_not("one-small") == room.why_not()


@pytest.mark.parametrize("asked", [("--nemesis", "5"), ("--bed", "two")], ids=str)
def test_what_cannot_strike_a_bed_is_refused_before_anything_starts(asked: tuple[str, ...]):
    done = subprocess.run(
        [sys.executable, "-m", "chaos", *asked], cwd=CHAOS_TESTS.parents[1], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "can strike bed" in done.stderr


@pytest.mark.parametrize(
    ("nodes", "beside", "left_out"),
    [
        (("n1", "n2"), "cut-long", {"redis-rollback"}),
        (("n1", "n2"), "freeze-long", {"redis-rollback"}),
        (("n1", "n2"), "redis-kill", set()),
        (("n1",), "freeze-long", set()),
    ],
)
def test_a_ledger_forgets_only_what_its_nodes_can_tell_it_again(
    tmp_path: Path, nodes: tuple[str, ...], beside: str, left_out: set[str]
):
    told: list[str] = []
    bed = SimpleNamespace(folder=tmp_path, nodes=nodes, parts=(), sources={})
    asked = {"redis-rollback", beside}
    storm = forms.storm(forms.Form("three", (), 50), bed, 1, tell=told.append, names=asked)
    assert asked - {one.name for one in storm.weather.kinds} == left_out
    assert not left_out or beside in told[0]


def test_strikes_that_find_nobody_are_missed(tmp_path: Path):
    bed = beds.make("one", tmp_path)
    chosen = tuple(kinds("one", names={"kill", "freeze", "freeze-and-kill"}))
    try:
        storm = Storm(bed, Weather(1, chosen, Wish(1, 0.1, nodes=bed.nodes), 3))
        storm._strike()
        assert storm.missed == storm.strikes
    finally:
        bed.close()
