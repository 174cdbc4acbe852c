"""A copy of the package that is another version: for tests in which one version follows another."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parent.parent
PARTS = ("infra_tasks", "workers", "launchd", "systemd")


def copy_package(folder: Path, version: str) -> Path:
    """Copy what a wheel installs into `folder`, calling itself `version`; return the folder."""
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "beat_schedule.py", folder)
    door = folder / "infra_tasks" / "__init__.py"
    text, found = re.subn(r'^__version__ = ".*"$', f'__version__ = "{version}"', door.read_text(), flags=re.MULTILINE)
    assert found == 1, "the package says its version in one line"
    door.write_text(text)
    return folder


def remove_package(folder: Path) -> None:
    """Take the files away, as an installer does before it puts those of another version in their place."""
    for part in (*PARTS, "beat_schedule.py", "__pycache__"):
        place = folder / part
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
