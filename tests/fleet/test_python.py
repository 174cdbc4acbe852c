"""`infra_tasks` as a library on a whole node: many runs at once, runs inside tasks, threads and event loops."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.fleet


def test_mapped_specs_are_a_list_of_results_in_order_and_end_as_they_end(call, tmp_path):
    def mapped(go):
        from pathlib import Path
        from types import MappingProxyType

        from infra_tasks import RunSpec, run_spec

        results = run_spec.map(
            [
                {"command": f"until [ -e {go} ]; do sleep 0.1; done; echo slow"},
                RunSpec(command=["echo", "quick"]),
                MappingProxyType({"command": "echo other"}),
            ]
        )
        ended = []
        for one in results.as_completed(timeout=180):
            ended.append(one.stdout_tail)
            if len(ended) == 2:
                Path(go).touch()
        said = [one["stdout_tail"] for one in results.get(timeout=180)]
        ids = [one.id for one in results]
        return [ended[-1], sorted(ended), said, ids == results.ids, len(results[1:]), results[0].get()["id"] == ids[0]]

    last, ended, said, same, rest, first = call(mapped, str(tmp_path / "go"))
    assert last == "slow\n"
    assert ended == sorted(said) == ["other\n", "quick\n", "slow\n"]
    assert said == ["slow\n", "quick\n", "other\n"]
    assert (same, rest, first) == (True, 2, True)


def test_a_mapped_run_that_fails_raises_or_takes_the_place_of_its_result(call):
    def mapped():
        from infra_tasks import RunFailed, run_spec

        results = run_spec.map([{"command": "true"}, {"command": "exit 4"}])
        ends = results.get(timeout=180, propagate=False)
        try:
            results.get(timeout=180)
        except RunFailed as error:
            raised = error
        return [ends[0]["state"], str(ends[1]) == str(raised), raised.result["exit_code"], results[1].state]

    assert call(mapped) == ["SUCCESS", True, 4, "FAILURE"]


def test_nothing_of_a_map_is_accepted_when_one_spec_is_wrong(call, book):
    def wrong():
        from infra_tasks import run_spec

        run_spec.map([{"command": "true"}, {"command": "true", "retrys": 1}])

    before = sum(book.runs.counts().values())
    raised = call.fails(wrong)
    assert (raised.kind, "retries" in raised.said) == ("BadSpec", True)
    assert sum(book.runs.counts().values()) == before


def test_a_celery_task_runs_a_spec_to_its_end(call):
    def inside():
        from plain_tasks import run_inside

        return run_inside.delay({"command": "echo inside"}).get(timeout=180)

    assert call(inside) == "inside\n"


def test_threads_run_and_stream_beside_each_other(call):
    def threads():
        from concurrent.futures import ThreadPoolExecutor

        import infra_tasks

        def one(number):
            got = []
            ended = infra_tasks.run(
                {"command": f"for i in 1 2 3; do echo {number}-$i; done"}, got.append, timeout_s=180
            )
            return [line.text for line in got] == ended.stdout_tail.split() == [f"{number}-{i}" for i in (1, 2, 3)]

        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(one, range(8)))

    assert call(threads) == [True] * 8


def test_an_event_loop_submits_streams_and_waits(call):
    def loop():
        import asyncio

        import infra_tasks

        async def main():
            got = []
            results = await infra_tasks.asubmit_many([{"command": f"echo {n}"} for n in range(3)])
            single = await infra_tasks.asubmit({"command": "echo later"}, countdown=0.1)
            ran = await infra_tasks.arun({"command": "echo a; exit 2"}, lambda line: got.append(line.text), check=False)
            ended = await infra_tasks.await_runs([*results, single])
            lines = [line.text async for line in infra_tasks.astream_logs(single)]
            return [[one.stdout_tail for one in ended], got, ran.exit_code, lines]

        return asyncio.run(main())

    assert call(loop) == [["0\n", "1\n", "2\n", "later\n"], ["a"], 2, ["later"]]


def test_a_retried_run_streams_every_attempt(call):
    def retried():
        import infra_tasks

        got = []
        ended = infra_tasks.run(
            {"command": "echo attempt $INFRA_ATTEMPT; exit 1", "retries": 1, "retry_backoff_s": 0.1},
            got.append,
            check=False,
        )
        return [[(line.attempt, line.text) for line in got], ended.attempt]

    assert call(retried) == [[[1, "attempt 1"], [2, "attempt 2"]], 2]
