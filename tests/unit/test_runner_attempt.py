"""The folder of an attempt: its lock, its records, its orders."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise

import pytest

from infra_tasks.runner.attempt import Attempt, write_json_once


@pytest.fixture
def attempt(tmp_path):
    attempt = Attempt(tmp_path / "run" / "1")
    attempt.folder.mkdir(parents=True)
    return attempt


def test_a_lock_is_taken_once_and_free_when_its_fd_is_closed(attempt):
    assert not attempt.is_locked()
    lock = attempt.take_lock()
    assert attempt.is_locked()
    assert attempt.take_lock() is None
    assert not os.get_inheritable(lock)
    os.close(lock)
    assert not attempt.is_locked()


def test_taking_a_lock_makes_the_folder(tmp_path):
    lock = Attempt(tmp_path / "new" / "1").take_lock()
    assert lock is not None
    os.close(lock)


def test_a_lock_on_a_deleted_folder_protects_nothing(attempt):
    old = attempt.take_lock()
    shutil.rmtree(attempt.folder)
    assert not attempt.is_locked()
    new = attempt.take_lock()
    assert new is not None
    os.close(old)
    assert attempt.is_locked()
    os.close(new)


def test_who_only_looks_never_keeps_a_taker_out(attempt):
    os.close(attempt.take_lock())
    stop = threading.Event()

    def keep_looking() -> None:
        while not stop.is_set():
            attempt.is_locked()

    looker = threading.Thread(target=keep_looking)
    looker.start()
    try:
        for _ in range(50):
            lock = attempt.take_lock()
            assert lock is not None
            os.close(lock)
    finally:
        stop.set()
        looker.join()


def test_who_was_put_to_sleep_while_he_looked_keeps_no_taker_out(attempt):
    os.close(attempt.take_lock())
    looking = os.open(attempt.folder / "lock", os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    with ThreadPoolExecutor(1) as beside:
        taking = beside.submit(attempt.take_lock)
        with suppress(TimeoutError):
            taking.result(0.3)
        os.close(looking)
        lock = taking.result(180)
    assert lock is not None
    os.close(lock)


def test_orders_are_merged_also_when_given_at_once(attempt):
    orders = [{f"key_{number}": number} for number in range(20)]
    threads = [threading.Thread(target=attempt.order, kwargs=order) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert attempt.orders() == {f"key_{number}": number for number in range(20)}


def test_every_change_of_orders_changes_their_stamp(attempt):
    stamps = [attempt.orders_stamp()]
    for number in range(20):
        attempt.order(timeout_s=number)
        stamps.append(attempt.orders_stamp())
    assert stamps[0] is None
    assert all(first != second for first, second in pairwise(stamps))


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b"\xff\xff", b"null"])
def test_a_damaged_file_reads_as_none(attempt, damage):
    for name in ("record", "exit", "started"):
        (attempt.folder / f"{name}.json").write_bytes(damage)
    assert (attempt.record(), attempt.exit_record(), attempt.started()) == (None, None, None)
    (attempt.folder / "orders.json").write_bytes(damage)
    assert attempt.orders() == {}


def test_a_record_is_for_its_owner_only_and_leaves_nothing_beside(attempt):
    attempt.write_record({"env": {"PASSWORD": "secret"}})
    (path,) = attempt.folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert attempt.record() == {"env": {"PASSWORD": "secret"}}


def test_what_is_written_once_stays(attempt):
    assert write_json_once(attempt.path, "started.json", {"first": True})
    assert not write_json_once(attempt.path, "started.json", {"first": False})
    assert attempt.started() == {"first": True}
    assert len(list(attempt.folder.iterdir())) == 1
