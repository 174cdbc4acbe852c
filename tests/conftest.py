"""Shared fixtures. Folders of tests are no packages: `waiting` is importable because this folder is on the path."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

from redis_process import RedisProcess

# Who is started in the background is deaf to Ctrl-C, and so are its children: tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples everywhere, however busy the machine is.
settings.register_profile(
    "everywhere", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("everywhere")

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra_tasks.ledger import Ledger


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    """One Redis for all tests of this worker that share it (keys by prefix); never restarted."""
    server = RedisProcess(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()


@pytest.fixture
def ledger(redis_process: RedisProcess) -> Iterator[Ledger]:
    """A ledger of its own inside the shared Redis."""
    from infra_tasks.ledger import Ledger

    opened = Ledger.at(redis_process.url, prefix=f"t{uuid4().hex[:8]}:")
    yield opened
    opened.close()
