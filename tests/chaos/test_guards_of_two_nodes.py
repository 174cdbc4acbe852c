"""The same for guards that only matter where another node can take what one had."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from guard_storms import NAMES, assert_missed, over, without
from network import need_networks

from chaos import beds
from chaos.storm import AT_MOST_S

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(AT_MOST_S)]


@pytest.fixture(autouse=True)
def _whole():
    """No node but those of the bed, and only where a machine can make networks."""
    need_networks()


@pytest.mark.parametrize("guard", NAMES["two"])
def test_the_suite_misses(guard: str, tmp_path: Path):
    assert_missed(guard, without(guard, tmp_path))


@pytest.mark.parametrize("guard", NAMES["two"])
def test_nothing_is_found_with_the(guard: str, tmp_path: Path):
    bed = beds.make("two", tmp_path)
    try:
        bed.up()
        assert over(bed, guard, tmp_path / "storm").found == []
    finally:
        print(bed.logs())  # noqa: T201  shown when a test fails
        bed.close()
