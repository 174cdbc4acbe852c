"""A schedule as users write it: what is right is taken, what is wrong is told with its place and the nearest word."""

from __future__ import annotations

import json

import pytest

from infra_tasks.errors import BadFleet, BadInput
from infra_tasks.model.fleet import parse_fleet
from infra_tasks.model.schedule import schedule_of

SPEC = {"command": ["true"]}
FLEET = {
    "fleet": "home",
    "nodes": {"mac-1": {"ssh": "local", "root": "~/.infra"}},
    "projects": {"trainer": {"source": "~/code", "node": "mac-1"}},
}


def refused(**said) -> str:
    with pytest.raises(BadInput) as caught:
        schedule_of({"spec": SPEC, **said}, "schedule s")
    return str(caught.value)


def test_what_is_left_out_has_the_documented_default():
    schedule = schedule_of({"cron": " 0  3 * * MON-fri", "spec": SPEC}, "s")
    assert (schedule.cron, schedule.timezone, schedule.missed, schedule.overlap) == (
        "0 3 * * mon-fri",
        "UTC",
        "one",
        "skip",
    )
    assert schedule_of(schedule.as_json(), "s") == schedule


@pytest.mark.parametrize("line", ["@daily", "0 0 l * *", "*/5 0-6,20 1 jan-mar ?", "0 0 * * 5#3", "0 0 29 2 *"])
def test_lines_as_crontabs_have_them_are_taken(line):
    assert schedule_of({"cron": line, "spec": SPEC}, "s").timetable.following(0)


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({}, "either 'cron' or 'every_s' says when; found neither"),
        ({"cron": "@daily", "every_s": 5}, "either 'cron' or 'every_s' says when; found both"),
        ({"cron": "0 3 * *"}, 'cron: found "0 3 * *"; allowed: a cron line of five fields'),
        ({"cron": "0 3 * * * *"}, "allowed: a cron line of five fields"),
        ({"cron": "@dayly"}, "did you mean '@daily'?"),
        ({"cron": "@reboot"}, "allowed: a cron line"),
        ({"cron": "r r * * *"}, "allowed: a cron line"),
        ({"cron": "h 3 * * *"}, "allowed: a cron line"),
        ({"cron": "61 * * * *"}, "out of range"),
        ({"cron": "0 0 30 2 *"}, "there is no such day"),
        ({"cron": "@daily", "timezone": "Europe/Berlni"}, "did you mean 'Europe/Berlin'?"),
        ({"cron": "@daily", "timezone": "../etc/passwd"}, "timezone: found"),
        ({"every_s": 60, "timezone": "Europe/Berlin"}, "'timezone' goes with 'cron'"),
        ({"every_s": 0}, "every_s: found 0; allowed: a whole number from 1"),
        ({"every_s": 1.5}, "every_s: found 1.5"),
        ({"every": 5}, "every: unknown; did you mean 'every_s'?"),
        ({"every_s": 5, "missed": "non"}, 'missed: found "non"; allowed: "skip", "one" or "all"'),
        ({"every_s": 5, "missed": "all"}, "missed 'all' goes with overlap 'queue' or 'allow'; 'skip' would"),
        ({"every_s": 5, "spec": {"comand": "x"}}, "spec.comand: unknown; did you mean 'command'?"),
        ({"every_s": 5, "spec": {"command": "x", "idempotency_key": "k"}}, "spec.idempotency_key: leave it out"),
        ({"every_s": 5, "spec": 5}, "spec: found 5; allowed: an object with command"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_is_allowed(said, complaint):
    assert complaint in refused(**said)


def test_mistakes_in_nodes_json_are_told_all_at_once_with_their_lines():
    fleet = {**FLEET, "schedules": {"s": {"every_s": 5, "spec": {"command": "x", "node": "mac1", "project": "triner"}},
                                    "t": {"cron": "x", "spec": SPEC}}}  # fmt: skip
    text = json.dumps(fleet, indent=1)
    with pytest.raises(BadFleet) as caught:
        parse_fleet(text)
    told = str(caught.value)
    line = next(number for number, each in enumerate(text.splitlines(), start=1) if "mac1" in each)
    assert f"nodes.json:{line}:" in told
    assert "schedules.s.spec.node: found \"mac1\", no such node; did you mean 'mac-1'?" in told
    assert "schedules.s.spec.project: found \"triner\", no such project; did you mean 'trainer'?" in told
    assert 'schedules.t.cron: found "x"; allowed' in told


def test_a_fleet_without_projects_says_so_to_a_schedule_that_names_one():
    fleet = {**FLEET, "projects": {}, "schedules": {"s": {"every_s": 5, "spec": {**SPEC, "project": "trainer"}}}}
    with pytest.raises(BadFleet, match="no such project \\(there is none\\)"):
        parse_fleet(json.dumps(fleet))
