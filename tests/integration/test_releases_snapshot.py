"""A snapshot is exactly what lies in the source, or an error that says why not."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess

import pytest
from waiting import eventually
from yard import REPOSITORY, Yard, end

from infra_tasks import releases
from infra_tasks.errors import SourceChanging, SourceUnreadable
from infra_tasks.releases import reading


@pytest.fixture
def yard(tmp_path):
    made = Yard(tmp_path)
    made.write(a="one", sub__b="two")
    yield made
    made.let_go()


def paths(yard):
    return [entry.path for entry in yard.snapshot().manifest.entries]


def left_out(yard):
    return {found.path: found.reason for found in releases.left_out(yard.home, "p", yard.source)}


def test_tracked_and_untracked_files_go_ignored_and_deleted_ones_do_not(yard):
    yard.put(".gitignore", "*.log\n/build/\n")
    yard.commit_all()
    yard.put("new", "")
    yard.put("x.log", "")
    yard.put("build/out", "")
    (yard.code / "a").unlink()
    assert paths(yard) == [".gitignore", "new", "sub/b"]
    assert left_out(yard) == {
        ".git/": "git's own files",
        "build/": ".gitignore:2: /build/",
        "x.log": ".gitignore:1: *.log",
    }


def test_without_git_the_same_rules_hold(yard):
    yard.put(".gitignore", "*.log\n/build/\n!keep.log\n")
    yard.put("sub/.gitignore", "deep\n!*.log\n")
    for path in ("x.log", "keep.log", "build/out", "sub/deep", "sub/y.log", "sub/build/in", "deep"):
        yard.put(path, "")
    without = paths(yard)
    assert without == [".gitignore", "a", "deep", "keep.log", "sub/.gitignore", "sub/b", "sub/build/in", "sub/y.log"]
    assert left_out(yard) == {
        "build/": ".gitignore:2: /build/",
        "x.log": ".gitignore:1: *.log",
        "sub/deep": "sub/.gitignore:1: deep",
    }
    yard.git("init", "-q")
    assert paths(yard) == without


@pytest.mark.parametrize("with_git", [True, False])
@pytest.mark.parametrize("name", [".infraignore", ".gitignore"])
def test_rules_saved_by_a_windows_editor_mean_the_same(yard, name, with_git):
    yard.put(name, "\ufeff*.secret\r\n\r\n# why\r\ntwo\u2028*.log\r\n*.tmp".encode())
    for path in ("x.secret", "x.log", "x.tmp"):
        yard.put(path, "")
    if with_git:
        yard.git("init", "-q")
    assert paths(yard) == [name, "a", "sub/b", "x.log"]
    assert left_out(yard)["x.tmp"] == f"{name}:5: *.tmp"


def test_a_rule_that_is_none_is_refused_with_its_line(yard):
    yard.put(".infraignore", "*.log\n\n!\n")
    with pytest.raises(SourceUnreadable, match=r"\.infraignore:3: "):
        yard.snapshot()


def test_rules_that_are_no_utf8_are_refused_instead_of_doing_nothing(yard):
    yard.put(".infraignore", "*.secret\n".encode("utf-16"))
    with pytest.raises(SourceUnreadable, match="save it as UTF-8"):
        yard.snapshot()


@pytest.mark.parametrize("with_git", [True, False])
def test_infraignore_and_exclude_narrow_further_and_are_named_as_reasons(tmp_path, with_git):
    yard = Yard(tmp_path, exclude=("secret*",))
    yard.write(a="", data__big="", secret_key="")
    yard.put(".infraignore", "# what is large\ndata/\n")
    if with_git:
        yard.commit_all()
    assert paths(yard) == [".infraignore", "a"]
    said = left_out(yard)
    assert said["data/"] == ".infraignore:2: data/"
    assert said["secret_key"] == "exclude in nodes.json:1: secret*"


def test_a_source_in_a_subfolder_of_a_repository_is_only_that_folder(yard):
    yard.commit_all()
    inner = Yard(yard.root)
    found = releases.snapshot(inner.home, "p", releases.Source(yard.code / "sub"))
    assert [entry.path for entry in found.manifest.entries] == ["b"]


def test_a_source_its_outer_repository_ignores_goes_all_the_same(yard):
    yard.put(".gitignore", "*\n")
    yard.git("init", "-q")
    found = releases.snapshot(yard.home, "p", releases.Source(yard.code / "sub"))
    assert [entry.path for entry in found.manifest.entries] == ["b"]


def test_files_of_initialised_submodules_go_and_others_are_named(yard, tmp_path):
    library = Yard(tmp_path / "library")
    library.write(lib="code")
    library.commit_all()
    yard.commit_all()
    yard.git("submodule", "add", "-q", str(library.code), "vendor/lib")
    yard.git("submodule", "add", "-q", str(library.code), "vendor/bare")
    yard.commit_all()
    yard.git("submodule", "deinit", "-f", "vendor/bare")
    assert paths(yard) == [".gitmodules", "a", "sub/b", "vendor/lib/lib"]
    assert "git submodule update --init" in left_out(yard)["vendor/bare/"]


def test_a_linked_work_tree_is_a_source_like_any_other_and_no_part_of_its_main_one(yard):
    yard.commit_all()
    yard.git("worktree", "add", "-q", "inner")
    yard.put("inner/only_here", "")
    found = releases.snapshot(yard.home, "p", releases.Source(yard.code / "inner"))
    assert [entry.path for entry in found.manifest.entries] == ["a", "only_here", "sub/b"]
    assert paths(yard) == ["a", "sub/b"]
    assert "git worktree" in left_out(yard)["inner/"]


def test_what_is_neither_file_nor_link_nor_full_is_left_out_with_its_reason(yard):
    os.mkfifo(yard.code / "pipe")
    (yard.code / "empty").mkdir()
    with socket.socket(socket.AF_UNIX) as door:
        here = os.open(yard.code, os.O_RDONLY)
        os.fchdir(here)
        door.bind("door")
        os.chdir(REPOSITORY)
        os.close(here)
        assert paths(yard) == ["a", "sub/b"]
        said = left_out(yard)
    assert "a pipe" in said["pipe"]
    assert "a socket" in said["door"]
    assert "empty folder" in said["empty/"]


def test_the_nodes_own_folder_inside_a_source_is_not_sent_into_itself(yard):
    inner = releases.Source(yard.root)
    taken = [releases.snapshot(yard.home, "p", inner).manifest for _ in range(2)]
    assert [entry.path for entry in taken[1].entries] == ["source/a", "source/sub/b"]
    assert taken[0] == taken[1]


@pytest.mark.parametrize("with_git", [True, False])
def test_odd_names_go_as_they_are(yard, with_git):
    odd = [
        b"a b",
        b"quo'te\"",
        b"new\nline",
        b"-rf",
        b"tab\t",
        b"caf\xe9",
        "caf\u00e9".encode(),
        b"? x",
        b"\\back",
        b"* H",
    ]
    for name in odd:
        (yard.code / os.fsdecode(name)).write_bytes(name)
    if with_git:
        yard.commit_all()
    assert {os.fsencode(path) for path in paths(yard)} == {*odd, b"a", b"sub/b"}
    release = yard.ensure()
    for name in odd:
        assert (release.path / os.fsdecode(name)).read_bytes() == name


def test_links_stay_links_also_in_loops_and_to_the_system(yard):
    for name, target in (
        ("in", "sub/b"),
        ("loop", "loop"),
        ("ring", "sub/ring"),
        ("sub/ring", "../ring"),
        ("sys", "/etc"),
    ):
        (yard.code / name).symlink_to(target)
    release = yard.ensure()
    assert (release.path / "sub/ring").readlink() == release.path.__class__("../ring")
    assert str((release.path / "sys").readlink()) == "/etc"
    assert (release.path / "in").read_text() == "two"


@pytest.mark.parametrize(
    ("target", "why"), [("../elsewhere", "out of the source"), ("HERE/a", "into the source itself")]
)
def test_a_link_that_would_lead_elsewhere_on_a_node_is_refused(yard, target, why):
    (yard.code / "sub" / "odd").symlink_to(
        target.replace("HERE", str(yard.code)) if "HERE" in target else f"../{target}"
    )
    with pytest.raises(SourceUnreadable, match=f"'sub/odd'.*{why}.*infraignore"):
        yard.snapshot()


def test_tracked_files_whose_folder_became_a_link_are_not_sent_twice(yard):
    yard.write(other__b="of other")
    yard.commit_all()
    shutil.rmtree(yard.code / "sub")
    (yard.code / "sub").symlink_to("other")
    assert paths(yard) == ["a", "other/b", "sub"]


def test_an_unchanged_tree_is_not_read_again_and_a_changed_file_is_read_alone(yard):
    for number in range(20):
        yard.put(f"f{number}", f"{number}")
    eventually(lambda: yard.snapshot().hashed_files == 0, said="the hashes were kept once they were old enough")
    yard.write(f7="seven")
    assert {yard.snapshot().hashed_files for _ in range(1)} == {1}


def at(yard, moment_ns):
    """Take a snapshot by a clock that stands at a moment."""
    return releases.snapshot(yard.home, "p", yard.source, now_ns=lambda: moment_ns)


def test_a_hash_taken_within_a_tick_of_the_last_change_is_not_kept(yard):
    # An edit later in this tick shows the same size and the same times: stat could never tell.
    changed_ns = max((yard.code / name).stat().st_ctime_ns for name in ("a", "sub/b"))
    assert at(yard, changed_ns).hashed_files == 2
    assert at(yard, changed_ns).hashed_files == 2
    assert at(yard, changed_ns + 10_000_000_000).hashed_files == 2
    assert at(yard, changed_ns).hashed_files == 0


def test_an_edit_of_the_same_size_with_its_mtime_put_back_is_seen_also_by_a_hash_that_was_kept(yard):
    was = (yard.code / "a").stat()
    kept = at(yard, was.st_ctime_ns + 10_000_000_000)
    assert at(yard, was.st_ctime_ns).hashed_files == 0
    (yard.code / "a").write_text("ONE")
    os.utime(yard.code / "a", ns=(was.st_atime_ns, was.st_mtime_ns))
    now = (yard.code / "a").stat()
    assert (now.st_size, now.st_mtime_ns, now.st_ino) == (was.st_size, was.st_mtime_ns, was.st_ino)
    assert yard.snapshot().digest != kept.digest


def test_edits_of_the_same_size_one_right_after_the_other_are_all_seen(yard):
    digests = set()
    for letter in "abcdefghij":
        place = yard.put("a", letter * 100)
        os.utime(place, ns=(10**18, 10**18))
        digests.add(yard.snapshot().digest)
    assert len(digests) == 10


def test_a_spoiled_cache_costs_time_and_nothing_else(yard):
    digest = yard.snapshot().digest
    eventually(lambda: list((yard.home.projects / "p" / "cache").glob("source-*")) or yard.snapshot() is None)
    for place in (yard.home.projects / "p" / "cache").glob("source-*"):
        place.write_bytes(place.read_bytes()[:-3] + b"xyz")
    assert yard.snapshot().digest == digest


WRITER = """
import itertools
for number in itertools.count():
    yard.put("log", str(number) * 1000)
"""


def test_a_tree_that_never_holds_still_is_said_to_be_changing(yard):
    writer = yard.python(WRITER)
    try:
        eventually((yard.code / "log").exists, said="the writer writes")
        said = eventually(lambda: refused(yard), said="a snapshot met the writer")
    finally:
        end(writer)
    assert "log" in said


def refused(yard):
    try:
        yard.snapshot()
    except SourceChanging as error:
        return str(error)
    return None


def test_a_file_is_never_hashed_across_a_change(yard, monkeypatch):
    place = yard.put("a", "x" * 10)
    real = os.read

    def read_and_edit(fd, size):
        data = real(fd, size)
        place.write_bytes(os.urandom(10))
        return data

    monkeypatch.setattr(reading.os, "read", read_and_edit)
    with pytest.raises(SourceChanging, match=r"'a'.*changes while it is read"):
        yard.snapshot()


def test_a_source_that_vanished_or_is_empty_is_refused_clearly(yard):
    shutil.rmtree(yard.code)
    with pytest.raises(SourceUnreadable, match=r"source is not there.*mounted"):
        yard.snapshot()
    yard.code.mkdir()
    with pytest.raises(SourceUnreadable, match="no file to send"):
        yard.snapshot()
    yard.code.rmdir()
    yard.code.write_text("")
    with pytest.raises(SourceUnreadable, match="no folder"):
        yard.snapshot()


@pytest.mark.parametrize("what", ["sub", "a"])
@pytest.mark.parametrize("with_git", [True, False])
def test_what_cannot_be_read_is_named(yard, what, with_git):
    if with_git:
        yard.commit_all()
        (yard.code / "sub" / "new").write_text("untracked")
    drop = ""
    if os.geteuid() == 0:  # root reads everything: let somebody else try
        for place in (yard.root, *yard.root.parents):
            if place.stat().st_uid == 0 and "pytest" in str(place):
                place.chmod(0o755)
        subprocess.run(["chown", "-R", "65534", str(yard.root)], check=True)
        drop = "import os; os.chdir('/'); os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    (yard.code / what).chmod(0)
    try:
        done = yard.python(f"{drop}yard.snapshot()")
        said = done.communicate(timeout=180)[1]
    finally:
        (yard.code / what).chmod(0o755)
    assert "SourceUnreadable" in said
    assert what in said
    assert "infraignore" in said


def test_git_is_asked_about_this_tree_also_inside_a_git_hook(yard, monkeypatch, tmp_path):
    yard.commit_all()
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert paths(yard) == ["a", "sub/b"]


def test_a_git_that_fails_is_quoted(yard):
    (yard.code / ".git").write_text("gitdir: /nowhere\n")
    with pytest.raises(SourceUnreadable, match=r"git ls-files.*nowhere"):
        yard.snapshot()
