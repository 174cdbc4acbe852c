"""Code to another node over ssh, beside what rsync alone takes for it: 10,000 files, 500 folders, 80 MB.

Ours includes the snapshot, all hashes and the verification; lines and ssh connections are warm on both sides unless
it says cold. Some of it alone: python -m benchmarks.bench_sync [first|unchanged|changed|verify|many]...
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.figure import Figure, table
from benchmarks.rounds import in_turns, median, timed
from benchmarks.sync_bed import PROJECT, SyncBed, settle, sync_bed
from infra_tasks import releases
from infra_tasks.releases.layout import Release, Shelf
from infra_tasks.releases.remote.lines import Lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

AT_ONCE = 8


def figures(*, quick: bool, names: Sequence[str] = ()) -> list[Figure]:
    """Measure on one tree and one sshd, ours and floors in turns; of PARTS what is named."""
    with sync_bed() as bed:
        bed.new_nodes()
        return [one for name, part in PARTS.items() if name in (names or PARTS) for one in part(bed, quick=quick)]


def _first_copy(bed: SyncBed, *, quick: bool) -> list[Figure]:
    rounds = 2 if quick else 5
    bed.rsync("floor", cold=True)
    bed.rsync("floor")
    targets = (f"first{number}" for number in range(rounds))

    def ours() -> float:
        [node] = bed.new_nodes()
        me = bed.me
        settle()
        return timed(lambda: bed.deploy(me, node, "brought"))

    def floor() -> float:
        target = next(targets)
        settle()
        return timed(lambda: bed.rsync(target))

    bed.deploy(bed.me, "far0")
    here, there = (median(found) for found in in_turns(rounds, ours, floor))
    return [Figure("first copy, verified / rsync -a", here, "s", there, "<= 1.2x", here <= 1.2 * there)]


def _unchanged(bed: SyncBed, *, quick: bool) -> list[Figure]:
    rounds = 3 if quick else 9
    me = bed.me
    bed.deploy(me, "far0")
    bed.rsync("floor")

    def ours() -> float:
        return timed(lambda: bed.deploy(me, "far0", "held")) * 1e3

    def cold() -> float:
        kept, bed.lines = bed.lines, Lines(me.home)
        try:
            return ours()
        finally:
            bed.lines.close()
            bed.lines = kept

    warm, mux = in_turns(rounds, ours, lambda: timed(lambda: bed.rsync("floor")) * 1e3)
    new, alone = in_turns(rounds, cold, lambda: timed(lambda: bed.rsync("floor", cold=True)) * 1e3)
    here, cold_floor, mux_floor = median(warm), median(alone), median(mux)
    return [
        Figure("unchanged project / rsync -a cold", here, "ms", cold_floor, ">= 5x faster", 5 * here <= cold_floor),
        Figure("  the same / rsync -a multiplexed", here, "ms", mux_floor, ">= 2x faster", 2 * here <= mux_floor),
        Figure("  the same over a new line / rsync -a cold", median(new), "ms", cold_floor),
    ]


def _changed(bed: SyncBed, *, quick: bool) -> list[Figure]:
    rounds = 3 if quick else 9
    return [one for files in (1, 10, 100) for one in _changed_files(bed, files, rounds)]


def _changed_files(bed: SyncBed, files: int, rounds: int) -> list[Figure]:
    me = bed.me
    bed.deploy(me, "far0")
    last = f"base{files}"
    bed.rsync(last)
    bed.rsync("floor")
    ours, linked, in_place = [], [], []
    for number in range(rounds):
        bed.edit(files)
        target = f"linked{files}-{number}"
        ways: list[tuple[list[float], Callable[[], object]]] = [
            (ours, lambda: bed.deploy(me, "far0", "brought")),
            (linked, partial(bed.rsync, target, f"--link-dest=../{last}")),
            (in_place, partial(bed.rsync, "floor")),
        ]
        for seen, way in [*ways[number % 3 :], *ways[: number % 3]]:
            settle()
            seen.append(timed(way) * 1e3)
        last = target
    here, floor = median(ours), median(linked)
    what = "1 file" if files == 1 else f"{files} files"
    return [
        Figure(f"{what} changed / rsync -a --link-dest", here, "ms", floor, ">= 1.8x faster", 1.8 * here <= floor),
        Figure("  the same / rsync -a in place", here, "ms", median(in_place)),
    ]


def _verified(bed: SyncBed, *, quick: bool) -> list[Figure]:
    rounds = 9 if quick else 27
    digest = bed.deploy(bed.me, "far0").digest
    release = Release(Shelf(bed.far("far0"), PROJECT), digest)

    def ours() -> float:
        return timed(lambda: releases.verify(release)) * 1e3

    here, there = (median(found) for found in in_turns(rounds, ours, lambda: timed(lambda: _walk(release.path)) * 1e3))
    return [Figure("verify before a start / stat walk", here, "ms", there, "<= 1.5x", here <= 1.5 * there)]


def _walk(folder: Path) -> int:
    return sum(1 for _ in _stats(os.fspath(folder)))


def _stats(folder: str) -> Iterator[os.stat_result]:
    with os.scandir(folder) as found:
        for item in found:
            yield item.stat(follow_symlinks=False)
            if item.is_dir(follow_symlinks=False):
                yield from _stats(item.path)


def _many_nodes(bed: SyncBed, *, quick: bool) -> list[Figure]:
    rounds = 1 if quick else 3
    bed.rsync("floor")
    turns = iter(range(rounds))

    def ours() -> float:
        nodes = bed.new_nodes(AT_ONCE)
        me = bed.me
        settle()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return timed(lambda: list(pool.map(lambda node: bed.deploy(me, node, "brought"), nodes)))

    def floor() -> float:
        turn = next(turns)
        settle()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return timed(lambda: list(pool.map(lambda number: bed.rsync(f"many{turn}-{number}"), range(AT_ONCE))))

    here, there = (median(found) for found in in_turns(rounds, ours, floor))
    return [Figure("to 8 roots at once / 8 rsyncs in parallel", here, "s", there, "<= 1.1x", here <= 1.1 * there)]


PARTS = {
    "first": _first_copy,
    "unchanged": _unchanged,
    "changed": _changed,
    "verify": _verified,
    "many": _many_nodes,
}


if __name__ == "__main__":
    print(table(figures(quick=True, names=sys.argv[1:])))
