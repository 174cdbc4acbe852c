"""Whose turn it is when a node was refused: none that came later is faster, and no place is kept in vain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger_kit import Kit


@pytest.fixture
def kit(kit: Kit) -> Iterator[Kit]:
    yield kit
    kit.check()


@pytest.fixture
def node(kit: Kit) -> Iterator[str]:
    """A node of this test's own, with another beside it: lists of the broker have no prefix."""
    name = kit.prefix[:-1]
    yield name
    kit.redis.delete(f"node.{name}", f"node.{name}-other")


def named(kit: Kit, node: str, most: int) -> str:
    return kit.submit(node=node, name="n", max_running=most)


def has_hint(kit: Kit, run: str) -> bool:
    return kit.redis.zscore(kit.key("waiting", kit.field(run, "queue")), run) is not None


def test_who_is_refused_is_not_overtaken_by_who_stands_behind_it(kit: Kit, node: str) -> None:
    alone, faster, later = named(kit, node, 1), named(kit, node, 2), named(kit, node, 2)
    kit.claimed(faster, node=node)
    assert kit.claim(alone, node=node)["why"] == "running"
    assert not has_hint(kit, later), "it came behind the one that was refused"
    kit.finish((faster, 1, "c1"))
    assert (has_hint(kit, alone), has_hint(kit, later)) == (True, False)


def test_no_place_is_kept_for_a_node_that_is_full(kit: Kit, node: str) -> None:
    for _ in range(2):
        kit.claimed(kit.submit(node=node), node=node)
    first, *others = (named(kit, where, 1) for where in (node, f"{node}-other", f"{node}-other"))
    kit.claimed(others[0], node=f"{node}-other")
    assert kit.claim(first, node=node)["why"] == "running"
    kit.finish((others[0], 1, "c1"))
    kit.claimed(others[1], node=f"{node}-other")


def test_a_place_that_is_kept_is_given_away_when_its_node_is_full_meanwhile(kit: Kit, node: str) -> None:
    first, *others = (named(kit, where, 1) for where in (node, f"{node}-other", f"{node}-other"))
    kit.claimed(others[0], node=f"{node}-other")
    assert kit.claim(first, node=node)["why"] == "running"
    for _ in range(2):
        kit.claimed(kit.submit(node=node), node=node)
    kit.finish((others[0], 1, "c1"))
    assert kit.claim(first, node=node)["why"] == "full"
    kit.claimed(others[1], node=f"{node}-other")
