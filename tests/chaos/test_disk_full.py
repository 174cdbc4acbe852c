"""The disk of the runs is full: what runs ends right, what waits starts once there is room again; nothing is lost."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from waiting import eventually
from whole_node import WholeNode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from effects import Caller, Effects

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can mount a small disk"),
]

DISK = "2m"
BLOCK = b"x" * 4096


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeNode]:
    """A node whose runs/ is a disk of two megabytes."""
    one = WholeNode(tmp_path_factory.mktemp("node"))
    runs = one.home / "runs"
    runs.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(runs)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr}")
    try:
        yield one.up()
    finally:
        print(one.logs())  # noqa: T201  shown when a test fails
        one.close()
        subprocess.run(["umount", "--lazy", str(runs)], check=True)


@pytest.fixture
def ballast(node: WholeNode) -> Iterator[Path]:
    """A file that takes all room on the disk of the runs once `fill` has made it."""
    file = node.home / "runs" / "ballast"
    yield file
    file.unlink(missing_ok=True)


def fill(ballast: Path) -> None:
    """Take every byte that is left, also what others give back meanwhile."""
    with ballast.open("ab", buffering=0) as file:
        while (refused := refusal(ballast.parent / "more")) is None:
            with suppress(OSError):
                while True:
                    file.write(BLOCK)
    assert refused.errno == errno.ENOSPC


def refusal(file: Path) -> OSError | None:
    """Why one more block cannot be written."""
    try:
        file.write_bytes(BLOCK)
    except OSError as error:
        return error
    finally:
        file.unlink(missing_ok=True)
    return None


def test_what_runs_ends_and_what_waits_starts_although_the_disk_was_full_meanwhile(
    node: WholeNode, ballast: Path, effects: Effects, call: Callable[..., Caller]
):
    running = call({"command": effects.command(2)}, {"command": effects.command(2.5, code=3)})
    eventually(lambda: len(effects.stamps("start")) >= 2, 30, "both run")
    fill(ballast)
    waiting = call(*[{"command": effects.command()} for _ in range(3)])
    eventually(lambda: len(effects.stamps("end")) == 2, 30, "both commands have ended")
    eventually(lambda: len(waiting.accepted()) == 3, 30, "more were accepted")
    ended = running.results()  # the room of an exit record is taken before the command starts
    assert [(one["state"], one["exit_code"], one["attempt"]) for one in ended] == [("SUCCESS", 0, 1), ("FAILURE", 3, 1)]
    assert [one["stdout_tail"] for one in ended] == [f"said by {run}\n" for run in running.accepted()]
    assert len(effects.stamps("start")) == 2, "started although the disk is full"
    ballast.unlink()
    assert [one["state"] for one in waiting.results()] == ["SUCCESS"] * 3
    assert sorted(one.run for one in effects.stamps("start")) == sorted([*running.accepted(), *waiting.accepted()])
    eventually(lambda: not list((node.home / "live").iterdir()), 30, "all are struck off")
    assert "a turn of the agent failed" not in (node.home / "logs" / "agent.log").read_text()
    assert "Traceback" not in (node.home / "logs" / "worker.log").read_text()
