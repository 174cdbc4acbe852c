"""Outputs of an attempt, on real folders: what is taken, what is left out and said, what a death in between leaves."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from waiting import eventually

from infra_tasks.outputs import collect as collecting
from infra_tasks.outputs import find as finding
from infra_tasks.outputs import shelf
from infra_tasks.outputs.collect import AtWork, Listed, collect, collected, roots_of
from infra_tasks.outputs.find import Root
from infra_tasks.runner.attempt import Attempt
from infra_tasks.settings import Home

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parent.parent
as_plain_user = pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
as_root = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can mount a small disk")


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    made = Attempt(Home(tmp_path).attempt("r1", 1))
    made.scratch.mkdir(parents=True)
    return made


def write(folder: Path, **files: str | bytes) -> None:
    """Write files; `__` in a name stands for a folder's end, `_` for a dot."""
    for name, said in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(said if isinstance(said, bytes) else said.encode())


def gathered(attempt: Attempt, *patterns: str, roots: list[Root] | None = None) -> Listed:
    work = AtWork.begin(attempt)
    assert work is not None
    with work:
        listed = collect(attempt, patterns, roots or [Root(os.fspath(attempt.scratch))], "n1", work)
    check(attempt, listed)
    return listed


def check(attempt: Attempt, listed: Listed) -> None:
    """The list says exactly what lies there."""
    folder = attempt.folder / "outputs"
    there = {os.path.relpath(f"{at}/{name}", folder) for at, _, names in os.walk(folder) for name in names}
    assert there == {one["path"] for one in listed["files"]}
    for one in listed["files"]:
        content = (folder / one["path"]).read_bytes()
        assert (one["size_bytes"], one["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert collected(attempt) == listed


def paths(listed: Listed) -> list[str]:
    return [one["path"] for one in listed["files"]]


def why(listed: Listed) -> dict[str, str]:
    return {one["path"]: one["why"] for one in listed["left_out"]}


def test_what_the_patterns_mean_is_taken_and_what_is_missing_is_said(attempt: Attempt):
    write(attempt.scratch, a_csv="1", out__b_csv="22", out__deep__c_csv="", other="x")
    listed = gathered(attempt, "*.csv", "out/**", "nothing/*.txt", "also-nothing")
    assert paths(listed) == ["a.csv", "out/b.csv", "out/deep/c.csv"]
    assert listed["missing"] == ["nothing/*.txt", "also-nothing"]
    assert (listed["error"], listed["left_out"], listed["node"], listed["attempt"]) == (None, [], "n1", 1)


def test_a_file_is_not_copied_when_it_need_not_be(attempt: Attempt):
    write(attempt.scratch, big="x" * 100_000)
    gathered(attempt, "big")
    assert (attempt.folder / "outputs" / "big").samefile(attempt.scratch / "big")


def test_a_file_with_names_elsewhere_is_copied_so_that_nobody_elses_file_is_written_to(
    attempt: Attempt, tmp_path: Path
):
    (tmp_path / "precious").write_text("keep me")
    (tmp_path / "precious").chmod(0o400)
    os.link(tmp_path / "precious", attempt.scratch / "mine")
    gathered(attempt, "mine")
    mine = attempt.folder / "outputs" / "mine"
    assert not mine.samefile(tmp_path / "precious")
    mine.write_text("changed")
    assert (tmp_path / "precious").read_text() == "keep me"


ODD = [
    " leading", "trailing ", "-rf", "two\nlines", "cr\r", "tab\t", "quote'\"`$(x)\\", "#;&|", "*?[x]", "☃ü", "u\u0308",
    "\x1b[31m", ".hidden", "...", "x" * 255, "con", "a:b", "%41",
]  # fmt: skip


def test_names_as_odd_as_they_come_survive(attempt: Attempt):
    for name in ODD:
        (attempt.scratch / name).write_text(name)
        (attempt.scratch / "in" / name).mkdir(parents=True)
        (attempt.scratch / "in" / name / name).write_text(name)
    listed = gathered(attempt, "**")
    assert sorted(paths(listed)) == sorted([*ODD, *(f"in/{name}/{name}" for name in ODD)])
    assert listed["left_out"] == []


@pytest.mark.skipif(sys.platform == "darwin", reason="names are UTF-8 there")
def test_a_name_that_is_no_text_is_carried_as_python_carries_it(attempt: Attempt):
    odd = os.fsdecode(b"\xff\xfe.bin")
    (attempt.scratch / odd).write_text("x")
    listed = gathered(attempt, "*.bin")
    assert paths(json.loads(json.dumps(listed))) == [odd]


def test_no_link_is_followed_out_of_the_folder_and_loops_end(attempt: Attempt, tmp_path: Path):
    scratch = attempt.scratch
    write(tmp_path / "outside", secret="s")
    write(scratch, real__a="a", twin="b")
    (scratch / "latest").symlink_to("real/a")
    (scratch / "absolute").symlink_to(scratch / "real" / "a")
    (scratch / "out").symlink_to(tmp_path / "outside" / "secret")
    (scratch / "up").symlink_to("../record.json")
    (attempt.folder / "record.json").write_text("{}")
    (scratch / "folder").symlink_to(tmp_path / "outside")
    (scratch / "real" / "loop").symlink_to("..")
    (scratch / "self").symlink_to("self")
    (scratch / "nowhere").symlink_to("gone")
    listed = gathered(attempt, "**")
    assert paths(listed) == ["absolute", "latest", "twin", "real/a"]
    assert (attempt.folder / "outputs" / "latest").read_text() == "a"
    assert not (attempt.folder / "outputs" / "latest").is_symlink()
    assert set(why(listed)) == {"out", "up", "folder", "real/loop", "self", "nowhere"}
    assert "out of its folder" in why(listed)["out"]
    assert "out of its folder" in why(listed)["up"]
    assert "link to a folder" in why(listed)["folder"]
    assert "leads nowhere" in why(listed)["nowhere"]


def test_a_scratch_folder_that_became_a_link_leads_nowhere(attempt: Attempt, tmp_path: Path):
    write(tmp_path / "outside", secret="s")
    attempt.scratch.rmdir()
    attempt.scratch.symlink_to(tmp_path / "outside")
    listed = gathered(attempt, "**")
    assert (paths(listed), listed["missing"]) == ([], ["**"])


def test_what_is_no_file_is_left_out_and_said(attempt: Attempt):
    os.mkfifo(attempt.scratch / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        here = Path.cwd()
        os.chdir(attempt.scratch)  # the path of a socket is short
        bound.bind("socket")
        os.chdir(here)
    (attempt.scratch / "through").symlink_to("pipe")
    (attempt.scratch / "empty folder").mkdir()
    listed = gathered(attempt, "*")
    assert listed["files"] == []
    assert why(listed)["pipe"] == "is a pipe, no file"
    assert why(listed)["socket"] == "is a socket, no file"
    assert set(why(listed)) == {"pipe", "socket", "through"}
    assert listed["missing"] == ["*"]


@as_plain_user
def test_what_may_not_be_read_is_left_out_and_said(attempt: Attempt):
    write(attempt.scratch, closed="x", open="y", folder__x="z")
    (attempt.scratch / "closed").chmod(0)
    (attempt.scratch / "folder").chmod(0)
    listed = gathered(attempt, "**")
    (attempt.scratch / "folder").chmod(0o700)
    assert paths(listed) == ["open"]
    assert set(why(listed)) == {"closed", "folder"}


def test_only_the_first_files_of_too_many_are_taken_and_that_is_said(attempt: Attempt, monkeypatch: pytest.MonkeyPatch):
    for name in "dbac":
        write(attempt.scratch, **{name: name})
    monkeypatch.setattr(finding, "MAX_FILES", 3)
    listed = gathered(attempt, "*")
    assert paths(listed) == ["a", "b", "c"]
    assert "more than" in listed["error"]


def test_a_long_list_of_what_was_left_out_is_cut_and_counted(attempt: Attempt):
    for number in range(collecting.MAX_LEFT_OUT + 20):
        (attempt.scratch / str(number)).symlink_to("gone")
    listed = gathered(attempt, "*")
    assert (len(listed["left_out"]), listed["left_out_count"]) == (
        collecting.MAX_LEFT_OUT,
        collecting.MAX_LEFT_OUT + 20,
    )


@pytest.fixture
def private(attempt: Attempt, tmp_path: Path) -> list[Root]:
    """A private copy of a release."""
    release = tmp_path / "projects" / "p" / "releases" / "d"
    for folder in (release, attempt.folder / "private"):
        write(folder, code_py="old", same__a_txt="a", same__b_txt="b")
        (folder / "link").symlink_to("code.py")
    record = {"cwd": os.fspath(attempt.folder / "private"), "project": "p", "release": "d"}
    return roots_of(attempt, record, tmp_path / "projects")


def test_of_a_private_copy_only_what_is_new_or_changed_is_an_output(attempt: Attempt, private: list[Root]):
    write(attempt.folder / "private", same__a_txt="A", same__new_txt="n")
    (attempt.folder / "private" / "code.py").touch()
    listed = gathered(attempt, "**", "code.py", roots=private)
    assert paths(listed) == ["same/a.txt", "same/new.txt"]
    assert (listed["missing"], listed["left_out"]) == (["code.py"], [])


def test_of_two_files_with_one_path_the_one_in_scratch_is_taken(attempt: Attempt, private: list[Root]):
    write(attempt.folder / "private", same__a_txt="private", only__here="p")
    write(attempt.scratch, same__a_txt="scratch")
    listed = gathered(attempt, "**/*.txt", "only/*", roots=private)
    assert paths(listed) == ["same/a.txt", "only/here"]
    assert (attempt.folder / "outputs" / "same" / "a.txt").read_text() == "scratch"


def test_a_file_in_the_way_of_a_folder_is_said_and_the_rest_is_taken(attempt: Attempt, private: list[Root]):
    write(attempt.scratch, thing="a file")
    write(attempt.folder / "private", thing__x="below a folder", z="z")
    listed = gathered(attempt, "**", roots=private)
    assert paths(listed) == ["thing", "z"]
    assert list(why(listed)) == ["thing/x"]


def test_a_shared_release_is_nobodys_output(attempt: Attempt, tmp_path: Path):
    record = {"cwd": os.fspath(tmp_path / "projects" / "p" / "releases" / "d"), "project": "p", "release": "d"}
    assert roots_of(attempt, record, tmp_path / "projects") == [Root(os.fspath(attempt.scratch))]


def test_nobody_collects_twice_and_nobody_at_the_same_time(attempt: Attempt):
    write(attempt.scratch, a="1")
    first = gathered(attempt, "a")
    (attempt.scratch / "a").unlink()
    write(attempt.scratch, a="2")
    assert gathered(attempt, "a", "b") == first
    work = AtWork.begin(attempt)
    assert work is not None
    with work:
        assert AtWork.begin(attempt) is None


DYING = """
import os, sys
from infra_tasks.outputs import collect, stage
from infra_tasks.outputs.find import Root
from infra_tasks.runner.attempt import Attempt
from pathlib import Path

attempt = Attempt(Path(sys.argv[1]))
work = collect.AtWork.begin(attempt)
taken, plain = 0, collect.stage

def dying(found, into, beat):
    global taken
    taken += 1
    if taken == int(sys.argv[2]):
        print("half way", flush=True)
        sys.stdin.read()
    return plain(found, into, beat)

collect.stage = dying
collect.collect(attempt, ["**"], [Root(str(attempt.scratch))], "n1", work)
"""


def killed_half_way(attempt: Attempt, at: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", DYING, attempt.path, str(at)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout
        assert process.stdout.readline() == "half way\n"
        assert AtWork.begin(attempt) is None  # a living one is left alone
        process.send_signal(signal.SIGKILL)


def test_who_looks_for_outputs_shows_that_it_lives(attempt: Attempt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = tmp_path / "release"
    for folder in (attempt.folder / "private", before):
        write(folder, large=b"x" * (3 << 20))
    beats: list[int] = []
    monkeypatch.setattr(AtWork, "beat", lambda _: beats.append(1))
    roots = [Root(os.fspath(attempt.folder / "private"), os.fspath(before))]
    assert gathered(attempt, "**", roots=roots)["files"] == []
    assert len(beats) >= 5  # to begin with, for the folder, for each MiB of what is compared


def test_who_is_killed_half_way_leaves_nothing_that_counts_and_the_next_one_does_it_all(attempt: Attempt):
    for number in range(20):
        write(attempt.scratch, **{f"f{number:02}": str(number)})
    killed_half_way(attempt, 12)
    assert len(list((attempt.folder / "outputs").iterdir())) == 11
    assert collected(attempt) is None
    (attempt.scratch / "f03").unlink()
    assert len(gathered(attempt, "**")["files"]) == 19


def test_what_kills_everybody_who_collects_is_given_up_and_said(attempt: Attempt):
    write(attempt.scratch, a="a")
    for _ in range(collecting.MAX_TRIES):
        killed_half_way(attempt, 1)
    listed = gathered(attempt, "**")  # no half of them either, and the list is there for a home elsewhere
    assert listed["files"] == []
    assert "tries" in listed["error"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", os.fspath(disk)]
    said = subprocess.run(mount, capture_output=True, text=True, check=False)
    if said.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {said.stderr}")
    yield disk
    subprocess.run(["umount", "--lazy", os.fspath(disk)], check=True)


@as_root
def test_a_full_disk_is_said_and_what_there_was_room_for_is_kept(small_disk: Path, tmp_path: Path):
    attempt = Attempt(Home(small_disk).attempt("r1", 1))
    attempt.folder.mkdir(parents=True)
    write(tmp_path / "elsewhere", a="a" * 1000, b=b"b" * 2_000_000, c="c")
    listed = gathered(attempt, "*", roots=[Root(os.fspath(tmp_path / "elsewhere"))])  # another disk: must be copied
    assert paths(listed) == ["a"]
    assert "No space left" in listed["error"]
    assert "'b'" in listed["error"]


@as_root
def test_on_a_disk_that_takes_not_even_the_list_the_error_is_said_and_the_next_time_it_goes_well(small_disk: Path):
    attempt = Attempt(Home(small_disk).attempt("r1", 1))
    attempt.scratch.mkdir(parents=True)
    for number in range(200):
        write(attempt.scratch, **{f"f{number}": "x"})
    work = AtWork.begin(attempt)
    assert work is not None
    with (small_disk / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(b"x" * 4096)
    with work:
        listed: dict[str, Any] = collect(attempt, ["*"], [Root(os.fspath(attempt.scratch))], "n1", work)
    assert listed["files"] == []
    assert os.strerror(errno.ENOSPC) in listed["error"]
    (small_disk / "ballast").unlink()
    if collected(attempt) is None:
        assert len(gathered(attempt, "*")["files"]) == 200


def placed(home: Home, number: int, *patterns: str) -> Path:
    attempt = Attempt(home.attempt("r1", number))
    listed = collected(attempt) or gathered(attempt, *patterns)
    return shelf.place(home, "r1", attempt.folder / "outputs", listed)


def test_the_place_at_home_holds_the_outputs_of_the_last_attempt(attempt: Attempt, tmp_path: Path):
    home = Home(tmp_path)
    write(attempt.scratch, a="1", only_first="1")
    assert placed(home, 1, "*") == tmp_path / "runs" / "r1" / "outputs"
    second = Attempt(home.attempt("r1", 2))
    write(second.scratch, a="2")
    folder = placed(home, 2, "*")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"a": "2"}
    assert (shelf.there(home, "r1") or {})["attempt"] == 2
    third = Attempt(home.attempt("r1", 3))
    write(third.scratch, a="3")
    placed(home, 3, "*")
    write(Attempt(home.attempt("r1", 1)).folder / "outputs", a="1")
    placed(home, 1)  # comes late
    assert (folder / "a").read_text() == "3"
    assert (shelf.there(home, "r1") or {})["attempt"] == 3
    shutil.rmtree(attempt.folder / "outputs")
    shutil.rmtree(third.folder)
    assert sorted(path.name for path in folder.parent.iterdir() if path.is_dir()) == ["1", "2", "outputs"]


@pytest.mark.parametrize("died", ["before anything", "list gone", "old moved", "new moved"])
def test_a_death_while_they_are_put_into_place_is_made_good(attempt: Attempt, tmp_path: Path, died: str):
    home, run = Home(tmp_path), tmp_path / "runs" / "r1"
    write(attempt.scratch, a="1")
    placed(home, 1, "*")
    second = Attempt(home.attempt("r1", 2))
    write(second.scratch, a="2")
    gathered(second, "*")
    if died != "before anything":
        (run / "outputs.json").unlink()
    if died in {"old moved", "new moved"}:
        (run / "outputs").rename(run / ".outputs.old")
    if died == "new moved":
        (second.folder / "outputs").rename(run / "outputs")
    assert (placed(home, 2) / "a").read_text() == "2"
    assert (shelf.there(home, "r1") or {})["attempt"] == 2
    eventually(lambda: not (run / ".outputs.old").exists() or died == "new moved", 5, "nothing is left over")
