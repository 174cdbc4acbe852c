"""A near node with a source and a far one behind a real sshd, for tests of code on its way between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from executor_rig import ExecutorRig
from far_node import FarNode
from rsync_on_path import RsyncOnPath
from ssh_server import SshServer
from yard import Yard

from infra_tasks.settings import Home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis_process import RedisProcess

    from infra_tasks.ledger import Ledger


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
