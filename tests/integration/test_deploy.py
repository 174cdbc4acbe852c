"""What dispatch may rely on: a digest that is given out is somewhere, no wait is long, every trouble has its words."""

from __future__ import annotations

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from waiting import eventually
from yard import spoil, tree

from infra_tasks import deploy
from infra_tasks.errors import NodeUnreachable, ReleaseDamaged, ReleaseError
from infra_tasks.releases import ensure_release
from infra_tasks.releases.layout import Shelf
from infra_tasks.releases.locks import EXCLUSIVE, take
from infra_tasks.releases.supply import Several


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(deploy, "BUSY_PATIENCE_S", 0.2)


def at_work(home, digest):
    """Be somebody who builds or sets up a release, until the fd is closed."""
    fd = take(Shelf(home, "p").work(digest), EXCLUSIVE)
    assert fd is not None
    return fd


def here(far, **more):
    return deploy.deploy_task_to_node(far.me, far.lines, "p", "n1", **more)


def test_a_release_somebody_builds_here_and_fails_is_not_given_out(far, yard, impatient, monkeypatch):
    first = yard.snapshot().digest
    waits, wait = threading.Event(), deploy.at_home

    def at_home(*given):
        waits.set()
        return wait(*given)

    monkeypatch.setattr(deploy, "at_home", at_home)
    builder = at_work(yard.home, first)
    with ThreadPoolExecutor(1) as beside:
        coming = beside.submit(here, far)
        try:
            assert waits.wait(180)
            yard.write(a="edited meanwhile")
            with suppress(TimeoutError):  # longer than its patience
                coming.result(1)
        finally:
            os.close(builder)
        done = coming.result(180)
    assert done.digest != first
    assert tree(yard.shelf / done.digest) == tree(yard.code)


def test_a_release_somebody_builds_there_and_fails_is_at_least_here(far, yard, impatient):
    builder = at_work(far.home, yard.snapshot().digest)
    try:
        done = far.deploy()
    finally:
        os.close(builder)
    assert done.said == "busy"
    assert tree(yard.shelf / done.digest) == tree(yard.code)


def test_nobody_waits_for_a_setup_here_to_tell_that_another_node_holds_a_release(far, yard, impatient):
    digest = far.deploy().digest
    ensure_release(yard.home, "p", digest, source=yard.source)
    Shelf(yard.home, "p").seen(digest).unlink()
    setting_up = at_work(yard.home, digest)
    with ThreadPoolExecutor(1) as beside:
        coming = beside.submit(far.deploy, digest=digest)
        try:
            eventually(coming.done, 20, "dispatch goes on")
        finally:
            os.close(setting_up)
        assert coming.result().said == "held"


@pytest.mark.parametrize(("spoilt", "said"), [(False, "brought"), (True, "busy")])
def test_a_given_release_that_is_being_set_up_here_is_sent_unless_the_setup_has_changed_it(
    far, yard, impatient, spoilt, said
):
    digest = here(far).digest
    Shelf(yard.home, "p").seen(digest).unlink()
    if spoilt:
        spoil(yard.shelf / digest / "a", "other")
    setting_up = at_work(yard.home, digest)
    with ThreadPoolExecutor(1) as beside:
        coming = beside.submit(far.deploy, digest=digest)
        try:
            eventually(coming.done, 20, "dispatch goes on")
        finally:
            os.close(setting_up)
        assert coming.result().said == said
    assert far.deploy(digest=digest).said == ("brought" if spoilt else "held")


def test_what_the_disk_of_the_source_says_is_an_error_of_a_release(far, yard):
    yard.shelf.parent.mkdir(parents=True)
    yard.shelf.write_text("no folder")
    with pytest.raises(ReleaseError, match="code of p cannot be brought to n2"):
        far.deploy()


def test_a_node_without_an_address_is_an_error_of_a_release(far, yard):
    fleet = json.loads(yard.home.nodes_json.read_text())
    fleet["nodes"]["n3"] = {"ssh": "local", "root": str(yard.root / "n3")}
    yard.home.nodes_json.write_text(json.dumps(fleet))
    with pytest.raises(ReleaseError, match="n3"):
        deploy.deploy_task_to_node(far.me, far.lines, "p", "n3")


class Refusing:
    def __init__(self, error):
        self.error = error

    def manifest(self, digest):
        return None

    def bring(self, entries, tree):
        raise self.error


def test_of_several_who_cannot_one_that_is_away_makes_it_worth_asking_again():
    several = Several([Refusing(ReleaseError("moved on")), Refusing(NodeUnreachable("asleep"))])
    with pytest.raises(NodeUnreachable, match=r"moved on\nasleep"):
        several.bring([], None)


@pytest.mark.parametrize(("error", "kind"), [(NodeUnreachable, NodeUnreachable), (ReleaseError, ReleaseDamaged)])
def test_damage_only_a_node_that_is_away_can_mend_is_worth_asking_again(yard, error, kind):
    release = yard.ensure()
    release.path.chmod(0o755)
    (release.path / "a").unlink()
    with pytest.raises(kind, match="is damaged"):
        ensure_release(yard.home, "p", release.digest, carrier=Refusing(error("no")))
