"""The disk of the runs became read-only under an attempt: whether it lives is seen all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from infra_tasks.runner.attempt import Attempt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root can make a folder read-only for everybody"
)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Path]:
    """A folder that becomes read-only once it is mounted over itself."""
    folder = tmp_path / "runs"
    folder.mkdir()
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)


def make_read_only(folder: Path) -> None:
    for words in (["--bind", str(folder), str(folder)], ["-o", "remount,ro,bind", str(folder)]):
        mounted = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            pytest.skip(f"nothing can be mounted here: {mounted.stderr}")
    with pytest.raises(OSError, match="Read-only"):
        (folder / "new").touch()


def test_an_attempt_is_seen_to_live_and_to_be_free_on_a_read_only_disk(runs: Path):
    held, free = Attempt(runs / "held" / "1"), Attempt(runs / "free" / "1")
    lock, other = held.take_lock(), free.take_lock()
    assert lock is not None
    assert other is not None
    os.close(other)
    make_read_only(runs)
    assert held.is_locked()
    assert not free.is_locked()
    os.close(lock)
    assert not held.is_locked()
