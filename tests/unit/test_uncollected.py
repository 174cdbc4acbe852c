"""Python's collector rests while somebody wants that, and is as before when the last one is done."""

from __future__ import annotations

import gc
import threading

import pytest

from infra_tasks.releases.uncollected import uncollected


def test_it_rests_until_the_last_one_is_done_also_when_that_ends_badly():
    assert gc.isenabled()
    inside, go_on = threading.Event(), threading.Event()

    def other():
        with uncollected():
            inside.set()
            assert go_on.wait(180)

    thread = threading.Thread(target=other)

    def fail():
        with uncollected():
            thread.start()
            assert inside.wait(180)
            raise ValueError("in the middle")

    try:
        with pytest.raises(ValueError, match="in the middle"):
            fail()
        assert not gc.isenabled()
    finally:
        go_on.set()
        thread.join()
    assert gc.isenabled()


def test_who_had_it_off_has_it_off_afterwards():
    gc.disable()
    try:
        with uncollected(), uncollected():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
