"""What the commands of a kill test did, read from the files they wrote themselves, and a caller that waits for them."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from waiting import eventually

if TYPE_CHECKING:
    from whole_node import WholeNode

HERE = Path(__file__).parent


class Stamp(NamedTuple):
    """`what`: start, end, or child (one that left its session); `at`: monotonic seconds of this machine."""

    what: str
    run: str
    attempt: int
    at: float
    pid: int


class Effects:
    """One file that commands add stamps to."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def command(self, *seconds: float, code: int = 0, habits: tuple[str, ...] = ()) -> list[str]:
        """Return a command that leaves its stamps here; `seconds` are those of its attempts, the last for all later.

        `habits`: child (leaves one behind in a session of its own), deaf (to SIGTERM), until:FILE (runs on until then).
        """
        spans = ",".join(map(str, seconds or (0,)))
        program = [sys.executable, "-I", "-S", str(HERE / "leave_stamps.py")]
        return [*program, str(self.file), spans, str(code), *habits]

    def stamps(self, what: str, run: str | None = None) -> list[Stamp]:
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        found = [Stamp(w, r, int(n), float(at), int(pid)) for w, r, n, at, pid in map(str.split, lines)]
        return [one for one in found if one.what == what and run in (None, one.run)]

    def most_at_once(self) -> int:
        """Return how many commands ran at the same time, of those that came to their end."""
        ended = {(one.run, one.attempt): one.at for one in self.stamps("end")}
        started = {(one.run, one.attempt): one.at for one in self.stamps("start")}
        turns = [(at, -1) for at in ended.values()] + [(started[attempt], 1) for attempt in ended]
        return max(accumulate(step for _, step in sorted(turns)), default=0)


class Caller:
    """A process that submits specs and waits for their results all the time."""

    def __init__(self, node: WholeNode, folder: Path) -> None:
        self._count = 0
        self._said = folder / "caller.out"
        self._complained = folder / "caller.err"
        with self._said.open("w") as out, self._complained.open("w") as err:
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / "call_and_wait.py")],
                env=node.env,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                text=True,
            )
        eventually(self._lines, 60, "the caller is ready")

    def submit(self, *specs: dict[str, Any]) -> Caller:
        """Have it submit these, once; returns at once."""
        self._count = len(specs)
        assert self._process.stdin
        self._process.stdin.write(json.dumps(list(specs)))
        self._process.stdin.close()
        return self

    def accepted(self) -> list[str]:
        """Return the ids of the runs that were accepted up to now."""
        return self._lines()[1 : 1 + self._count]

    def results(self, within_s: float = 330) -> list[dict[str, Any]]:
        """Return the results in order, once all are there."""
        eventually(lambda: self._process.poll() is not None, within_s, "the caller has all its results")
        assert self._process.returncode == 0, self._complained.read_text()
        return [json.loads(line) for line in self._lines()[1 + self._count :]]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _lines(self) -> list[str]:
        text = self._said.read_text()
        return text[: text.rfind("\n") + 1].splitlines()
