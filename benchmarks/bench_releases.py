"""Snapshot, build and check of releases on one disk, beside rsync on the same disk and a stat walk.

10,000 files in 500 folders, 80 MB, a git tree and the same without git. Nothing is deleted in between (see `folder`).
"""

from __future__ import annotations

import os
import random
import subprocess
from typing import TYPE_CHECKING

from benchmarks.bed import apart, folder, pause
from benchmarks.figure import Figure
from benchmarks.rounds import in_turns, median, timed
from infra_tasks import releases
from infra_tasks.settings import Home

if TYPE_CHECKING:
    from pathlib import Path

FOLDERS, FILES_EACH, FILE_BYTES = 500, 20, 8_000
CHANGED = (1, 10, 100)
# What is wanted over ssh holds here as well, where rsync has no connection to make.
LINKED_AT_MOST = 1 / 1.8
VERIFY_AT_MOST = 1.5
# What was edited less than a tick of the disk ago is looked at twice.
EDIT_REST_S = 0.25


def figures(*, quick: bool) -> list[Figure]:
    """Measure with git and without."""
    rounds = 3 if quick else 7
    with folder() as place:
        bed = apart(place)
        return [row for by_git in (True, False) for row in _Bed(bed, by_git=by_git).figures(rounds)]


class _Bed:
    """One source, its node's folder, and what rsync makes of it."""

    def __init__(self, place: Path, *, by_git: bool) -> None:
        self._name = "git" if by_git else "no git"
        self._place = place / self._name.replace(" ", "-")
        self._code = self._place / "code"
        self._home = Home(self._place / "home")
        self._source = releases.Source(self._code)
        self._copies = 0
        self._write()
        if by_git:
            for words in (("init", "-q"), ("add", "-A")):
                subprocess.run(["git", "-C", str(self._code), *words], check=True, capture_output=True)

    def _write(self) -> None:
        for number in range(FOLDERS):
            inner = self._code / f"part{number // 25:02}" / f"folder{number:03}"
            inner.mkdir(parents=True)
            for each in range(FILES_EACH):
                (inner / f"file{each:02}.py").write_bytes(random.randbytes(FILE_BYTES))

    def figures(self, rounds: int) -> list[Figure]:
        pause(EDIT_REST_S)
        self._rsync("-a")
        releases.snapshot(self._home, "p", self._source)
        first = Figure(
            f"first copy ({self._name})", self._dispatch() * 1000, "ms", timed(lambda: self._rsync("-a")) * 1000
        )
        ours, floor = in_turns(rounds, self._look, lambda: timed(lambda: self._rsync("-a", again=True)))
        same = Figure(f"snapshot, nothing changed ({self._name})", median(ours) * 1000, "ms", median(floor) * 1000)
        return [first, same, *(self._changed(number, rounds) for number in CHANGED), self._verified(rounds)]

    def _changed(self, number: int, rounds: int) -> Figure:
        def ours() -> float:
            self._edit(number)
            return self._dispatch()

        def floor() -> float:
            self._edit(number)
            return timed(lambda: self._rsync("-a", f"--link-dest={self._copy()}"))

        mine, theirs = (median(each) * 1000 for each in in_turns(rounds, ours, floor))
        what = f"snapshot + new release, {number} of 10,000 changed ({self._name})"
        return Figure(what, mine, "ms", theirs, "<= 0.56x", mine <= LINKED_AT_MOST * theirs)

    def _verified(self, rounds: int) -> Figure:
        digest = releases.snapshot(self._home, "p", self._source).digest
        release = releases.ensure_release(self._home, "p", digest, source=self._source)
        mine, floor = (
            median(each) * 1000
            for each in in_turns(
                rounds, lambda: timed(lambda: releases.verify(release)), lambda: timed(lambda: _walk(str(release.path)))
            )
        )
        what = f"check before a start, beside a stat walk ({self._name})"
        return Figure(what, mine, "ms", floor, "<= 1.5x", mine <= VERIFY_AT_MOST * floor)

    def _edit(self, number: int) -> None:
        for place in random.sample(sorted(self._code.glob("part*/*/*")), number):
            place.write_bytes(random.randbytes(FILE_BYTES))
        pause(EDIT_REST_S)

    def _look(self) -> float:
        return timed(lambda: releases.snapshot(self._home, "p", self._source))

    def _dispatch(self) -> float:
        def both() -> None:
            digest = releases.snapshot(self._home, "p", self._source).digest
            releases.ensure_release(self._home, "p", digest, source=self._source)

        return timed(both)

    def _copy(self) -> Path:
        return self._place / f"copy{self._copies}"

    def _rsync(self, *words: str, again: bool = False) -> None:
        self._copies += not again
        subprocess.run(["rsync", *words, f"{self._code}/", f"{self._copy()}/"], check=True)


def _walk(folder_: str) -> None:
    with os.scandir(folder_) as found:
        for item in found:
            item.stat(follow_symlinks=False)
            if item.is_dir(follow_symlinks=False):
                _walk(item.path)
