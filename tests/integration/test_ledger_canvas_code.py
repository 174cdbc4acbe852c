"""All runs of a canvas see one release of a project: the first that is dispatched fixes it."""

from __future__ import annotations

ONE, TWO = "1" * 64, "2" * 64


def begin(kit, run, by="d"):
    return kit.claims.dispatch("begin", run, by, node="a", actor="d")


def end(kit, run, release, by="d"):
    return kit.claims.dispatch("end", run, by, node="a", actor="d", release=release)


def first_of_a_chain(kit):
    return kit.submit(project="p", options={"embed": {"chain": [{"task": "x"}]}})


def step_of(kit, root, project="p"):
    return kit.submit(project=project, options={"headers": {"root_id": root}})


def test_a_step_gets_the_release_of_the_first_step(kit):
    first = first_of_a_chain(kit)
    assert begin(kit, first)["release"] == ""
    end(kit, first, ONE)
    step = step_of(kit, first)
    assert begin(kit, step)["release"] == ONE
    assert end(kit, step, ONE)["said"] == "ok"
    assert kit.field(step, "release") == ONE


def test_two_that_are_dispatched_at_once_agree_on_the_faster_ones_release(kit):
    root = first_of_a_chain(kit)
    slow, fast = step_of(kit, root), step_of(kit, root)
    assert begin(kit, slow, "s")["release"] == begin(kit, fast, "f")["release"] == ""
    assert end(kit, fast, ONE, "f")["said"] == "ok"
    answer = end(kit, slow, TWO, "s")
    assert (answer["said"], answer["release"]) == ("fixed", ONE)
    assert kit.state(slow) == "SYNCING"
    assert end(kit, slow, ONE, "s")["said"] == "ok"
    assert kit.state(slow) == "QUEUED"


def test_another_project_of_the_canvas_has_its_own_release(kit):
    first = first_of_a_chain(kit)
    begin(kit, first)
    end(kit, first, ONE)
    assert begin(kit, step_of(kit, first, project="q"))["release"] == ""


def test_a_run_that_belongs_to_no_canvas_fixes_nothing(kit):
    alone = kit.submit(project="p")
    begin(kit, alone)
    end(kit, alone, ONE)
    assert not kit.redis.exists(kit.key("root", alone))
    assert begin(kit, kit.submit(project="p"))["release"] == ""


def test_what_a_canvas_fixed_is_kept_as_long_as_its_results(kit):
    first = first_of_a_chain(kit)
    begin(kit, first)
    end(kit, first, ONE)
    assert 29 * 86400 < kit.redis.ttl(kit.key("root", first)) <= 30 * 86400
