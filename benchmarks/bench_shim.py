"""What a shim costs: time and private memory, beside the floors it cannot go below.

python -m benchmarks.bench_shim
"""

from __future__ import annotations

import os
import secrets
import signal
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import bed
from benchmarks.figure import Figure
from infra_tasks.runner.attempt import Attempt
from infra_tasks.runner.launch import Shim, Zygote

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 60
SHIMS_MEASURED = 5
LINES_ROUNDS = 3
SECRET = {"TOKEN": "ghp_0123456789abcdefghijklmnopqrstuvwxyz"}
LINES = """
import os
line = "2026-01-01T00:00:00 asking for page %d with ghp_0123456789abcdefghijklmnopqrstuvwxyz: 200\\n"
block = "".join(line % number for number in range(1000)).encode()
for _ in range(1000):
    os.write(1, block)
"""
TRUE = "/bin/true" if Path("/bin/true").exists() else "/usr/bin/true"


def figures(*, quick: bool) -> list[Figure]:
    """Return what the table of all figures shows."""
    seen = measure(20 if quick else ROUNDS)
    life, spawn, python = seen["shim_life_ms"], seen["spawn_true_ms"], seen["bare_python_ms"]
    masked, plain = seen["million_masked_lines_ms"], seen["million_lines_ms"]
    private, bare = seen["shim_private_bytes"] / 1e6, seen["bare_python_private_bytes"] / 1e6
    return [
        Figure("shim around true / posix_spawn of true", life, "ms", spawn, "<= +12 ms", life - spawn <= 12),
        Figure("  the same / bare python -I -S", life, "ms", python),
        Figure("1M lines with a secret in each / none looked for", masked, "ms", plain, "<= 2x", masked <= 2 * plain),
        Figure("private memory of a shim / bare python", private, "MB", bare, "<= 3 MB", private <= 3),
    ]


def measure(rounds: int = ROUNDS) -> dict[str, float]:
    """Return the figures: p50 in ms, memory in bytes, throughput in runs per second."""
    with bed.folder() as folder:
        zygote = Zygote()
        try:
            _whole_life(zygote, folder)
            lives, floors = [], []
            for _ in range(rounds):
                floors.append(_timed(_spawn_true))
                lives.append(_timed(lambda: _whole_life(zygote, folder)))
            figures = {
                "spawn_true_ms": statistics.median(floors),
                "bare_python_ms": statistics.median(_timed(_bare_python) for _ in range(max(5, rounds // 4))),
                "shim_life_ms": statistics.median(lives),
                "shim_life_p90_ms": sorted(lives)[int(len(lives) * 0.9)],
                "shims_per_s_2_at_once": _throughput(zygote, folder, rounds * 2),
                "million_lines_ms": min(_timed(lambda: _lines(zygote, folder, None)) for _ in range(LINES_ROUNDS)),
                "million_masked_lines_ms": min(
                    _timed(lambda: _lines(zygote, folder, SECRET)) for _ in range(LINES_ROUNDS)
                ),
                "bare_python_private_bytes": _bare_python_private_bytes(),
                "shim_private_bytes": _private_bytes(zygote, folder),
                "zygote_private_bytes": private_bytes(zygote.pid),
            }
        finally:
            zygote.close()
    figures["shim_beyond_spawn_ms"] = figures["shim_life_ms"] - figures["spawn_true_ms"]
    return figures


def private_bytes(pid: int) -> float:
    """Return what a process shares with nobody (Linux; not a number elsewhere)."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return float("nan")
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def _timed(call: Callable[[], None]) -> float:
    begin = time.perf_counter()
    call()
    return (time.perf_counter() - begin) * 1000


def _spawn_true() -> None:
    os.waitpid(os.posix_spawn(TRUE, ["true"], {}), 0)


def _bare_python() -> None:
    os.waitpid(os.posix_spawn(sys.executable, [sys.executable, "-I", "-S", "-c", "pass"], {}), 0)


def _bare_python_private_bytes() -> float:
    said, ready = os.pipe()
    argv = [sys.executable, "-I", "-S", "-c", "import os, time; os.write(1, b'x'); time.sleep(60)"]
    pid = os.posix_spawn(sys.executable, argv, {}, file_actions=[(os.POSIX_SPAWN_DUP2, ready, 1)])
    try:
        os.read(said, 1)
        return private_bytes(pid)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(said)
        os.close(ready)


def _whole_life(zygote: Zygote, folder: Path) -> None:
    """From the launch until the exit record is on the disk and the shim has ended."""
    attempt, shim = _launch(zygote, folder, [TRUE])
    with shim:
        assert shim.wait(30)
    assert (attempt.exit_record() or {}).get("exit_code") == 0


def _lines(zygote: Zygote, folder: Path, given: dict[str, str] | None) -> None:
    """A command that writes a million lines, a secret in each of them."""
    attempt, shim = _launch(zygote, folder, [sys.executable, "-I", "-S", "-c", LINES], given)
    with shim:
        assert shim.wait(120)
    assert (attempt.exit_record() or {}).get("exit_code") == 0


def _launch(
    zygote: Zygote, folder: Path, command: list[str], given: dict[str, str] | None = None
) -> tuple[Attempt, Shim]:
    attempt = Attempt(folder / secrets.token_hex(8) / "1")
    lock = attempt.take_lock()
    assert lock is not None
    attempt.write_record(
        {
            "run": "bench",
            "attempt": 1,
            "claim": "bench",
            "command": command,
            "env": {"PATH": os.defpath},
            "cwd": str(folder),
            "timeout_s": 60,
            "grace_s": 0,
            "stop_at": None,
            "cookie": secrets.token_hex(8),
            "mark": 4_000_000_001,
            "output_cap_bytes": 1_000_000,
        },
    )
    try:
        return attempt, zygote.launch(attempt, lock, secrets=given)
    finally:
        os.close(lock)


def _throughput(zygote: Zygote, folder: Path, runs: int) -> float:
    """Two shims at once, as a node with two slots has them."""
    begin = time.perf_counter()
    living: list[Shim] = []
    for _ in range(runs):
        if len(living) == 2:
            _ended(living.pop(0))
        living.append(_launch(zygote, folder, [TRUE])[1])
    for shim in living:
        _ended(shim)
    return runs / (time.perf_counter() - begin)


def _ended(shim: Shim) -> None:
    with shim:
        assert shim.wait(30)


def _private_bytes(zygote: Zygote, folder: Path) -> float:
    """Median of a few shims whose command is running."""
    started = [_launch(zygote, folder, ["sleep", "60"]) for _ in range(SHIMS_MEASURED)]
    seen = []
    for attempt, shim in started:
        while not (attempt.started() or {}).get("command_pid"):
            time.sleep(0.01)
        time.sleep(0.3)
        assert shim.pid is not None
        seen.append(private_bytes(shim.pid))
        attempt.order(kill=True)
    for _, shim in started:
        _ended(shim)
    return statistics.median(seen)


def main() -> None:
    """Print the table."""
    seen = measure()
    rows = [
        ("posix_spawn of true (floor)", f"{seen['spawn_true_ms']:.1f} ms", ""),
        ("python -I -S -c pass (floor)", f"{seen['bare_python_ms']:.1f} ms", ""),
        ("a shim's whole life, p50", f"{seen['shim_life_ms']:.1f} ms", ""),
        ("a shim's whole life, p90", f"{seen['shim_life_p90_ms']:.1f} ms", ""),
        ("  beyond posix_spawn, p50", f"{seen['shim_beyond_spawn_ms']:.1f} ms", "<= 12 ms"),
        ("1M lines, no secrets", f"{seen['million_lines_ms']:.0f} ms", ""),
        ("1M lines, a secret in each", f"{seen['million_masked_lines_ms']:.0f} ms", "<= 2x"),
        ("private memory of a shim", f"{seen['shim_private_bytes'] / 1e6:.1f} MB", "<= 3 MB"),
        ("private memory of the zygote", f"{seen['zygote_private_bytes'] / 1e6:.1f} MB", ""),
        ("shims per second, 2 at once", f"{seen['shims_per_s_2_at_once']:.0f}", ""),
    ]
    for what, figure, wanted in rows:
        print(f"{what:32} {figure:>10}  {wanted}")


if __name__ == "__main__":
    main()
