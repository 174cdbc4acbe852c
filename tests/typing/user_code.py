"""What a user writes, checked by mypy as strictly as it can; never run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import assert_type

import infra_tasks
from infra_tasks import (
    BadSpec,
    FleetUnreachable,
    OutputLine,
    Reason,
    ResultDict,
    RunFailed,
    RunInfo,
    RunResult,
    RunResults,
    RunRevoked,
    RunSignature,
    RunSpec,
    State,
    StillGoing,
    SubmitUnknown,
    UnknownRun,
    run_spec,
    submit_many,
)

SPEC = RunSpec(command=["python", "train.py"], project="trainer", timeout_s=60, retries=2, labels=frozenset({"gpu"}))
ONCE_MORE = RunSpec(command="true", retries=1, retry_on=(Reason.TIMEOUT,), outputs=("*.csv",), env={"SEED": "1"})


def submits() -> None:
    result = run_spec.delay(SPEC)
    assert_type(result, RunResult)
    assert_type(run_spec.delay({"command": "true"}), RunResult)
    assert_type(result.id, str)
    assert_type(result.get(timeout=5), ResultDict)
    assert_type(result.get(propagate=False), ResultDict | RunFailed)
    assert_type(result.ready(), bool)
    assert_type(run_spec.apply_async((SPEC,), countdown=5, expires=datetime.now(UTC), task_id="mine"), RunResult)
    assert_type(run_spec.AsyncResult("mine").get()["exit_code"], int | None)
    assert_type(submit_many([SPEC, {"command": "true"}]), list[RunResult])


def builds_a_canvas() -> None:
    step = run_spec.s({"command": "true"})
    assert_type(step, RunSignature)
    assert_type(run_spec.si(SPEC).set(countdown=5), RunSignature)
    (step | run_spec.si(SPEC)).apply_async()


def maps() -> None:
    results = run_spec.map({"command": ["echo", str(n)]} for n in range(3))
    assert_type(results, RunResults)
    assert_type(results.get(timeout=60), list[ResultDict])
    assert_type(results.get(propagate=False), list[ResultDict | RunFailed])
    for run in results.as_completed(timeout=60):
        assert_type(run, RunInfo)
    assert_type(
        [run.state == "SUCCESS" for run in infra_tasks.as_completed(["3fa2", results[0]], timeout_s=5)], list[bool]
    )
    assert_type(results.wait(), list[RunInfo])
    assert_type([result.id for result in results], list[str])
    assert_type(results[0], RunResult)
    assert_type(results[1:], RunResults)
    assert_type(results.ids, list[str])


def runs() -> None:
    ended = infra_tasks.run(SPEC, print, timeout_s=60)
    assert_type(ended, RunInfo)
    assert_type(ended.exit_code, int | None)
    assert_type(ended.result, ResultDict | None)
    assert_type(ended.check(), RunInfo)
    if ended.outputs:
        assert_type(ended.outputs["files"][0]["sha256"], str)
    assert_type(ended.spec, RunSpec)
    assert_type(ended.state == State.FAILURE and ended.reason == Reason.TIMEOUT, bool)
    assert_type(ended.state == "UNREACHABLE" or (ended.state == "FAILURE" and ended.reason == "timeout"), bool)

    def shows(line: OutputLine) -> None:
        assert_type(line.text, str)

    infra_tasks.run({"command": "true"}, shows, check=False, cancel_on_interrupt=True)


def looks(result: RunResult) -> None:
    for named in ("3fa2", result):
        assert_type(infra_tasks.get(named), RunInfo)
        assert_type(infra_tasks.cancel(named, kill=True), RunInfo)
    assert_type(infra_tasks.extend("3fa2", 60), RunInfo)
    assert_type(infra_tasks.retry(infra_tasks.get("3fa2")), RunInfo)
    assert_type(infra_tasks.wait(result), RunInfo)
    assert_type(infra_tasks.wait("3fa2"), RunInfo)
    assert_type(infra_tasks.wait(["3fa2", result], timeout_s=5), list[RunInfo])
    lines = infra_tasks.stream_logs(result, tail=10, since=datetime.now(UTC), stream="stderr")
    assert_type(lines, Generator[OutputLine])


async def awaits() -> None:
    assert_type(await infra_tasks.arun(SPEC, print), RunInfo)
    result = await infra_tasks.asubmit(SPEC, countdown=5)
    await infra_tasks.asubmit(SPEC, priority=3)  # type: ignore[call-arg]
    assert_type(result, RunResult)
    assert_type(await infra_tasks.asubmit_many([SPEC]), RunResults)
    async for run in infra_tasks.as_completed([result]):
        assert_type(run, RunInfo)
    assert_type(await infra_tasks.aget(result), RunInfo)
    assert_type(await infra_tasks.acancel("3fa2"), RunInfo)
    assert_type(await infra_tasks.aextend("3fa2", 60), RunInfo)
    assert_type(await infra_tasks.aretry("3fa2"), RunInfo)
    assert_type(await infra_tasks.await_runs(result), RunInfo)
    assert_type(await infra_tasks.await_runs([result]), list[RunInfo])
    lines = infra_tasks.astream_logs(result, follow=False)
    assert_type(lines, AsyncGenerator[OutputLine])
    async with aclosing(lines):
        async for line in lines:
            assert_type(line, OutputLine)


def catches() -> str:
    try:
        infra_tasks.run(SPEC)
    except RunRevoked as error:
        return str(error)
    except RunFailed as error:
        return str(error.result["stderr_tail"])
    except StillGoing as error:
        assert_type(error.ids, list[str])
    except SubmitUnknown as error:
        assert_type(error.run_id, str)
    except (BadSpec, UnknownRun, FleetUnreachable):
        pass
    return ""


def is_told_of_mistakes() -> None:
    run_spec.delay(["true"])  # type: ignore[arg-type]
    run_spec.apply_async((SPEC,), priority=3)  # type: ignore[call-arg]
    infra_tasks.run(SPEC, timeout=3)  # type: ignore[call-arg]
    infra_tasks.get(5)  # type: ignore[arg-type]
    infra_tasks.stream_logs("3fa2", stream="stdin")  # type: ignore[arg-type]
    RunSpec(command=["true"], timeout="1h")  # type: ignore[call-arg]
    _ = infra_tasks.run(SPEC).exitcode  # type: ignore[attr-defined]
    _ = infra_tasks.runn  # type: ignore[attr-defined]
