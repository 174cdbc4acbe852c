"""Where the files of one role are: `roles/<role>.{lock,json,beat}` and `logs/<role>.log`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from infra_tasks.settings import Home


@dataclass(frozen=True)
class RoleFiles:
    """The files of one role in one node's folder."""

    home: Home
    name: str

    @property
    def lock(self) -> Path:
        """Held by the living role; says who holds it."""
        return self.home.roles / f"{self.name}.lock"

    @property
    def status(self) -> Path:
        """What the watcher says about the role, for `infra status`."""
        return self.home.roles / f"{self.name}.json"

    @property
    def beat(self) -> Path:
        """Touched by the role while it does its work."""
        return self.home.roles / f"{self.name}.beat"

    @property
    def log(self) -> Path:
        """What the role prints."""
        return self.home.logs / f"{self.name}.log"

    def make_folders(self) -> None:
        """Make what these files lie in, for the owner's eyes only."""
        for folder in (self.home.root, self.home.roles, self.home.logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
