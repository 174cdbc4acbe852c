"""A wall clock that can be turned under processes while they run: theirs only, and no other clock of theirs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parent / "turned_clock.c"


def why_not() -> str:
    """Return why no clock can be turned here, "" when it can."""
    if sys.platform != "linux":
        return "clocks are turned by a library that is preloaded, on Linux"
    return "" if shutil.which("cc") else "there is no C compiler: make setup-dev brings it (Debian: apt install gcc)"


class TurnedClock:
    """One clock. `env`: what a process must be started with to go by it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._off, library = folder / "turned", folder / "turned_clock.so"
        argv = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        self.turn(0)
        self.env = {"LD_PRELOAD": str(library), "TURNED_CLOCK": str(self._off)}

    def turn(self, by_s: int) -> None:
        """Have it show so many seconds more than the true one (less: negative), from now on."""
        if not self._off.exists():
            self._off.write_bytes(bytes(8))
        with self._off.open("r+b") as file:
            file.write(by_s.to_bytes(8, sys.byteorder, signed=True))
