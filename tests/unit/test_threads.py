"""A slot of the control role comes back also when the carrying out of its task broke outside the task."""

from __future__ import annotations

import pytest
from waiting import eventually

from workers.threads import Threads

SLOTS = 2


def broken(*_args: object, **_options: object) -> None:
    raise OSError(24, "Too many open files")


def fine(*_args: object, **_options: object) -> tuple[int, str, float]:
    return 0, "done", 0.1


@pytest.fixture
def pool():
    pool = Threads(SLOTS)
    yield pool
    pool.executor.shutdown()


def test_what_broke_outside_its_task_is_told_as_failed_each_time(pool: Threads):
    told: list[tuple[int, object, float]] = []
    for _ in range(SLOTS + 1):
        pool.on_apply(broken, (), callback=told.append)
    eventually(lambda: len(told) == SLOTS + 1, 20, "all are told")
    assert [failed for failed, _, _ in told] == [1] * (SLOTS + 1)
    assert isinstance(told[0][1].exception.exc, OSError)


def test_a_task_is_carried_out_though_its_begin_could_not_be_told(pool: Threads):
    told: list[tuple[int, object, float]] = []
    pool.on_apply(fine, (), callback=told.append, accept_callback=broken)
    assert eventually(lambda: told, 20, "it is told") == [(0, "done", 0.1)]
