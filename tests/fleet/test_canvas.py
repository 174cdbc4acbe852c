"""Chains, groups and chords of runs, with runs and plain Celery tasks behind, on a whole node."""

from __future__ import annotations

import json

import pytest
from told_once import was_carried_on_once
from waiting import eventually

pytestmark = pytest.mark.fleet


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_chain_of_runs_goes_in_order_and_get_gives_the_last(call, tmp_path):
    def in_order(path):
        from celery import chain

        from infra_tasks import RunSpec, run_spec

        steps = [run_spec.s(RunSpec(command=f"sleep 0.{3 - n}; echo {n} >> {path}; echo step {n}")) for n in range(3)]
        result = chain(*steps).apply_async()
        last = result.get(timeout=180)
        return [last["stdout_tail"], result.parent.get(timeout=5)["stdout_tail"], last["id"] == result.id]

    assert call(in_order, str(tmp_path / "order")) == ["step 2\n", "step 1\n", True]
    assert (tmp_path / "order").read_text() == "0\n1\n2\n"


def test_a_chain_stops_at_a_failing_run(call, tmp_path):
    def stops(path):
        from celery import chain

        from infra_tasks import run_spec

        result = chain(run_spec.s({"command": "exit 3"}), run_spec.si({"command": f"echo x > {path}"})).apply_async()
        error = result.parent.get(timeout=180, propagate=False)
        return [type(error).__name__, error.result["exit_code"], result.state]

    assert call(stops, str(tmp_path / "never")) == ["RunFailed", 3, "PENDING"]
    assert not (tmp_path / "never").exists()


def test_a_chain_ends_in_a_plain_task_and_a_plain_task_goes_before_a_run(call):
    def mixed():
        from celery import chain
        from plain_tasks import count

        from infra_tasks import run_spec

        behind = chain(run_spec.s({"command": ["echo", "four"]}), count.s()).apply_async()
        before = chain(count.s({"stdout_tail": "x"}), run_spec.s({"command": ["echo", "after"]})).apply_async()
        return [behind.get(timeout=180), before.get(timeout=180)["stdout_tail"]]

    assert call(mixed) == [5, "after\n"]


def test_a_group_gives_its_results_in_order(call):
    def grouped():
        from celery import group

        from infra_tasks import run_spec

        result = group(run_spec.s({"command": f"sleep 0.{3 - n}; echo {n}"}) for n in range(4)).apply_async()
        said = [one["stdout_tail"] for one in result.get(timeout=180)]
        return [said, result.successful(), result.completed_count()]

    assert call(grouped) == [["0\n", "1\n", "2\n", "3\n"], True, 4]


def test_a_group_with_a_failing_run_raises_its_failure(call):
    def grouped():
        from celery import group

        from infra_tasks import run_spec

        group(run_spec.s({"command": "true"}), run_spec.s({"command": "exit 5"})).apply_async().get(timeout=180)

    raised = call.fails(grouped)
    assert (raised.kind, raised.result["exit_code"]) == ("RunFailed", 5)


def test_the_body_of_a_chord_is_a_run_that_happens_once_behind_all_parts(call, tmp_path):
    def chorded(path):
        from celery import chord

        from infra_tasks import run_spec

        parts = [run_spec.s({"command": f"echo part >> {path}"}) for _ in range(5)]
        return chord(parts, run_spec.s({"command": f"echo body >> {path}; echo all"})).apply_async().get(timeout=180)

    assert call(chorded, str(tmp_path / "effects"))["stdout_tail"] == "all\n"
    assert (tmp_path / "effects").read_text() == "part\n" * 5 + "body\n"


def test_a_plain_task_behind_a_chord_gets_all_results_in_order(call):
    def chorded():
        from celery import chord
        from plain_tasks import outputs

        from infra_tasks import run_spec

        parts = [run_spec.s({"command": f"sleep 0.{2 - n}; echo {n}"}) for n in range(3)]
        return chord(parts)(outputs.s()).get(timeout=180)

    assert call(chorded) == ["0", "1", "2"]


def test_a_chord_with_a_failing_part_raises_at_its_body_and_tells_the_errback_once(call, book, tmp_path):
    def chorded(path):
        from celery import chord
        from plain_tasks import note_failure

        from infra_tasks import run_spec

        parts = [run_spec.s({"command": "true"}), run_spec.s({"command": "exit 4"}), run_spec.s({"command": "true"})]
        body = run_spec.s({"command": f"echo body >> {path}.body"}).on_error(note_failure.s(path))
        result = chord(parts)(body)
        error = result.get(timeout=180, propagate=False)
        return [type(error).__name__, str(error), [one.id for one in result.parent.results]]

    kind, said, parts = call(chorded, str(tmp_path / "notes"))
    assert kind == "ChordError"
    assert "exit code 4" in said
    eventually(lambda: lines_of(tmp_path / "notes"), 30, "the errback ran")
    assert call(one_more) == "SUCCESS"
    assert len(lines_of(tmp_path / "notes")) == 1 or not was_carried_on_once(book, *parts)
    assert not (tmp_path / "notes.body").exists()


def one_more():
    from infra_tasks import run_spec

    return run_spec.delay({"command": ["sleep", "0.3"]}).get(timeout=180)["state"]


def test_a_group_inside_a_chain_becomes_a_chord(call, tmp_path):
    def nested(path):
        from celery import chain, group

        from infra_tasks import run_spec

        middle = group(run_spec.si({"command": f"echo middle >> {path}"}) for _ in range(3))
        steps = chain(
            run_spec.s({"command": f"echo first >> {path}"}), middle, run_spec.si({"command": f"echo last >> {path}"})
        )
        return steps.apply_async().get(timeout=180)["state"]

    assert call(nested, str(tmp_path / "order")) == "SUCCESS"
    assert (tmp_path / "order").read_text() == "first\n" + "middle\n" * 3 + "last\n"


def test_a_group_of_chains_behind_a_chord_completes(call, tmp_path):
    def nested(path):
        from celery import chain, chord

        from infra_tasks import run_spec

        parts = [
            chain(run_spec.si({"command": f"echo a >> {path}"}), run_spec.si({"command": f"echo b >> {path}"}))
            for _ in range(3)
        ]
        return chord(parts, run_spec.si({"command": f"echo end >> {path}"})).apply_async().get(timeout=180)["state"]

    assert call(nested, str(tmp_path / "order")) == "SUCCESS"
    lines = (tmp_path / "order").read_text().split()
    assert (sorted(lines[:-1]), lines[-1]) == (["a"] * 3 + ["b"] * 3, "end")


def test_a_link_behind_a_chain_and_a_failing_middle_tell_each_once(call, book, tmp_path):
    def linked(path):
        from celery import chain
        from plain_tasks import note, note_failure

        from infra_tasks import run_spec

        good = chain(run_spec.si({"command": "true"}), run_spec.si({"command": "echo end"}))
        bad = chain(
            run_spec.si({"command": "true"}), run_spec.si({"command": "exit 6"}), run_spec.si({"command": "true"})
        )
        last = good.apply_async(link=note.s(f"{path}.good"))
        last.get(timeout=180)
        return [
            last.id,
            bad.apply_async(link=note.s(f"{path}.wrong"), link_error=note_failure.s(f"{path}.bad")).parent.id,
        ]

    path = tmp_path / "notes"
    told = dict(zip(("good", "bad"), call(linked, str(path)), strict=True))
    assert eventually(lambda: lines_of(tmp_path / "notes.good"), 30, "link ran")[0]["stdout_tail"] == "end\n"
    assert "exit code 6" in eventually(lambda: lines_of(tmp_path / "notes.bad"), 30, "link_error ran")[0]["said"]
    assert call(one_more) == "SUCCESS"
    for end, run_id in told.items():
        assert len(lines_of(tmp_path / f"notes.{end}")) == 1 or not was_carried_on_once(book, run_id)
    assert lines_of(tmp_path / "notes.wrong") == []


def test_after_all_canvases_nothing_is_left_to_settle(call, book):
    assert call(one_more) == "SUCCESS"
    eventually(lambda: not book.runs.unsettled(), 40, "every end is settled")
