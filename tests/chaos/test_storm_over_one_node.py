"""The short form of the chaos suite, over one node: everything is struck while hundreds of runs are handed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from short_storm import assert_nothing_breaks

from chaos.storm import AT_MOST_S

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(AT_MOST_S)]


@pytest.fixture(autouse=True)
def _whole():
    """No node but what is struck."""


def test_nothing_is_lost_and_nothing_done_twice(tmp_path: Path):
    assert_nothing_breaks("one", tmp_path)
