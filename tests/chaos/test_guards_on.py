"""The storms that miss a guard find nothing while it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from guard_storms import NAMES, over

from chaos import beds
from chaos.storm import AT_MOST_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chaos.beds.bed import Bed

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(AT_MOST_S)]


@pytest.fixture(autouse=True)
def _whole():
    """No node but that of the bed."""


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    made = beds.make("one", tmp_path_factory.mktemp("bed"))
    try:
        made.up()
        yield made
    finally:
        print(made.logs())  # noqa: T201  shown when a test fails
        made.close()


@pytest.mark.parametrize("guard", NAMES["one"])
def test_nothing_is_found_with_the(guard: str, bed: Bed, tmp_path: Path):
    assert over(bed, guard, tmp_path).found == []
