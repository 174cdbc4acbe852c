"""The chaos suite can fail: without any one of the product's guards it finds what that guard is for (docs/chaos.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from guard_storms import NAMES, assert_missed, without

from chaos.storm import AT_MOST_S

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(AT_MOST_S)]


@pytest.fixture(autouse=True)
def _whole():
    """No node but that of the bed."""


@pytest.mark.parametrize("guard", NAMES["one"])
def test_the_suite_misses(guard: str, tmp_path: Path):
    assert_missed(guard, without(guard, tmp_path))
