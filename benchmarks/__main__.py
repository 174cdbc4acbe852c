"""Measures every figure beside its floor and prints one table: `python -m benchmarks [--quick] [--json] [NAME...]`.

Each benchmark runs in a process of its own. Exit code 0 = all as wanted, 1 = one is missed or broke.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figure import Figure, table

NAMES = (
    "delay",
    "start",
    "cli",
    "throughput",
    "shim",
    "recovery",
    "memory",
    "sweep",
    "ledger",
    "fleet",
    "history",
    "sync",
    "releases",
)
LONGEST_S = 900


def main() -> int:
    """Run what was asked for."""
    said = _arguments()
    if said.child:
        print(json.dumps([one.as_dict() for one in _module(said.child).figures(quick=said.quick)]))
        return 0
    with tempfile.TemporaryDirectory(prefix=".infra-bench-", dir=Path.home(), ignore_cleanup_errors=True) as folder:
        os.environ["BENCH_FOLDER"] = folder
        figures = [one for name in said.names or NAMES for one in _measured(name, quick=said.quick)]
    if said.json:
        print(json.dumps([one.as_dict() for one in figures], indent=2))
    else:
        print(f"{table(figures)}\n\n{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} CPUs")
    return 1 if any(one.ok is False for one in figures) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *NAMES], metavar="NAME", help=f"which: {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: a first look")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--child", choices=NAMES, help=argparse.SUPPRESS)
    return parser.parse_args()


def _module(name: str) -> object:
    return importlib.import_module(f"benchmarks.bench_{name}")


def _measured(name: str, *, quick: bool) -> list[Figure]:
    """Run one benchmark in its own process; one that breaks is a figure that is missed."""
    print(f"... {name}", file=sys.stderr, flush=True)
    load = os.getloadavg()[0]
    argv = [sys.executable, "-m", "benchmarks", "--child", name, *(["--quick"] if quick else [])]
    root = Path(__file__).resolve().parent.parent
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "tests")])}
    try:
        done = subprocess.run(argv, cwd=root, env=env, stdout=subprocess.PIPE, text=True, timeout=LONGEST_S, check=True)
        rows = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        return [Figure(f"{name}: {error}"[:60], float("nan"), "", wanted="to be measured", ok=False)]
    load = max(load, os.getloadavg()[0])
    return [Figure(**{key: value for key, value in row.items() if key != "ratio"} | {"load": load}) for row in rows]


if __name__ == "__main__":
    sys.exit(main())
