"""The guards the chaos suite switches off: each is where it is said to be, and the product is whole without it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from chaos import beds
from chaos.guards import GUARDS, Swap, swapped, without
from chaos.nemeses import KINDS

ROOT = Path(__file__).parents[2]
SWAPS = [(name, swap) for name, guard in GUARDS.items() for swap in guard.swaps]
WANTED = {"token check", "sweep", "adoption lock", "self-stop", "safe mode", "settle", "slot check"}


def test_every_guard_of_the_issue_can_be_switched_off():
    assert set(GUARDS) == WANTED


@pytest.mark.parametrize(("name", "swap"), SWAPS, ids=[f"{name}: {swap.file}" for name, swap in SWAPS])
def test_a_guard_stands_once_where_it_is_said_to_be(name: str, swap: Swap):
    """Who changed the product says in chaos/guards.py what the guard is now."""
    changed = swapped((ROOT / swap.file).read_text(), swap)
    assert changed != (ROOT / swap.file).read_text()
    if swap.file.endswith(".py"):
        ast.parse(changed)


@pytest.mark.parametrize("name", GUARDS)
def test_a_tree_without_a_guard_is_the_product_but_for_that(name: str, tmp_path: Path):
    tree = without(name, tmp_path / "tree")
    files = {str(file.relative_to(tree)) for part in ("infra_tasks", "workers") for file in (tree / part).rglob("*.*")}
    differ = {file for file in files if (tree / file).read_bytes() != (ROOT / file).read_bytes()}
    assert differ == {swap.file for swap in GUARDS[name].swaps}
    assert (tree / "beat_schedule.py").exists()


def test_words_that_are_not_there_are_told():
    with pytest.raises(ValueError, match=r"a\.py holds 'x' 2 times, not once"):
        swapped("x x", Swap("a.py", "x", "y"))


@pytest.mark.parametrize("name", GUARDS)
def test_the_storm_of_a_guard_can_be_played(name: str):
    guard = GUARDS[name]
    assert guard.bed in beds.BEDS
    assert guard.script.strike.kind in KINDS
    assert guard.found
    assert [one.number for one in guard.script.items] == list(range(len(guard.script.items)))
