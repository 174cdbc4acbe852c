"""Output of a command: followed while it runs, capped, whole in head and tail, and never in the way of the record."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from attempts import PYTHON, Rig, is_alive
from waiting import eventually

from infra_tasks.runner import output
from infra_tasks.runner.attempt import Attempt


@pytest.fixture
def rig(tmp_path):
    with Rig(tmp_path) as rig:
        yield rig


def whole(folder: Path, stream: str = "stdout") -> bytes:
    """Read a stream to its end as a follower does."""
    data, offset = b"", 0
    while (chunk := output.read(folder, stream, offset, 65536)).data:
        data, offset = data + chunk.data, chunk.next_offset
    return data


def test_a_follower_sees_output_while_the_command_runs(rig):
    program = "import sys\nprint('first', flush=True)\nimport time\ntime.sleep(600)"
    attempt, shim = rig.start([*PYTHON, program])
    eventually(lambda: whole(attempt.folder) == b"first\n", 20, "the first line is there")
    assert not shim.wait(0)


def test_binary_output_is_kept_byte_by_byte(rig):
    program = "import os; os.write(1, bytes(range(256)) * 1000); os.write(2, b'\\xff\\xfe')"
    attempt, record = rig.run([*PYTHON, program])
    assert record["exit_code"] == 0
    assert whole(attempt.folder) == bytes(range(256)) * 1000
    assert output.tail(attempt.folder, "stderr", 100) == "\ufffd\ufffd"
    assert output.size(attempt.folder, "stdout") == 256_000


def test_beyond_the_cap_head_and_tail_survive_and_the_disk_holds_no_more(rig):
    program = "for number in range(200_000): print(f'{number:09d}')"
    attempt, _ = rig.run([*PYTHON, program], output_cap_bytes=300_000)
    kept = whole(attempt.folder)
    lines = kept.split(b"\n")
    assert len(kept) <= 300_000
    assert lines[:100] == [b"%09d" % number for number in range(100)]
    assert lines[-10_000:-1] == [b"%09d" % number for number in range(200_000 - 9_999, 200_000)]
    assert output.size(attempt.folder, "stdout") == 2_000_000
    assert output.tail(attempt.folder, "stdout", 20) == "000199998\n000199999\n"


def test_100_megabytes_are_capped(rig):
    program = "import os\nfor _ in range(1600): os.write(1, b'x' * 65536)"
    attempt, _ = rig.run([*PYTHON, program], output_cap_bytes=3_000_000)
    assert sum(path.stat().st_size for path in attempt.folder.glob("stdout.*")) <= 3_000_000
    assert output.size(attempt.folder, "stdout") == 1600 * 65536


def test_the_limit_holds_for_a_command_that_never_stops_writing(rig):
    attempt, record = rig.run([*PYTHON, "import os\nwhile True: os.write(1, b'x' * 65536)"], timeout_s=1)
    assert record["outcome"] == "timeout"
    assert sum(path.stat().st_size for path in attempt.folder.glob("stdout.*")) <= 3_000_000


@contextmanager
def small_disk(folder: Path):
    """Mount a disk of 256 kB."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


FILL = """
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
size = 65536
while size:
    try:
        os.write(fd, b"f" * size)
    except OSError:
        size //= 2
"""


def has_ended(attempt: Attempt) -> bool:
    """Say whether a command was started and lives no more, recorded or not."""
    pid = (attempt.started() or {}).get("command_pid")
    return bool(pid) and not is_alive(pid)


if os.geteuid() == 0:

    def test_a_disk_that_became_full_does_not_lose_the_exit_record(rig):
        with small_disk(rig.folder / "disk") as disk:
            program = FILL + "os.write(1, b'x' * 5000)\nsys.exit(5)"
            folder = disk / "run" / "1"
            attempt, record = rig.run([*PYTHON, program, str(disk / "filler")], folder=folder)
            assert (record["outcome"], record["exit_code"]) == ("exited", 5)
            assert record["output_dropped_bytes"] == 5000
            assert "No space left" in record["error"]
            assert not attempt.is_locked()

    def test_an_exit_record_without_room_is_written_as_soon_as_there_is_some(rig):
        with small_disk(rig.folder / "disk") as disk:
            folder = disk / "run" / "1"
            program = FILL.replace("fd =", f"os.unlink({str(folder / 'reserve')!r})\nfd =") + "sys.exit(6)"
            attempt, shim = rig.start([*PYTHON, program, str(disk / "filler")], folder=folder)
            eventually(lambda: has_ended(attempt), said="the command has filled the disk")
            assert not shim.wait(2), "it does not end without its record"
            assert attempt.is_locked()
            assert attempt.exit_record() is None
            (disk / "filler").unlink()
            assert rig.ended(attempt, shim)["exit_code"] == 6

    def test_on_a_full_disk_nothing_is_started_and_the_attempt_counts_as_lost(rig):
        with small_disk(rig.folder / "disk") as disk:
            attempt = rig.attempt(["touch", str(rig.folder / "effect")], folder=disk / "run" / "1")
            os.close(attempt.take_lock())
            subprocess.run([*PYTHON, FILL, str(disk / "filler")], check=True)
            shim = rig.launch(attempt)
            assert not shim.wait(5)
            (disk / "filler").unlink()
            record = rig.ended(attempt, shim)
        assert (record["outcome"], record["started_at"]) == ("lost", None)
        assert "No space left" in record["error"]
        assert not (rig.folder / "effect").exists()


LIMITED = """
import os, resource, sys
from pathlib import Path
from infra_tasks.runner.attempt import Attempt
from infra_tasks.runner.launch import Zygote
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
attempt, zygote = Attempt(Path(sys.argv[1])), Zygote()
lock = attempt.take_lock()
with zygote.launch(attempt, lock) as shim:
    os.close(lock)
    assert shim.wait(180)
zygote.close()
"""


def test_output_the_system_refuses_is_dropped_and_counted_and_the_command_goes_on(rig):
    """No file may grow beyond 20 kB here: the refusal an ordinary user can arrange."""
    attempt = rig.attempt([*PYTHON, "import os; os.write(1, b'x' * 50_000); os.write(2, b'end'); os._exit(4)"])
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", LIMITED, str(attempt.folder)], check=True, cwd=root, timeout=180)
    record = Attempt(attempt.folder).exit_record()
    assert (record["exit_code"], record["output_dropped_bytes"]) == (4, 30_000)
    assert "File too large" in record["error"]
    assert whole(attempt.folder) == b"x" * 20_000
    assert whole(attempt.folder, "stderr") == b"end"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
