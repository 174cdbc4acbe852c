"""The tests' own clock: it turns the wall clock of running processes, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
import redis
from redis_process import RedisProcess
from turned_clock import TurnedClock, why_not

HOUR_S = 3600
CLOCKS = ("CLOCK_REALTIME", "CLOCK_MONOTONIC", "CLOCK_BOOTTIME")
TELL = f"""
import datetime, json, sys, time
for _ in sys.stdin:
    wall = [time.time(), datetime.datetime.now().timestamp()]
    print(json.dumps([*wall, *(time.clock_gettime(getattr(time, name)) for name in {CLOCKS!r})]), flush=True)
"""


@pytest.fixture
def clock(tmp_path):
    if missing := why_not():
        pytest.skip(missing)
    return TurnedClock(tmp_path / "clock")


def true_clocks():
    return [time.time(), time.time(), *(time.clock_gettime(getattr(time, name)) for name in CLOCKS)]


@pytest.mark.parametrize("by_s", [HOUR_S, -HOUR_S])
def test_a_running_process_sees_another_wall_clock_and_the_true_other_ones(clock, by_s):
    argv, pipe = [sys.executable, "-c", TELL], subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True, env=clock.env) as process:

        def turned():
            true = true_clocks()
            process.stdin.write("\n")
            process.stdin.flush()
            seen = json.loads(process.stdout.readline())
            return [round((at - true_at) / HOUR_S) * HOUR_S for at, true_at in zip(seen, true, strict=True)]

        assert turned() == [0, 0, 0, 0, 0]
        clock.turn(by_s)
        assert turned() == [by_s, by_s, by_s, 0, 0]
        clock.turn(0)
        assert turned() == [0, 0, 0, 0, 0]
        process.stdin.close()


def test_a_redis_goes_by_it(clock, tmp_path):
    server = RedisProcess(tmp_path / "redis", env=clock.env)
    server.start()
    try:
        with redis.Redis(port=server.port) as client:
            clock.turn(HOUR_S)
            assert client.time()[0] - time.time() > HOUR_S - 60
    finally:
        server.kill()
