"""Messages to a porter: whole however they come in pieces, and read in one go however long they are."""

from __future__ import annotations

import json
import os
import threading
import time

import pytest

from infra_tasks.releases.remote.porter import Ended, Wire

LONG_BYTES = 64_000_000
# Many times what it takes to read so much once; going over all of it for each piece takes longer still.
WITHIN_S = 6.0


@pytest.fixture
def pipe():
    fds = os.pipe()
    yield fds
    for fd in fds:
        os.close(fd)


@pytest.fixture
def wire(pipe):
    return Wire(pipe[0], 2)


def say(fd, text):
    rest = memoryview(text.encode())
    while rest:
        rest = rest[os.write(fd, rest) :]


def test_a_message_of_a_huge_project_is_read_at_once(pipe, wire):
    text = json.dumps({"x": "a" * LONG_BYTES}) + "\n"
    writer = threading.Thread(target=say, args=(pipe[1], text))
    writer.start()
    began = time.thread_time()
    assert len(wire.hear(600)["x"]) == LONG_BYTES
    took_s = time.thread_time() - began
    assert took_s < WITHIN_S
    writer.join()


def test_messages_come_one_by_one_and_signs_of_life_are_passed_over(pipe, wire):
    say(pipe[1], '{"alive":true}\n{"do":"a"}\n{"do"')
    assert wire.hear(5) == {"do": "a"}
    with pytest.raises(TimeoutError):
        wire.hear(0)
    say(pipe[1], ':"b"}\n')
    assert wire.hear(5) == {"do": "b"}


def test_who_hangs_up_in_the_middle_has_ended():
    read, write = os.pipe()
    say(write, '{"do"')
    os.close(write)
    with pytest.raises(Ended):
        Wire(read, 2).hear(5)
    os.close(read)
