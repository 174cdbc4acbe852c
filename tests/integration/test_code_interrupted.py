"""Whatever dies or falls silent while code is on its way: nothing half is ever there, and the next try ends right."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psutil
import pytest
from far_node import FarNode
from ssh_server import SshServer
from tree_digest import digest_of
from waiting import eventually
from yard import Yard, tree

from infra_tasks.errors import NodeUnreachable, TransferBroken
from infra_tasks.releases import ensure_release
from infra_tasks.releases.remote import rsync as rsync_module
from infra_tasks.releases.remote.lines import Lines
from infra_tasks.releases.remote.pull import PullCarrier

BIG = 2_000_000
SLOW_KIB_PER_S = 300  # far less than a second would be enough to hit the middle; a test does not wait for the end


@pytest.fixture
def half_way(far, yard, rsync):
    """A push in a process of its own that is in the middle of its one big file."""
    begun = []

    def start(first=""):
        yard.put("big", os.urandom(BIG))
        rsync.slow(SLOW_KIB_PER_S)
        begun.append(pushing(far, rsync, first))
        eventually(lambda: arriving(far) or begun[-1].poll() is not None, 60, "the first bytes arrive")
        assert begun[-1].poll() is None, begun[-1].communicate()
        return begun[-1]

    yield start
    for one in begun:
        rsync.kill(one.pid)
        one.kill()
        one.communicate()


def pushing(far, rsync, first=""):
    """Start a process that brings what the source is now to the far node as dispatch does, and says how that ended."""
    code = f"""if True:
        from infra_tasks.deploy import deploy_task_to_node
        from infra_tasks.node import this_node
        from infra_tasks.releases.remote.lines import Lines
        from infra_tasks.settings import Home
        me = this_node(Home(__import__("pathlib").Path({str(far.yard.home.root)!r})))
        {first}
        lines = Lines(me.home)
        try:
            print(deploy_task_to_node(me, lines, "p", "n2").said, flush=True)
        except Exception as error:
            print(type(error).__name__, error, flush=True)
        lines.close()
    """
    assert far.me
    env = {**os.environ, "PATH": rsync.path}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def arriving(far):
    """Say whether rsync over there has begun to write the big file."""
    return [item for item in far.shelf.glob(".building-*/.big.*") if item.stat().st_size]


def assert_next_try_is_right(far, rsync):
    rsync.does()
    far.rested()
    taken = far.yard.snapshot()
    far.push(taken)
    assert tree(far.tree(taken)) == tree(far.yard.code)
    assert far.half_built() == []


def test_kill_9_of_rsync_half_way_is_begun_anew_and_goes_through(far, rsync, half_way):
    process = half_way()
    rsync.does()
    assert rsync.kill(process.pid)
    assert process.communicate(timeout=180) == ("brought\n", "")
    assert_next_try_is_right(far, rsync)


def test_kill_9_of_the_far_rsync_half_way_is_begun_anew_and_goes_through(far, rsync, half_way):
    process = half_way()
    rsync.does()
    far.server.kill_commands("rsync", "--server")
    assert process.communicate(timeout=180) == ("brought\n", "")
    assert_next_try_is_right(far, rsync)


def test_an_rsync_that_dies_every_time_is_said_and_leaves_nothing(far, rsync, yard):
    rsync.does("kill -9 $$")
    with pytest.raises(TransferBroken, match="killed by signal 9"):
        far.push()
    assert far.trees() == far.half_built() == []
    assert_next_try_is_right(far, rsync)


def test_an_rsync_that_hangs_is_ended_at_its_own_deadline(far, rsync, monkeypatch):
    rsync.does("exec sleep 600")
    with monkeypatch.context() as soon:
        soon.setattr(rsync_module, "AT_LEAST_S", 1.0)
        with pytest.raises(TransferBroken, match=r"was ended: after 1 s"):
            far.push()
    assert rsync.running() == []
    assert far.trees() == far.half_built() == []
    assert_next_try_is_right(far, rsync)


def test_transfers_to_one_node_share_one_connection_of_ssh(rsync, yard, tmp_path):
    server = SshServer(tmp_path / "own-sshd").start()  # nobody else may still be on his way in
    far = FarNode(yard, tmp_path / "far", server)

    def logins():
        return (server.folder / "log").read_text(errors="replace").count("Accepted publickey")

    try:
        far.push()
        assert logins() == 2, "one for our line, one for rsync"
        for text in ("2", "3"):
            yard.write(a=text)
            far.push()
        assert len(rsync.lines()) == 3
        assert logins() == 2
    finally:
        far.close()
        server.close()


def test_a_link_that_is_cut_half_way_is_called_again_and_goes_through(far, rsync, half_way):
    process = half_way()
    rsync.does()
    far.server.cut()
    said, _ = process.communicate(timeout=180)
    assert said == "brought\n" or said.startswith(("NodeUnreachable", "TransferBroken")), said
    assert_next_try_is_right(far, rsync)


def test_a_link_that_stays_cut_is_said_and_the_code_goes_once_it_is_back(far, rsync, half_way):
    process = half_way()
    far.server.kill()
    far.server.cut()
    rsync.does()
    try:
        said, _ = process.communicate(timeout=180)
        assert said.startswith(("NodeUnreachable", "TransferBroken")), said
        assert f"n2 (root@127.0.0.1:{far.server.port})".replace("root", far.peer.address.user) in said
    finally:
        far.server.restart()
    assert_next_try_is_right(far, rsync)


# Only from then on: a porter may take its time to start.
IMPATIENT_ONCE = """
        import os, threading, time
        from infra_tasks.releases.remote import connecting, line, ssh_files
        ssh_files.ALIVE_EVERY_S, ssh_files.ALIVE_MISSED = 2, 3
        def lose_patience():
            while not os.path.exists({sign!r}):
                time.sleep(0.02)
            line.SILENCE_S = line.START_S = line.CONNECT_S = connecting.CONNECT_S = ssh_files.CONNECT_S = 3
        threading.Thread(target=lose_patience, daemon=True).start()
"""


def test_a_node_that_falls_silent_half_way_is_given_up(far, rsync, half_way, tmp_path):
    process = half_way(IMPATIENT_ONCE.format(sign=str(tmp_path / "impatient")))
    rsync.does()
    far.server.freeze()
    (tmp_path / "impatient").touch()
    try:
        said, _ = process.communicate(timeout=180)
        assert said.startswith(("NodeUnreachable", "TransferBroken")), said
    finally:
        far.server.thaw()
    assert_next_try_is_right(far, rsync)


def test_a_porter_killed_half_way_leaves_nothing_that_counts(far, rsync, half_way):
    process = half_way()
    rsync.does()
    far.server.kill_commands("porter")
    said, _ = process.communicate(timeout=180)
    assert said == "brought\n" or said.startswith("NodeUnreachable"), said
    assert_next_try_is_right(far, rsync)


def test_a_caller_killed_half_way_leaves_nothing_that_counts_though_its_rsync_goes_on(far, rsync, half_way):
    process = half_way()
    orphans = rsync.running(process.pid)
    process.kill()
    process.communicate()
    assert_next_try_is_right(far, rsync)
    eventually(lambda: not any(one.is_running() for one in orphans), 60, "the rsync nobody waits for has ended")
    for name in far.trees():
        assert_is_what_its_name_says(far, name)


def test_an_rsync_whose_builder_died_never_writes_into_the_tree_of_the_next(far, rsync, server, tmp_path):
    far.yard.put("big", os.urandom(BIG))
    taken = far.yard.snapshot()
    twin = Yard(tmp_path / "twin")
    shutil.copytree(far.yard.code, twin.code, symlinks=True)
    rsync.does(f"if mkdir {tmp_path}/held; then while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; fi")
    orphaned = pushing(far, rsync)
    try:
        eventually((tmp_path / "held").exists, 60, "the first rsync is about to start")
        far.server.kill_commands("porter")
        far.yard.write(a="0ne", sub__b="2wo")  # what it would bring now is not what was asked for
        far.calls_from(twin)
        rsync.slow(SLOW_KIB_PER_S)
        with ThreadPoolExecutor(1) as pool:
            second = pool.submit(far.push, twin.snapshot())
            eventually(lambda: arriving(far) or second.done(), 60, "the second is half way")
            (tmp_path / "go").touch()
            assert second.result(180).brought
        assert_is_what_its_name_says(far, taken.digest)
    finally:
        orphaned.kill()
        orphaned.communicate()


def test_a_node_whose_rsync_dies_while_it_fetches_goes_on_with_the_next_that_holds_it(far, rsync, server, tmp_path):
    far.yard.put("big", os.urandom(BIG))
    taken = far.yard.snapshot()
    far.push(taken)
    second = FarNode(far.yard, tmp_path / "second", server)
    second.push(taken)
    asking = Yard(tmp_path / "asking")
    shutil.copytree(far.yard.home.root / "ssh", asking.home.root / "ssh")
    rsync.slow(SLOW_KIB_PER_S)

    def kill_half_way():
        eventually(lambda: [one for one in asking.shelf.glob(".building-*/.big.*") if one.stat().st_size], 60, "half")
        rsync.does()
        return rsync.kill()

    lines = Lines(asking.home)
    with (
        ThreadPoolExecutor(1) as pool,
        PullCarrier(asking.home, lambda: lines, "p", taken.digest, lambda: [far.peer, second.peer]) as carrier,
    ):
        killed = pool.submit(kill_half_way)
        fetched = ensure_release(asking.home, "p", taken.digest, carrier=carrier)
        assert killed.result()
    lines.close()
    second.close()
    assert digest_of(fetched.path) == taken.digest


def test_a_fetch_that_nobody_wants_any_more_is_ended_and_leaves_nothing(far, rsync, tmp_path):
    far.yard.put("big", os.urandom(BIG))
    taken = far.yard.snapshot()
    far.push(taken)
    asking = Yard(tmp_path / "asking")
    shutil.copytree(far.yard.home.root / "ssh", asking.home.root / "ssh")
    rsync.does("exec sleep 600")
    lines, asked_for = Lines(asking.home), threading.Event()
    asked_for.set()
    with (
        ThreadPoolExecutor(1) as pool,
        PullCarrier(
            asking.home, lambda: lines, "p", taken.digest, lambda: [far.peer, far.peer], asked_for.is_set
        ) as carrier,
    ):
        fetching = pool.submit(ensure_release, asking.home, "p", taken.digest, carrier=carrier)
        eventually(lambda: list(asking.shelf.glob(".building-*")), 60, "the fetch has begun")
        asked_for.clear()
        with pytest.raises(TransferBroken, match="nobody wanted it"):
            fetching.result(180)
    lines.close()
    assert not list(asking.shelf.glob(".building-*"))


def test_two_dispatches_of_one_release_at_once_are_one_transfer(far, rsync, yard):
    yard.put("big", os.urandom(BIG))
    rsync.slow(4_000)
    taken = yard.snapshot()
    with ThreadPoolExecutor(4) as pool:
        ends = [end.result(timeout=180) for end in [pool.submit(far.push, taken) for _ in range(4)]]
    assert [end.brought.files for end in ends if end.brought] == [5]
    assert len(rsync.lines()) == 1
    assert tree(far.tree(taken)) == tree(yard.code)


def test_different_releases_and_projects_go_side_by_side(far, rsync, yard):
    taken = []
    for number in range(4):
        yard.write(a=f"{number}")
        taken.append(yard.snapshot())
        far.push(taken[-1])
    assert [(far.tree(one) / "a").read_text() for one in taken] == list("0123")


@pytest.mark.timeout(1800)  # it is twenty pushes, one after the other
def test_killed_at_any_moment_the_next_try_is_right(far, rsync, yard):
    seed = int(os.environ.get("INTERRUPT_SEED", "7"))
    print(f"INTERRUPT_SEED={seed}")  # noqa: T201  shown when the test fails
    chance = random.Random(seed)
    for number in range(60):
        yard.put(f"d{number % 7}/f{number}", os.urandom(20_000))
    for number in range(20):
        yard.write(a=f"round {number}")
        yard.put(f"d{number % 7}/new{number}", os.urandom(300_000))
        rsync.slow(1500)
        process = pushing(far, rsync)
        victim = chance.choice([process_itself, near_rsync, far_rsync, porter, session])
        until = chance.uniform(0, 1.2)
        with suppress(subprocess.TimeoutExpired):
            process.wait(until)
        victim(far, rsync, process)
        if chance.random() < 0.5:
            rsync.does()
        with suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0, 1))
        near = rsync.running(process.pid)
        process.kill()
        process.communicate()
        for one in near:
            with suppress(psutil.Error):
                one.kill()
        for name in far.trees():
            assert_is_what_its_name_says(far, name)
        if number % 4 == 3:
            assert_next_try_is_right(far, rsync)
    assert_next_try_is_right(far, rsync)


def process_itself(far, rsync, process):
    process.kill()


def near_rsync(far, rsync, process):
    rsync.kill(process.pid)


def far_rsync(far, rsync, process):
    far.server.kill_commands("rsync", "--server")


def porter(far, rsync, process):
    far.server.kill_commands("porter")


def session(far, rsync, process):
    far.server.cut()


def assert_is_what_its_name_says(far, name):
    """Hash a release over there anew, from its files alone."""
    assert digest_of(far.shelf / name) == name


def test_a_node_that_cannot_be_reached_is_said_at_once(far, yard):
    port = far.server.port
    far.server.kill()
    try:
        with pytest.raises(NodeUnreachable, match=rf":{port}"):
            far.push()
    finally:
        far.server.restart()
