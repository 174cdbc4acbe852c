"""The storm that misses a guard, over the product without it and over the product as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos import beds, guards

if TYPE_CHECKING:
    from pathlib import Path

    from chaos.beds.bed import Bed
    from chaos.storm import Report

NAMES = {bed: [name for name, guard in guards.GUARDS.items() if guard.bed == bed] for bed in ("one", "two")}


def without(name: str, folder: Path) -> Report:
    """Let the storm go down over a bed that has no such guard."""
    guard = guards.GUARDS[name]
    bed = beds.make(guard.bed, folder, code=guards.without(name, folder / "tree"))
    try:
        bed.up()
        return guards.storm(bed, name, tell=print, rest_s=guards.GIVEN_UP_S).run()
    finally:
        print(bed.logs())  # noqa: T201  shown when a test fails
        bed.close()


def over(bed: Bed, name: str, folder: Path) -> Report:
    """Let the storm go down over a bed that is up and has all guards."""
    return guards.storm(bed, name, tell=print, folder=folder).run()


def assert_missed(name: str, report: Report) -> None:
    wanted = guards.GUARDS[name].found
    assert wanted & set(report.counts()), f"without the {name} the suite found {report.counts()}, not one of {wanted}"
