"""What a storm is made of: the same seed gives the same plan and the same strikes, and JSON keeps a plan."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from chaos.nemeses import KINDS, kinds
from chaos.plan import CHORD_PARTS, WEIGHTS, Item, Part, Wish, plan
from chaos.strikes import Ground, strikes

WISH = Wish(400, 60.0, ("n1", "n2"), projects=("site",), habits=("", "child"))
GROUND = Ground(("n1", "n2"), ("worker", "agent", "redis", "watcher", "children", "shim"))
SHAPES = {"single", "chain", "chord"}


def test_the_same_seed_gives_the_same_plan_and_another_seed_another_one():
    assert plan(7, WISH) == plan(7, WISH)
    assert plan(7, WISH) != plan(8, WISH)


def test_the_same_seed_gives_the_same_strikes_and_another_seed_others():
    drawn = strikes(7, kinds("one"), GROUND, 60.0, 20)
    assert drawn == strikes(7, kinds("one"), GROUND, 60.0, 20)
    assert drawn != strikes(8, kinds("one"), GROUND, 60.0, 20)


def test_a_plan_comes_back_from_json_as_it_was():
    items = plan(7, WISH)
    assert [Item.of(said) for said in json.loads(json.dumps([one.as_json() for one in items]))] == items


def test_a_plan_holds_what_was_wished_for_in_the_order_of_its_moments():
    items = plan(7, WISH)
    runs = [part for item in items for part in item.parts]
    assert WISH.runs <= len(runs) <= WISH.runs + CHORD_PARTS
    assert [item.number for item in items] == list(range(len(items)))
    moments = [item.at_s for item in items]
    assert moments == sorted(moments)
    assert moments[0] >= 0
    assert moments[-1] <= WISH.span_s
    assert {item.shape for item in items} == SHAPES
    assert {part.node for part in runs} == {"", "n1", "n2"}
    assert {part.project for part in runs} == {"", "site"}
    assert {habit for part in runs for habit in part.habits} == {"", "child"}
    assert {part.retries > 0 for part in runs} == {part.succeeds for part in runs} == {True, False}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_a_plan_of_one_kind_holds_nothing_else(kind: str):
    items = plan(1, Wish(20, 5.0, weights=((kind, 1),)))
    shape = kind if kind in SHAPES else "single"
    assert {item.shape for item in items} == {shape}
    assert {len(item.parts) for item in items} == {{"chord": CHORD_PARTS + 1, "chain": 2, "single": 1}[shape]}
    assert {part.succeeds for item in items for part in item.parts} == {kind != "failing"}


def test_every_kind_of_strike_comes_up_before_one_does_again_and_each_strikes_what_is_there():
    chosen = kinds("one")
    drawn = strikes(3, chosen, GROUND, 60.0, 2 * len(chosen))
    assert Counter(one.kind for one in drawn) == {kind.name: 2 for kind in chosen}
    assert [one.at_s for one in drawn] == sorted(one.at_s for one in drawn)
    for one in drawn:
        kind = KINDS[one.kind]
        assert 0 <= one.at_s <= 60
        assert one.node in GROUND.nodes
        assert one.target in kind.targets or not one.target
        assert one.target not in {"control", "beat"}, "there is none on that ground"
        low, high = kind.lasts_s or (0.0, 0.0)
        assert low <= one.for_s <= high


def test_a_run_succeeds_if_its_last_attempt_does():
    assert Part((0.0,), (3, 0), retries=1).succeeds
    assert not Part((0.0,), (3,)).succeeds


def test_kinds_are_chosen_by_bed_by_nemesis_and_by_name():
    assert {one.number for one in kinds("one", {1})} == {1}
    assert [one.name for one in kinds("one", names={"kill"})] == ["kill"]
    assert all("three" in one.beds for one in kinds("three"))


def test_who_has_nothing_to_strike_with_is_told_so():
    with pytest.raises(ValueError, match="nothing to strike with"):
        strikes(7, (), GROUND, 60.0, 3)
    assert strikes(7, (), GROUND, 60.0, 0) == []
