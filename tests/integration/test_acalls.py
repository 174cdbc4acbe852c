"""The calls for event loops, on a real Redis that also hangs; the runs are carried out by the test."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from contextlib import aclosing

import pytest
from run_fleet import spoken_to
from waiting import eventually
from whole_node import ROOT

import infra_tasks
from infra_tasks import RunFailed, StillGoing, UnknownRun, awaiting
from infra_tasks.aside import AHEAD, THREAD_NAME, Stream
from infra_tasks.model.run import Reason, State


@pytest.fixture
def fleet(shared_fleet, monkeypatch):
    """A fleet whose only node is the test; no thread of a call is left when the test is over."""
    spoken_to(shared_fleet, monkeypatch)
    yield shared_fleet
    eventually(lambda: not threads(), 30, "every thread has ended")


def threads():
    return [each for each in threading.enumerate() if each.name == THREAD_NAME]


async def in_time(check):
    """Wait in the loop until a check holds."""
    await asyncio.to_thread(eventually, check)
    return check()


def test_arun_hands_lines_to_the_loop_and_awaits_what_handles_them(fleet):
    got, loops = [], set()

    async def handle(line):
        loops.add(asyncio.get_running_loop())
        await asyncio.sleep(0)
        got.append(line.text)

    async def main():
        running = asyncio.create_task(infra_tasks.arun({"command": ["train"]}, handle))
        taken = fleet.takes(await asyncio.to_thread(fleet.waiting_run))
        taken.writes(b"one\ntwo\n")
        await in_time(lambda: len(got) == 2)
        taken.ends(exit_code=0)
        return (await running).state, loops == {asyncio.get_running_loop()}

    assert asyncio.run(main()) == ("SUCCESS", True)
    assert got == ["one", "two"]


def test_arun_raises_how_a_run_failed_and_what_its_handler_raised(fleet):
    def broken(_line):
        raise OSError("no room for this line")

    async def main(on_output, state, reason):
        running = asyncio.create_task(infra_tasks.arun({"command": ["train"]}, on_output))
        taken = fleet.takes(await asyncio.to_thread(fleet.waiting_run))
        taken.writes(b"one\n")
        if state:
            taken.ends(state, reason, exit_code=3)
        await running

    with pytest.raises(OSError, match="no room") as raised:
        asyncio.run(main(broken, None, None))
    assert raised.value.__notes__ == [f"run {fleet.waiting_run()} goes on"]
    fleet.ledger.scripts.client.flushall()
    with pytest.raises(RunFailed) as raised:
        asyncio.run(main(None, State.FAILURE, Reason.EXIT_CODE))
    assert not hasattr(raised.value, "__notes__"), "there is nothing to add"


@pytest.mark.parametrize("cancel", [False, True])
def test_cancelling_arun_ends_its_thread_and_the_run_only_if_that_was_wanted(fleet, cancel):
    got = []

    async def main():
        running = asyncio.create_task(infra_tasks.arun({"command": ["train"]}, got.append, cancel_on_interrupt=cancel))
        taken = fleet.takes(await asyncio.to_thread(fleet.waiting_run))
        taken.writes(b"one\n")
        await in_time(lambda: got)
        running.cancel()
        with pytest.raises(asyncio.CancelledError) as raised:
            await running
        return taken.id, raised.value.__notes__

    run_id, notes = asyncio.run(main())
    assert notes == [f"run {run_id} {'is asked to stop' if cancel else 'goes on'}"]
    eventually(lambda: not threads(), 30, "its thread has ended")
    assert infra_tasks.get(run_id).cancel_asked is cancel


def test_runs_are_awaited_together_and_in_order(fleet):
    async def main():
        first, second = (fleet.takes(fleet.accepts()) for _ in range(2))
        waiting = asyncio.create_task(infra_tasks.await_runs([first.id, second.id]))
        second.ends()
        first.ends()
        one = await infra_tasks.await_runs(first.id[:9])
        return [run.id for run in await waiting] == [first.id, second.id], one.state

    assert asyncio.run(main()) == (True, "SUCCESS")


def test_runs_come_to_an_async_for_as_they_end(fleet):
    async def main():
        first, second = (fleet.takes(fleet.accepts()) for _ in range(2))
        second.ends()
        came = []
        async for run in infra_tasks.as_completed([first.id, second.id]):
            came.append(run.id)
            if run.id == second.id:
                first.ends()
        return came == [second.id, first.id]

    assert asyncio.run(main())


def test_looking_and_cancelling_are_awaited_and_raise_as_they_do_elsewhere(fleet):
    async def main():
        run_id = fleet.accepts(timeout_s=60.0)
        seen = [(await infra_tasks.aget(run_id)).state]
        seen.append((await infra_tasks.aextend(run_id, 30)).state)
        seen.append((await infra_tasks.acancel(run_id)).state)
        seen.append((await infra_tasks.aretry(run_id)).retry_of == run_id)
        with pytest.raises(UnknownRun):
            await infra_tasks.aget("zz")
        with pytest.raises(StillGoing, match=r"after 0.1 s"):
            await infra_tasks.await_runs(fleet.accepts(), timeout_s=0.1)
        return seen

    assert asyncio.run(main()) == ["QUEUED", "QUEUED", "REVOKED", True]


def test_logs_come_as_they_are_written_and_who_stops_early_leaves_no_thread(fleet):
    async def main():
        taken = fleet.takes(fleet.accepts())
        taken.writes(b"1\n2\n3\n")
        async with aclosing(infra_tasks.astream_logs(taken.id)) as lines:
            async for line in lines:
                if line.text == "2":
                    break
        await in_time(lambda: not threads())
        taken.ends()
        return [line.text async for line in infra_tasks.astream_logs(taken.id, tail=2)]

    assert asyncio.run(main()) == ["2", "3"]


def test_a_hanging_redis_holds_up_neither_the_loop_nor_its_end(fleet, own_redis, monkeypatch):
    monkeypatch.setattr(awaiting, "ANSWER_TIMEOUT_S", 600.0)
    began, ticks = threading.Event(), []

    async def reads(run_id):
        async for _ in infra_tasks.astream_logs(run_id):
            began.set()

    async def main():
        taken = fleet.takes(fleet.accepts())
        taken.writes(b"one\n")
        reading = asyncio.create_task(reads(taken.id))
        assert await asyncio.to_thread(began.wait, 180)
        os.kill(own_redis.process.pid, signal.SIGSTOP)
        waiting = asyncio.create_task(infra_tasks.await_runs(taken.id))
        await in_time(lambda: len(threads()) == 2)
        for _ in range(20):
            await asyncio.sleep(0.01)
            ticks.append(len(threads()))
        for task in (reading, waiting):
            task.cancel()
        await asyncio.gather(reading, waiting, return_exceptions=True)

    try:
        asyncio.run(main())
        assert ticks == [2] * 20, "the loop went on"
        assert len(threads()) == 2, "the loop has ended before those who hang"
    finally:
        os.kill(own_redis.process.pid, signal.SIGCONT)


@pytest.mark.parametrize(
    "call",
    [
        "infra_tasks.run({'command': 'train'}, shows, cancel_on_interrupt=True)",
        "asyncio.run(infra_tasks.arun({'command': 'train'}, shows, cancel_on_interrupt=True))",
    ],
)
def test_a_program_that_is_interrupted_has_asked_its_run_to_stop_when_it_ends(fleet, call):
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # a shell's background has it off
    program = f"{heard}\nimport asyncio, infra_tasks\ndef shows(line): print(line, flush=True)\n{call}"
    process = subprocess.Popen(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        taken = fleet.takes(fleet.waiting_run())
        taken.writes(b"one\n")
        assert process.stdout.readline() == "one\n"
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=180)[1]
    finally:
        process.kill()
    assert infra_tasks.get(taken.id).cancel_asked
    assert "KeyboardInterrupt" in said
    assert f"run {taken.id} " in said, "its traceback names the run"


def test_a_slow_reader_is_not_run_ahead_of_for_ever():
    made = []

    def numbers(_left):
        for number in range(AHEAD * 3):
            made.append(number)
            yield number

    async def main():
        stream = Stream(numbers)
        first = await anext(stream)
        await in_time(lambda: len(made) > AHEAD)
        most = len(made)
        stream.leave()
        return first, most

    first, most = asyncio.run(main())
    assert first == 0
    assert most <= AHEAD + 2
    eventually(lambda: not threads(), said="its thread has ended")
    assert len(made) <= AHEAD + 3


def test_a_loop_that_is_closed_without_a_word_leaves_no_thread_behind():
    def ticks(left):
        while not left.wait(0.01):
            yield "tick"

    async def begin():
        return await anext(Stream(ticks))

    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(begin()) == "tick"
    assert threads()
    loop.close()
    eventually(lambda: not threads(), said="its thread has ended")
