"""An `rsync` before the real one on PATH: it notes every command line, and does first, or slows, what a test wants."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from pathlib import Path

REAL = shutil.which("rsync") or "/usr/bin/rsync"
END = "\x1e"  # after each command line; arguments end with \x1f


class RsyncOnPath:
    """Put `folder` before the rest of PATH to use it. What it writes down is in `lines`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "lines"
        self.does()

    @property
    def path(self) -> str:
        return f"{self.folder}{os.pathsep}{os.environ['PATH']}"

    def does(self, first: str = "", *, real: str = shlex.quote(REAL), once: bool = False) -> RsyncOnPath:
        """Have `first` (sh) done before each rsync, or only before the next; `real` is what is run then."""
        if once:
            first = f"if mkdir {shlex.quote(str(self.folder / 'once'))} 2>/dev/null; then {first}\nfi"
            with suppress(FileNotFoundError):
                (self.folder / "once").rmdir()
        note = f"{{ printf '%s\\037' \"$@\"; printf '\\036'; }} >>{shlex.quote(str(self._log))}"
        beside = self.folder / ".rsync"
        beside.write_text(f'#!/bin/sh\n{note}\n{first}\nexec {real} "$@"\n')
        beside.chmod(beside.stat().st_mode | stat.S_IXUSR)
        beside.rename(self.folder / "rsync")
        return self

    def slow(self, kib_per_s: int) -> RsyncOnPath:
        """Have each rsync send no faster than this, so that there is a half way."""
        return self.does(real=f"{shlex.quote(REAL)} --bwlimit={kib_per_s}")

    def lines(self) -> list[list[str]]:
        """Return the arguments of every rsync until now."""
        text = self._log.read_text(errors="surrogateescape") if self._log.exists() else ""
        return [line.split("\x1f")[:-1] for line in text.split(END) if line]

    def running(self, pid: int | None = None) -> list[psutil.Process]:
        """Return the rsyncs that a process (this one) has started and that live, without their ssh."""
        found = []
        with suppress(psutil.Error):
            for one in psutil.Process(pid or os.getpid()).children(recursive=True):
                with suppress(psutil.Error):
                    if one.name() == "rsync" and one.status() != psutil.STATUS_ZOMBIE:
                        found.append(one)
        return found

    def kill(self, pid: int | None = None) -> int:
        """kill -9 of those; return how many there were."""
        found = self.running(pid)
        for one in found:
            with suppress(psutil.Error):
                one.send_signal(signal.SIGKILL)
        return len(found)
