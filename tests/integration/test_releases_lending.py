"""Who copies a release from a node, and who sets it up there at the same time, do not hinder each other."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from far_node import FarNode
from tree_digest import digest_of
from waiting import eventually
from yard import Yard, spoil

from infra_tasks import releases
from infra_tasks.errors import ReleaseBusy, ReleaseDamaged, ReleaseError
from infra_tasks.releases.lending import lend, lendable
from infra_tasks.releases.remote.lines import Lines
from infra_tasks.releases.remote.pull import PullCarrier


@pytest.fixture
def setting_up(tmp_path):
    """Set a release up in a thread, and stay in the middle of it until the end of the test."""
    go, pool, running = tmp_path / "go", ThreadPoolExecutor(1), []

    def start(release, first="true", last="true"):
        half = tmp_path / "half"
        command = f"{first}; touch {half}; while ! test -e {go}; do sleep 0.05; done; {last}"
        running.append(pool.submit(releases.run_setup, release, command))
        eventually(lambda: half.exists() or running[-1].done(), 60, "the setup is half way")

    yield start
    go.touch()
    for one in running:
        one.result(180)
    pool.shutdown()


def test_a_setup_does_not_wait_for_who_copies_the_release(yard):
    release = yard.ensure()
    fd = lend(release)
    try:
        releases.run_setup(release, "touch made")
        assert (release.path / "made").exists()
    finally:
        os.close(fd)


def test_damage_is_mended_though_somebody_copies_the_release(yard):
    release = yard.ensure()
    fd = lend(release)
    try:
        spoil(release.path / "a", "0ne")
        assert yard.ensure(release.digest).damaged == ()
        assert (release.path / "a").read_text() == "one"
    finally:
        os.close(fd)


def test_a_release_somebody_copies_is_not_removed_and_counts_as_used(yard):
    release = yard.ensure()
    fd = lend(release)
    try:
        assert releases.prune(yard.home, "p", keep=0) == []
        assert releases.prunable(yard.home, "p", keep=0) == []
    finally:
        os.close(fd)
    assert releases.prune(yard.home, "p", keep=0) == [release.digest]
    with pytest.raises(ReleaseDamaged, match="removed in between"):
        lend(release)
    assert not list(yard.shelf.iterdir())


def test_a_release_that_is_being_set_up_can_be_fetched_by_another_node(far, yard, tmp_path, setting_up):
    taken = yard.snapshot()
    far.push(taken)
    setting_up(releases.ensure_release(far.home, "p", taken.digest))
    asking = Yard(tmp_path / "asking")
    shutil.copytree(yard.home.root / "ssh", asking.home.root / "ssh")
    lines = Lines(asking.home)
    with PullCarrier(asking.home, lambda: lines, "p", taken.digest, lambda: [far.peer]) as carrier:
        fetched = releases.ensure_release(asking.home, "p", taken.digest, carrier=carrier)
    lines.close()
    assert digest_of(fetched.path) == taken.digest


def test_code_a_setup_has_changed_so_far_is_lent_to_nobody(yard, setting_up):
    release = yard.ensure()
    setting_up(release, "cp a kept; rm -f a; echo other >a", "rm -f a; cp kept a; chmod 444 a; rm -f kept")
    with pytest.raises(ReleaseBusy):
        lendable(yard.home, "p", release.digest, patience_s=0.2)


def test_what_is_damaged_where_something_runs_in_it_is_fetched_from_the_next_node(far, yard, server, tmp_path):
    taken = yard.snapshot()
    second = FarNode(yard, tmp_path / "second", server)
    for node in (far, second):
        node.push(taken)
    running = releases.hold(releases.ensure_release(far.home, "p", taken.digest))
    spoil(far.tree(taken) / "a", "0ne")
    asking = Yard(tmp_path / "asking")
    shutil.copytree(yard.home.root / "ssh", asking.home.root / "ssh")
    lines = Lines(asking.home)

    def fetch(*peers):
        with PullCarrier(asking.home, lambda: lines, "p", taken.digest, lambda: peers) as carrier:
            return releases.ensure_release(asking.home, "p", taken.digest, carrier=carrier), carrier.fetched_from

    try:
        with pytest.raises(ReleaseError, match="'a' is damaged there"):
            fetch(far.peer)
        assert digest_of(fetch(far.peer, second.peer)[0].path) == taken.digest
    finally:
        os.close(running)
        lines.close()
        second.close()
