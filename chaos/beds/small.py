"""One whole node on small disks that can be filled: one for its runs, one for its Redis, one for the rest."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

from chaos.beds import ours
from chaos.beds.one import NAME, OneNode
from chaos.nemeses.room import why_not

if TYPE_CHECKING:
    from pathlib import Path

SIZE = "512m"
FOLDERS = (".", "runs", "redis")


class SmallDisks(OneNode):
    """A bed (see `chaos.beds.bed`); only root on Linux can make it."""

    why_not = staticmethod(why_not)

    def __init__(self, folder: Path, **more: Any) -> None:
        self._disks = [folder / NAME / name for name in FOLDERS]
        try:
            for disk in self._disks:
                disk.mkdir(mode=0o700, parents=True, exist_ok=True)
                words = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "tmpfs", str(disk)]
                subprocess.run(words, check=True)
        except (OSError, subprocess.CalledProcessError):
            self._unmount()
            raise
        super().__init__(folder, **more)

    def close(self) -> None:
        super().close()
        self._unmount()

    def _unmount(self) -> None:
        ours.unmount(*reversed(self._disks))
