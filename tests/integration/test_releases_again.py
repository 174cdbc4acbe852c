"""A snapshot after a change says what a first look at the same tree says, and costs no more than what changed."""

from __future__ import annotations

import os
import shutil
import threading
import time

import pytest
from waiting import eventually
from yard import Yard

from infra_tasks import releases
from infra_tasks.model.manifest import Manifest
from infra_tasks.releases import git, known, taking
from infra_tasks.releases.reading import settled
from infra_tasks.settings import Home


@pytest.fixture(params=[True, False], ids=["git", "plain"])
def yard(tmp_path, request):
    made = Yard(tmp_path)
    made.write(a="one", sub__b="two", sub__deep__c="three", other__d="four", other__log="x", sub__log="y")
    if request.param:
        made.commit_all()
    yield made
    made.let_go()


def later():
    """Wall time by a clock that is ahead: all that was seen counts as old enough to be trusted."""
    return time.time_ns() + 10_000_000_000


def again(yard):
    taken = releases.snapshot(yard.home, "p", yard.source, now_ns=later)
    known.tick_over(yard.root, time.time_ns())
    return taken


def first_look(yard):
    shutil.rmtree(yard.root / "fresh", ignore_errors=True)
    return releases.snapshot(Home(yard.root / "fresh"), "p", yard.source)


def replace_by_link(place, target):
    place.unlink()
    place.symlink_to(target)


CHANGES = {
    "a file is edited": lambda code: (code / "a").write_text("ONE"),
    "a file comes": lambda code: (code / "new").write_text(""),
    "a file comes into a folder": lambda code: (code / "sub/deep/new").write_text(""),
    "a folder comes": lambda code: ((code / "fresh/er").mkdir(parents=True), (code / "fresh/er/f").write_text("")),
    "a file goes": lambda code: (code / "sub/b").unlink(),
    "a folder goes": lambda code: shutil.rmtree(code / "sub"),
    "a file is renamed": lambda code: (code / "a").rename(code / "z"),
    "a folder is renamed": lambda code: (code / "sub").rename(code / "sub2"),
    "a file can be run": lambda code: (code / "a").chmod(0o755),
    "a file becomes a link": lambda code: replace_by_link(code / "a", "sub/b"),
    "a folder becomes a link": lambda code: (shutil.rmtree(code / "sub"), (code / "sub").symlink_to("other")),
    "a file becomes a pipe": lambda code: ((code / "a").unlink(), os.mkfifo(code / "a")),
    "a file becomes a folder": lambda code: (
        (code / "a").unlink(),
        (code / "a").mkdir(),
        (code / "a/x").write_text(""),
    ),
    "rules come": lambda code: (code / ".gitignore").write_text("new*\n*.tmp\n"),
    "what they leave out comes": lambda code: ((code / "newer").write_text(""), (code / "sub/x.tmp").write_text("")),
    "rules change": lambda code: (code / ".gitignore").write_text("*.tmp\n"),
    "rules come below": lambda code: ((code / "sub/.gitignore").write_text("x.tmp\nn2"), (code / "sub/n2").touch()),
    "rules below change": lambda code: (code / "sub/.gitignore").write_text("!x.tmp\n"),
    "rules below go": lambda code: (code / "sub/.gitignore").unlink(),
    "rules go": lambda code: (code / ".gitignore").unlink(),
    "own rules come": lambda code: (code / ".infraignore").write_text("log\nlater\n"),
    "what own rules leave out comes": lambda code: (code / "sub/later").write_text(""),
    "own rules change": lambda code: (code / ".infraignore").write_text("/other/log\nlater\n"),
    "own rules go": lambda code: (code / ".infraignore").unlink(),
}
# What one change needs of another one before it.
BEFORE = {
    "what they leave out comes": ["rules come"],
    "rules change": ["rules come", "what they leave out comes"],
    "rules below change": ["rules come", "what they leave out comes", "rules come below"],
    "rules below go": ["rules come below"],
    "rules go": ["rules come", "what they leave out comes"],
    "what own rules leave out comes": ["own rules come"],
    "own rules change": ["own rules come", "what own rules leave out comes"],
    "own rules go": ["own rules come", "what own rules leave out comes"],
}


@pytest.mark.parametrize("what", CHANGES)
def test_after_a_change_the_tree_is_what_a_first_look_sees(yard, what):
    for step in [*BEFORE.get(what, []), what]:
        again(yard)
        assert again(yard).hashed_files == 0
        CHANGES[step](yard.code)
        taken = again(yard)
        assert taken.manifest == first_look(yard).manifest
        assert taken.digest == taken.manifest.digest
        assert again(yard).digest == taken.digest


def test_what_went_and_comes_back_is_there_again(yard):
    before = again(yard).digest
    was = (yard.code / "sub/b").rename(yard.root / "away")
    without = again(yard).digest
    assert again(yard).digest == without != before
    was.rename(yard.code / "sub/b")
    assert again(yard).digest == before


def test_nothing_is_made_of_a_tree_that_did_not_change(yard, monkeypatch):
    before = again(yard)

    def refuse(_):
        raise AssertionError("a manifest was made")

    monkeypatch.setattr(Manifest, "of", refuse)
    monkeypatch.setattr(git, "read_answer", refuse)
    assert again(yard).digest == before.digest


def test_the_manifest_of_an_unchanged_tree_is_kept_again_if_it_was_lost(yard):
    before = again(yard)
    (yard.shelf / f"{before.digest}.json").unlink()
    assert again(yard).manifest == before.manifest
    assert (yard.shelf / f"{before.digest}.json").exists()


@pytest.fixture
def passes(monkeypatch):
    seen = []
    real = taking.Lister.ask
    monkeypatch.setattr(taking.Lister, "ask", lambda self: seen.append(self) or real(self))
    return seen


def test_a_change_from_before_needs_one_pass_and_one_just_now_a_second(yard, passes):
    again(yard)
    yard.write(a="changed")
    passes.clear()
    again(yard)
    assert len(passes) == 1
    yard.write(a="changed again")
    passes.clear()
    assert releases.snapshot(yard.home, "p", yard.source, now_ns=lambda: 0).hashed_files == 1
    assert len(passes) == 2


def test_a_file_that_is_renamed_while_others_are_read_is_there_under_one_of_its_names(yard, monkeypatch):
    again(yard)
    changed_ns = yard.put("other/d", "changed").stat().st_ctime_ns
    eventually(lambda: settled(changed_ns, time.time_ns()), said="the change is old enough")
    listed, renamed = threading.Event(), threading.Event()
    ask, stale = taking.Lister.ask, taking.Taking._stale

    def ask_and_rename(self):
        answer = ask(self)
        if not listed.is_set():
            listed.set()
            (yard.code / "a").rename(yard.code / "sub/z")
            renamed.set()
        return answer

    def stale_after(self):
        assert renamed.wait(180)
        return stale(self)

    monkeypatch.setattr(taking.Lister, "ask", ask_and_rename)
    monkeypatch.setattr(taking.Taking, "_stale", stale_after)
    paths = {entry.path for entry in yard.snapshot().manifest.entries}
    assert len(paths & {"a", "sub/z"}) == 1
