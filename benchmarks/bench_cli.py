"""How long the command line takes to answer, beside a bare Python that imports click; on a node that is up."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.bed import folder, whole_node
from benchmarks.figure import Figure
from benchmarks.rounds import percentile

# What is wanted of each command line, milliseconds.
WANTED_MS = {("--help",): 150, ("version",): 150, ("run", "--help"): 150, ("status",): 300}
INFRA = str(Path(sys.executable).with_name("infra"))
FLOOR = [sys.executable, "-c", "import click"]


def figures(*, quick: bool) -> list[Figure]:
    """Measure each command line in turns with the floor, on a node that is up."""
    with folder() as home, whole_node(home):
        return [_figure(line, wanted_ms, 7 if quick else 25) for line, wanted_ms in WANTED_MS.items()]


def _figure(line: tuple[str, ...], wanted_ms: int, rounds: int) -> Figure:
    ours, floor = [], []
    for _ in range(rounds):
        ours.append(_taken_ms([INFRA, *line]))
        floor.append(_taken_ms(FLOOR))
    p50 = percentile(ours, 0.5)
    said = f"infra {' '.join(line)}, p50"
    return Figure(said, p50, "ms", percentile(floor, 0.5), f"<= {wanted_ms} ms", p50 <= wanted_ms)


def _taken_ms(argv: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(argv, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=True, env=os.environ)
    return (time.perf_counter() - began) * 1e3
