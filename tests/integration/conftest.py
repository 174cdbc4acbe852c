"""A near node with a source and a far one behind a real sshd, for tests of code on its way between them.

And a fleet whose runs are accepted, taken and ended by the test, for tests of what people and programs ask of runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from executor_rig import ExecutorRig
from far_node import FarNode
from ledger_kit import Kit
from redis_process import RedisProcess
from rsync_on_path import RsyncOnPath
from run_fleet import TestFleet, fleet_at
from ssh_server import SshServer
from yard import Yard

from infra_tasks.settings import Home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from infra_tasks.ledger import Ledger


@pytest.fixture
def kit(redis_process: RedisProcess) -> Iterator[Kit]:
    """A ledger of this test's own, and what is outside of it; files that must leave it sound check it, too."""
    made = Kit(redis_process.url)
    yield made
    made.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """The sshd of far nodes; who kills it or gives it another key brings it back."""
    one = SshServer(tmp_path_factory.mktemp("sshd")).start()
    yield one
    one.close()


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    made = Yard(tmp_path)
    made.write(a="one", sub__b="two", sub__deep__c="three")
    made.put("tool", "#!/bin/sh\n").chmod(0o700)
    (made.code / "link").symlink_to("sub/b")
    return made


@pytest.fixture
def far(yard: Yard, server: SshServer, tmp_path: Path) -> Iterator[FarNode]:
    """The node that releases of `yard` go to."""
    one = FarNode(yard, tmp_path / "far", server)
    yield one
    one.close()


@pytest.fixture
def rsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RsyncOnPath:
    """What rsync is for this process and those it starts, noted and changed at will."""
    one = RsyncOnPath(tmp_path / "bin")
    monkeypatch.setenv("PATH", one.path)
    return one


@pytest.fixture
def executor_rig(tmp_path: Path, ledger: Ledger, redis_process: RedisProcess) -> Iterator[ExecutorRig]:
    """A node that takes hints in this process."""
    made = ExecutorRig(Home(tmp_path), ledger, redis_process.url)
    yield made
    made.zygote.close()


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    """A Redis of one file alone, which is emptied and frozen at will."""
    one = RedisProcess(tmp_path_factory.mktemp("redis")).start()
    yield one
    one.kill()


@pytest.fixture
def fleet(own_redis: RedisProcess, tmp_path: Path) -> Iterator[TestFleet]:
    """A fleet with one node whose Redis is somewhere else, empty at first; nobody takes its runs but the test."""
    yield from fleet_at(tmp_path / "home", own_redis.url)


@pytest.fixture(scope="module")
def shared_fleet(own_redis: RedisProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestFleet]:
    """The same for a whole file; what one test leaves in it the next one finds."""
    yield from fleet_at(tmp_path_factory.mktemp("fleet") / "home", own_redis.url)
