"""The check of a node's code: damage no stat shows is mended, what is missing comes, what nobody needs goes."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from redis_process import RedisProcess
from yard import Yard, spoil, tree

from infra_tasks import releases
from infra_tasks.code_check import CodeCheck, Duty, Finding, duties, summary
from infra_tasks.ledger import Ledger
from infra_tasks.ledger.scripts import Scripts
from infra_tasks.model.setup_rules import SetupRules
from infra_tasks.node import this_node
from infra_tasks.releases import content, copying, known, reading
from infra_tasks.releases.held import in_use, standing
from infra_tasks.releases.layout import Shelf, Source
from infra_tasks.releases.locks import held
from infra_tasks.releases.snapshot import recall
from infra_tasks.releases.supply import LocalCarrier, Several
from infra_tasks.releases.walk import row
from infra_tasks.submit import submit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from infra_tasks.model.manifest import Entry, Manifest

ONE, OTHER = "1" * 64, "2" * 64
LONG_AGO_S = 7200


class FromNode(LocalCarrier):
    """Brings what another node holds, as the pull carrier does, without ssh in between."""

    gave = False

    def __init__(self, other: Yard, digest: str) -> None:
        self._shelf = Shelf(other.home, "p")
        super().__init__(Source(self._shelf.tree(digest)))

    def manifest(self, digest: str) -> Manifest | None:
        return recall(self._shelf, digest)

    def bring(self, entries: Sequence[Entry], tree: Path) -> Collection[str]:
        checked = super().bring(entries, tree)
        self.gave = True
        return checked


@dataclass
class Given:
    """What `supplying` gives, with other nodes that are folders."""

    carrier: Several
    others: list[FromNode]

    @property
    def source(self) -> str:
        return "n2" if any(one.gave for one in self.others) else "n1"


class Site:
    """A yard that is node `n1` of a fleet, and the ledger it speaks with."""

    def __init__(self, root: Path, ledger: Ledger, broker: str, **limits: int) -> None:
        self.yard = Yard(root)
        self.yard.home.root.mkdir(parents=True)
        nodes = {"n1": {"ssh": "local", "root": str(self.yard.home.root)}, "n2": {"ssh": "a@b.invalid", "root": "/r"}}
        projects = {"p": {"source": str(self.yard.code), "node": "n1"}}
        said = {"fleet": "t", "broker": broker, "limits": limits, "nodes": nodes, "projects": projects}
        self.yard.home.nodes_json.write_text(json.dumps(said))
        self.ledger = ledger
        self.other: Yard | None = None
        self.asked: list[str] = []
        self.yard.write(a="one", sub__b="two")

    @property
    def check(self) -> CodeCheck:
        return CodeCheck(this_node(self.yard.home), self.ledger, self.supply)

    @contextmanager
    def supply(self, project: str, digest: str) -> Iterator[Given]:
        assert project == "p"
        self.asked.append(digest)
        others = [FromNode(self.other, digest)] if self.other else []
        yield Given(Several.of(self.yard.source, *others), others)

    def releases(self, count: int) -> list[str]:
        """Make releases, the oldest used two hours ago, the next one a second later ..."""
        made = []
        for number in range(count):
            self.yard.write(a=f"number {number}")
            made.append(self.yard.ensure().digest)
            self.used(made[-1], LONG_AGO_S - number)
        return made

    def used(self, digest: str, ago_s: float) -> None:
        at = time.time() - ago_s
        os.utime(self.yard.shelf / f"{digest}.lock", (at, at))

    def here(self) -> set[str]:
        return {one.digest for one in standing(self.yard.home)}

    def run_for(self, digest: str) -> str:
        """Return a run that waits for a slot with this release."""
        run = submit(self.ledger, this_node(self.yard.home).fleet, {"command": ["true"], "project": "p", "node": "n1"})
        move = self.ledger.claims.dispatch
        assert move("begin", run, run, node="n1", actor="t")["said"] == "ok"
        assert move("end", run, run, node="n1", actor="t", release=digest, rules=SetupRules().to_json())["said"] == "ok"
        return run


@pytest.fixture
def site(tmp_path: Path, ledger: Ledger, redis_process: RedisProcess) -> Iterator[Site]:
    made = Site(tmp_path / "n1", ledger, redis_process.url)
    yield made
    made.yard.let_go()


@pytest.fixture
def other(tmp_path: Path, site: Site) -> Iterator[Yard]:
    """Another node, which holds what it is told to."""
    made = site.other = Yard(tmp_path / "n2")
    shutil.copytree(site.yard.code, made.code)
    yield made
    made.let_go()


def rot(yard: Yard, digest: str, path: str, text: str) -> None:
    """Change the content of a file so that no stat tells: as a disk does, or who can set the clock."""
    shelf = Shelf(yard.home, "p")
    manifest = recall(shelf, digest)
    assert manifest is not None
    wanted = {entry.path: entry.sha256 for entry in manifest.files()}
    place = shelf.tree(digest) / path
    assert len(text) == place.stat().st_size
    spoil(place, text)
    found = row(shelf.tree(digest), path)
    known.note(shelf, {found.inode: known.fact(found, wanted[path])})
    assert releases.verify(releases.Release(shelf, digest)).damaged == ()


def test_a_node_whose_code_is_right_says_so(site: Site):
    digest = site.yard.ensure().digest
    [entry] = site.check.run() or []
    assert (entry.project, entry.release, entry.node) == ("p", digest, "n1")
    assert (entry.why, entry.said) == ("check", "found right")
    assert (entry.files, entry.size_bytes, entry.error) == (0, 0, None)
    assert [(one.said, one.node) for one in site.ledger.code.syncs()] == [("found right", "n1")]


def test_damage_that_no_stat_shows_is_found_and_mended(site: Site):
    release = site.yard.ensure()
    wanted = tree(release.path)
    rot(site.yard, release.digest, "a", "0ne")
    assert releases.verify(release).damaged == ()
    assert (release.path / "a").read_text() == "0ne", "a look at stat finds nothing: that is what the check is for"
    [entry] = site.check.run() or []
    assert (entry.said, entry.release, entry.files, entry.size_bytes) == ("mended", release.digest, 1, 3)
    assert entry.source == "n1"
    assert tree(release.path) == wanted
    [again] = site.check.run() or []
    assert again.said == "found right"


def test_a_file_the_disk_cannot_read_any_more_is_found_and_mended(site: Site, monkeypatch: pytest.MonkeyPatch):
    made = site.releases(2)
    releases_before = {digest: tree(site.yard.shelf / digest) for digest in made}
    lost = (site.yard.shelf / made[1] / "sub/b").stat().st_ino
    real = reading.open_to_read

    def opens(path: str) -> int:
        fd = real(path)
        if os.fstat(fd).st_ino == lost:
            os.close(fd)
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return fd

    with monkeypatch.context() as patched:
        for module in (reading, content, copying):
            patched.setattr(module, "open_to_read", opens)
        [entry] = site.check.run() or []
        assert (entry.said, entry.error) == ("mended", None)
        [again] = site.check.run() or []
        assert again.said == "found right"
    assert {digest: tree(site.yard.shelf / digest) for digest in made} == releases_before


def test_damage_in_what_releases_share_is_mended_in_each(site: Site):
    made = site.releases(3)
    first = site.yard.shelf / made[0] / "sub/b"
    if first.stat().st_nlink == 1:
        pytest.skip("this disk clones: nothing is shared")
    rot(site.yard, made[0], "sub/b", "TWO")
    for digest in made:
        assert releases.verify(releases.Release(Shelf(site.yard.home, "p"), digest)).damaged == ()
    [entry] = site.check.run() or []
    assert (entry.said, entry.files) == ("mended", 1), "brought once, then shared"
    assert {(site.yard.shelf / digest / "sub/b").read_text() for digest in made} == {"two"}


def test_each_inode_is_read_once(site: Site, monkeypatch: pytest.MonkeyPatch):
    made = site.releases(3)
    if (site.yard.shelf / made[0] / "sub/b").stat().st_nlink == 1:
        pytest.skip("this disk clones: nothing is shared")
    read = []
    real = content.open_to_read
    monkeypatch.setattr(content, "open_to_read", lambda path: read.append(Path(path).name) or real(path))
    site.check.run()
    assert sorted(read) == ["a", "a", "a", "b"]


def test_a_manifest_that_is_lost_comes_from_another_node(site: Site, other: Yard):
    digest = site.yard.ensure().digest
    assert other.ensure().digest == digest
    (site.yard.shelf / f"{digest}.json").unlink()
    [entry] = site.check.run() or []
    assert entry.said == "found right"
    (site.yard.shelf / f"{digest}.json").unlink()
    site.other = None
    [entry] = site.check.run() or []
    assert entry.said == "failed"
    assert "manifest" in (entry.error or "")


def test_what_is_wrong_on_this_node_comes_from_another_one(site: Site, other: Yard):
    release = site.yard.ensure()
    assert other.ensure().digest == release.digest
    site.yard.write(a="the source has moved on")
    rot(site.yard, release.digest, "a", "0ne")
    [entry] = site.check.run() or []
    assert (entry.said, entry.files, entry.source) == ("mended", 1, "n2")
    assert (release.path / "a").read_text() == "one"


def test_what_nobody_can_bring_is_said_with_the_reason(site: Site):
    release = site.yard.ensure()
    site.yard.write(a="the source has moved on")
    rot(site.yard, release.digest, "a", "0ne")
    [entry] = site.check.run() or []
    assert (entry.said, entry.release) == ("failed", release.digest)
    assert "'a' was changed" in (entry.error or "")
    assert "cannot be mended" in (entry.error or "")


def test_a_release_in_use_is_left_alone_and_said(site: Site):
    release = site.yard.ensure()
    site.yard.hold(release)
    rot(site.yard, release.digest, "a", "0ne")
    [entry] = site.check.run() or []
    assert (entry.said, entry.release) == ("failed", release.digest)
    assert "'a' was changed" in (entry.error or "")
    assert "something runs in it" in (entry.error or "")
    assert (release.path / "a").read_text() == "0ne"
    site.yard.let_go()
    [entry] = site.check.run() or []
    assert entry.said == "mended"


def test_a_run_that_starts_after_a_check_found_its_release_damaged_and_in_use_has_a_right_copy(site: Site):
    release = site.yard.ensure()
    site.yard.hold(release)
    rot(site.yard, release.digest, "a", "0ne")
    site.check.run()
    place = releases.take_place(
        site.yard.home, "p", release.digest, copy_into=site.yard.root / "own", source=site.yard.source
    )
    site.yard.holds.append(place.hold_fd)
    assert (place.cwd / "a").read_text() == "one"


def test_one_that_is_damaged_while_somebody_builds_or_sets_it_up_is_left_to_the_next_check(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(content, "BUSY_PATIENCE_S", 0.0)
    release = site.yard.ensure()
    with held(release.shelf.work(release.digest)):
        assert [one.said for one in site.check.run() or []] == ["found right"]
    rot(site.yard, release.digest, "a", "0ne")
    with held(release.shelf.work(release.digest)):
        [entry] = site.check.run() or []
    assert entry.said == "failed"
    assert "somebody is at it" in (entry.error or "")
    assert [one.said for one in site.check.run() or []] == ["mended"]


def test_what_should_be_here_and_is_not_is_fetched(site: Site, other: Yard):
    other.write(a="only there")
    digest = other.ensure().digest
    site.ledger.code.expect("p", "n1", digest)
    site.ledger.code.expect("p", "n2", OTHER)
    [entry] = site.check.run() or []
    assert (entry.said, entry.release, entry.files, entry.size_bytes) == ("brought", digest, 2, 13)
    assert entry.source == "n2"
    assert tree(site.yard.shelf / digest) == tree(other.code)
    assert [one.said for one in site.check.run() or []] == ["found right"]


def test_what_went_with_its_manifest_is_made_anew_where_the_source_is(site: Site):
    digest = site.yard.ensure().digest
    site.ledger.code.expect("p", "n1", digest)
    releases.prune(site.yard.home, "p", keep=0)
    assert not list(site.yard.shelf.glob("[0-9a-f]*"))
    [entry] = site.check.run() or []
    assert (entry.said, entry.release, entry.source) == ("brought", digest, "n1")


def test_what_should_be_here_and_cannot_be_fetched_is_said(site: Site):
    site.ledger.code.expect("p", "n1", ONE)
    [entry] = site.check.run() or []
    assert (entry.said, entry.release) == ("failed", ONE)
    assert (entry.error or "").startswith("it should be here and is not: ")


def test_after_a_release_only_that_one_is_looked_at(site: Site):
    made = site.releases(3)
    for digest in made:
        rot(site.yard, digest, "a", f"NUMBER {made.index(digest)}")
    site.yard.write(a="number 1")
    [entry] = site.check.run("p", made[1]) or []
    assert (entry.said, entry.release) == ("mended", made[1])
    assert set(site.asked) == {made[1]}
    assert site.check.run("unknown", ONE) == []


def test_two_checks_at_once_do_one(site: Site):
    digest = site.yard.ensure().digest
    seen = []

    @contextmanager
    def supply(project: str, asked: str) -> Iterator[Given]:
        seen.append(CodeCheck(this_node(site.yard.home), site.ledger, site.supply).run())
        with site.supply(project, asked) as given:
            yield given

    first = CodeCheck(this_node(site.yard.home), site.ledger, supply).run()
    assert [one.release for one in first or []] == [digest]
    assert seen == [None]
    assert len(site.ledger.code.syncs()) == 1
    assert site.check.run() is not None


def test_a_check_that_is_told_to_stop_ends_between_two_pieces(site: Site):
    for number in range(3000):
        site.yard.put(f"many/{number}", f"{number}")
    site.yard.ensure()
    check = CodeCheck(this_node(site.yard.home), site.ledger, site.supply, goes_on=lambda: not site.asked)
    assert check.run() == []
    assert site.asked, "it had begun"
    assert site.ledger.code.syncs() == []
    site.asked.clear()
    assert CodeCheck(this_node(site.yard.home), site.ledger, site.supply, goes_on=lambda: False).run() == []
    assert not site.asked


def test_a_release_that_somebody_brings_at_this_moment_is_left_to_them(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("infra_tasks.code_check.BUSY_PATIENCE_S", 0.0)
    site.ledger.code.expect("p", "n1", ONE)
    with held(Shelf(site.yard.home, "p").work(ONE)):
        [entry] = site.check.run() or []
    assert (entry.said, entry.error) == ("held", None)


def test_reading_gives_way_to_other_work(site: Site):
    from infra_tasks.releases.content import PAUSE_S, Reading, check_content

    for number in range(3000):
        site.yard.put(f"many/{number}", f"{number}")
    release = site.yard.ensure()
    paused: list[float] = []
    reading = Reading(pause=paused.append)
    check_content(release, reading)
    assert reading.files == 3002
    assert set(paused) == {PAUSE_S}


# What nobody needs.


def test_a_check_prunes_what_nobody_needs(site: Site):
    made = site.releases(8)
    wanted = site.run_for(made[0])
    site.ledger.code.expect("p", "n2", made[1])
    site.yard.hold(releases.Release(Shelf(site.yard.home, "p"), made[2]))
    site.used(made[2], LONG_AGO_S)
    site.check.run()
    assert site.here() == set(made), "5 are kept, and the 3 others are needed"
    site.ledger.runs.cancel(wanted)
    site.yard.let_go()
    site.ledger.code.expect("p", "n2", None)
    site.check.run()
    assert site.here() == set(made[3:])


def test_how_many_are_kept_stands_in_nodes_json(tmp_path: Path, ledger: Ledger, redis_process: RedisProcess):
    site = Site(tmp_path / "n1", ledger, redis_process.url, keep_releases=2)
    made = site.releases(4)
    site.check.run()
    assert site.here() == set(made[2:])


def test_a_release_that_was_asked_for_lately_is_kept(tmp_path: Path, ledger: Ledger, redis_process: RedisProcess):
    site = Site(tmp_path / "n1", ledger, redis_process.url, keep_releases=1)
    made = site.releases(3)
    site.used(made[1], 60)
    site.used(made[2], 1)
    site.check.run()
    assert site.here() == set(made[1:])


def test_a_redis_that_is_away_hinders_no_mending_and_prunes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = Scripts.persistently
    monkeypatch.setattr(Scripts, "persistently", lambda self, ask, patience_s=0: real(self, ask, 0))
    away = RedisProcess(tmp_path / "redis")
    ledger = Ledger.at(away.url)
    site = Site(tmp_path / "n1", ledger, away.url, keep_releases=1)
    made = site.releases(3)
    rot(site.yard, made[2], "a", "NUMBER 2")
    [entry] = site.check.run() or []
    assert entry.said == "mended"
    assert site.here() == set(made)
    ledger.close()


def test_a_ledger_that_may_have_forgotten_prunes_nothing(tmp_path: Path, ledger: Ledger, redis_process: RedisProcess):
    site = Site(tmp_path / "n1", ledger, redis_process.url, keep_releases=1)
    made = site.releases(3)
    ledger.claims.renew(patience_s=5, node="n1", uuid="u", slots=1, labels="[]", version="0", info="{}", live=[])
    ledger.scripts.client.hset(ledger.scripts.key("epoch"), "server", "another")
    site.check.run()
    assert site.here() == set(made)


def test_a_release_that_is_asked_for_while_others_are_pruned_stays(site: Site, monkeypatch: pytest.MonkeyPatch):
    prune = sys.modules["infra_tasks.releases.prune"]  # the package has the function under this name
    made = site.releases(3)
    real = prune.remove_tree

    def remove(shelf: Shelf, place: Path) -> None:
        site.used(made[0], 0)  # somebody ensures the other one meanwhile
        real(shelf, place)

    monkeypatch.setattr(prune, "remove_tree", remove)
    assert releases.prune(site.yard.home, "p", keep=1) == [made[1]]
    assert site.here() == {made[0], made[2]}


# What is told of a node.


def test_looking_whether_a_release_is_in_use_disturbs_nobody_and_leaves_nothing(site: Site):
    release = site.yard.ensure()
    shelf = release.shelf
    assert not in_use(shelf, release.digest)
    site.yard.hold(release)
    assert in_use(shelf, release.digest)
    site.yard.let_go()
    with held(shelf.work(release.digest)):
        assert in_use(shelf, release.digest)
    assert not in_use(shelf, ONE)
    assert not [item.name for item in shelf.releases.iterdir() if item.name.startswith(ONE)]


# Decided without a disk.


def test_what_is_to_be_done_is_decided_from_what_is_here_and_what_should_be():
    here = {"p": ["a", "b"], "q": []}
    assert duties(here, {"p": "a"}, None, None) == [Duty("p", ("a", "b"))]
    assert duties(here, {"p": "c", "r": "d"}, None, None) == [Duty("p", ("a", "b"), "c"), Duty("r", (), "d")]
    assert duties(here, {"p": "c", "r": "d"}, "r", None) == [Duty("r", (), "d")]
    assert duties(here, {"p": "c"}, "p", "a") == [Duty("p", ("a",))]
    assert duties(here, {"p": "c"}, "p", "c") == [Duty("p", (), "c")]
    assert duties(here, {"p": "c"}, "p", "z") == []
    assert duties({}, {}, None, None) == []


def test_the_line_of_a_project_names_what_is_gravest():
    findings = [
        Finding("a", "found right"),
        Finding("b", "mended", 1, 10),
        Finding("c", "failed", error="no space"),
        Finding("d", "brought", 2, 20, 7, "n2"),
        Finding("e", "failed", error="in use"),
    ]
    entry = summary("p", "n1", findings, 1.5)
    assert (entry.release, entry.said, entry.error) == ("c", "failed", "no space; in use")
    assert (entry.files, entry.size_bytes, entry.shared_files, entry.source) == (3, 30, 7, "n2")
    assert summary("p", "n1", findings[:2], 0).said == "mended"
