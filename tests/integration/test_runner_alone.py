"""A shim needs no file of the package and loads no module: both may be another version's, or gone, before it ends."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from attempts import PYTHON, Rig
from package_copy import copy_package, remove_package

from infra_tasks.runner import launch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from infra_tasks.runner.attempt import Attempt

WATCHED_ZYGOTE = """
import os, sys
zygote, parent = {zygote!r}, os.getpid()
def note(event, said):
    if event == "import" and os.getpid() != parent:
        fd = os.open({notes!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(fd, said[0].encode() + b" ")
        os.close(fd)
sys.addaudithook(note)
with open(zygote) as file:
    exec(compile(file.read(), zygote, "exec"), {{"__name__": "__main__", "__file__": zygote}})
"""
HOG = "x = bytearray(200_000_000); import time; time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Where the shims' imports are noted."""
    return tmp_path / "imports"


@pytest.fixture
def rig(tmp_path: Path, notes: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """Attempts whose zygote came from a copy of the package that is gone by now."""
    package = copy_package(tmp_path / "package", "0.0.9")
    wrapped = tmp_path / "zygote.py"
    zygote = str(package / "infra_tasks" / "runner" / "zygote.py")
    wrapped.write_text(WATCHED_ZYGOTE.format(zygote=zygote, notes=str(notes)))
    monkeypatch.setattr(launch, "ZYGOTE", wrapped)
    with Rig(tmp_path) as one:
        one.run(["true"])  # it lives, and has loaded what it needs
        remove_package(package)
        notes.unlink(missing_ok=True)
        yield one


def started(rig: Rig, case: str) -> tuple[Attempt, launch.Shim]:
    """Start the command of a case."""
    cases = {
        "exited": (["/bin/sh", "-c", "echo out; echo err >&2; exit 3"], {}),
        "signaled": (["/bin/sh", "-c", "kill -9 $$"], {}),
        "timeout": ([*PYTHON, DEAF], {"timeout_s": 0.5}),
        "memory": ([*PYTHON, HOG], {"memory_bytes": 100_000_000}),
        "cancelled": (["sleep", "60"], {}),
        "lease": (["sleep", "60"], {"stop_at": 1.0}),
        "start_failed": (["/nowhere/at/all"], {}),
        "much": ([sys.executable, "-c", "print('x' * 99 + '\\n' * 1, end='') or print('y' * 9_000_000)"], {}),
    }
    command, more = cases[case]
    attempt, shim = rig.start(command, **more)
    if case == "cancelled":
        attempt.order(stop="cancel")
    return attempt, shim


@pytest.mark.parametrize(
    "case", ["exited", "signaled", "timeout", "memory", "cancelled", "lease", "start_failed", "much"]
)
def test_it_carries_an_attempt_to_its_end_with_what_it_was_born_with(rig: Rig, notes: Path, case: str):
    end = rig.ended(*started(rig, case))
    assert end["outcome"] == {"much": "exited"}.get(case, case)
    assert not notes.exists(), f"loaded behind the fork: {notes.read_text()}"


def test_secrets_are_masked_without_loading_anything(rig: Rig, notes: Path):
    attempt = rig.attempt(["/bin/sh", "-c", "echo it is $TOKEN"], secrets=["TOKEN"])
    end = rig.ended(attempt, rig.launch(attempt, {"TOKEN": "abcdefgh"}))
    assert end["exit_code"] == 0
    written = b"".join(path.read_bytes() for path in attempt.folder.glob("stdout.*"))
    assert written.startswith(b"it is ")
    assert b"abcdefgh" not in written
    assert not notes.exists(), f"loaded behind the fork: {notes.read_text()}"


def test_the_scripts_of_a_process_are_those_of_its_own_version(tmp_path: Path):
    package = copy_package(tmp_path / "package", "0.0.9")
    program = (
        "import shutil, sys; from infra_tasks.ledger import scripts; shutil.rmtree(sys.argv[1]);"
        " print(len(scripts.source('finish')))"
    )
    lua = package / "infra_tasks" / "ledger" / "lua"
    env = {**os.environ, "PYTHONPATH": str(package)}
    done = os.spawnve(os.P_WAIT, sys.executable, [sys.executable, "-c", program, str(lua)], env)
    assert done == 0
    assert not lua.exists()
