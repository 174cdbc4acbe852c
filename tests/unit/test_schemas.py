"""JSON Schema for editors: it takes what the models take, and refuses what they refuse."""

from __future__ import annotations

import copy
import json
from functools import cache

import pytest
from jsonschema import Draft202012Validator

from infra_tasks.errors import BadFleet, BadSpec
from infra_tasks.model.fleet import parse_fleet
from infra_tasks.model.schemas import nodes_schema, spec_schema
from infra_tasks.model.spec import RunSpec

FULL = {
    "command": ["python", "train.py"],
    "project": "trainer",
    "labels": ["gpu", "gpu"],
    "env": {"A": "1", "TOKEN": {"secret": "token"}},
    "timeout_s": 60,
    "grace_s": 0,
    "memory_bytes": 1048576,
    "retries": 3,
    "retry_on": ["timeout", "exit_code"],
    "idempotency_key": "k ü",
    "expires_s": 10.5,
    "outputs": ["out/*.csv", "**/*.log", "..a/b..", "~x"],
    "private": True,
    "max_running": 2,
    "name": "night run",
    "notify": None,
}
WRONG_SPECS = [
    {},
    {"command": []},
    {"command": [" ", "x"]},
    {"command": "  "},
    {"command": [1]},
    {"command": ["a\0"]},
    {"command": "x", "comand": "y"},
    {"command": "x", "node": "../n1"},
    {"command": "x", "labels": "gpu"},
    {"command": "x", "labels": ["*"]},
    {"command": "x", "env": {"A=B": "x"}},
    {"command": "x", "env": {"INFRA_RUN": "x"}},
    {"command": "x", "env": {"A": 7}},
    {"command": "x", "env": {"A": {"secret": "a b"}}},
    {"command": "x", "env": {"A": {"secret": "a", "b": 1}}},
    {"command": "x", "timeout_s": 7201},
    {"command": "x", "timeout_s": 0},
    {"command": "x", "timeout_s": "60"},
    {"command": "x", "memory_bytes": 1048575},
    {"command": "x", "memory_bytes": "2GiB"},
    {"command": "x", "memory_bytes": 2e6 + 0.5},
    {"command": "x", "retries": 1.5},
    {"command": "x", "retries": True},
    {"command": "x", "retry_on": ["expired"]},
    {"command": "x", "retry_on": ["poisoned"]},
    {"command": "x", "retry_on": "timeout"},
    {"command": "x", "outputs": ["/etc/*"]},
    {"command": "x", "outputs": ["a/../b"]},
    {"command": "x", "outputs": [" "]},
    {"command": "x", "private": True},
    {"command": "x", "private": 1},
    {"command": "x", "max_running": 2},
    {"command": "x", "name": "n", "max_running": 0},
    {"command": "x", "notify": "me"},
    {"command": "x", "name": "a\nb"},
    {"command": "x", "idempotency_key": ""},
    "x",
    5,
    [],
]
FLEET = {
    "$schema": "./nodes.schema.json",
    "fleet": "home",
    "broker": "embedded",
    "limits": {"timeout_s": 7200},
    "nodes": {
        "mac-1": {"ssh": "local", "root": "~/.infra", "slots": 2, "labels": ["gpu"]},
        "mac-2": {"ssh": "me@mac-2.local:22", "root": "/a/..b", "secret_command": ["pass", "{name}"]},
    },
    "projects": {"hello": {"source": "~/code/hello", "node": "mac-1", "exclude": ["*.o"], "setup": ["uv", "sync"]}},
    "schedules": {
        "nightly": {"cron": "0 3 * * mon-fri", "timezone": "Europe/Berlin", "spec": {"command": "x"}},
        "beacon": {"every_s": 900, "cron": None, "missed": "skip", "overlap": "queue", "spec": {"command": ["x"]}},
    },
}
WRONG_FLEETS = [
    ("fleet", "My Home"),
    ("flet", 1),
    ("broker", "embeded"),
    ("broker", "redi://h"),
    ("broker", "redis://"),
    ("broker", "redis://h:99999"),
    ("broker", "redis://a:1,b:2"),
    ("limits.timeout_s", 7201),
    ("limits.retries", True),
    ("limits.keep_releases", 0),
    ("nodes", {}),
    ("nodes.Mac", {"ssh": "local", "root": "/x"}),
    ("nodes.mac-3", {"ssh": "local"}),
    ("nodes.mac-1.slots", 0),
    ("nodes.mac-1.slotz", 4),
    ("nodes.mac-1.labels", ["a", "a"]),
    ("nodes.mac-1.labels", ["B!"]),
    ("nodes.mac-1.root", "infra"),
    ("nodes.mac-1.root", "/"),
    ("nodes.mac-1.root", "/a/../b"),
    ("nodes.mac-1.root", ".."),
    ("nodes.mac-1.root", "/a\nb"),
    ("nodes.mac-1.ssh", "locl"),
    ("nodes.mac-1.ssh", "me@-oProxyCommand=x"),
    ("nodes.mac-1.ssh", "me@h:0"),
    ("nodes.mac-1.ssh", "me@h:65536"),
    ("nodes.mac-1.secret_command", ["pass"]),
    ("nodes.mac-1.secret_command", ["{name}", "{name}"]),
    ("projects.hello.setup", []),
    ("projects.hello.exclude", [""]),
    ("projects.hello.private", "yes"),
    ("projects.hello.max_running", 0),
    ("projects.He", {"source": "~/x", "node": "mac-1"}),
    ("schedules.Nightly", {"every_s": 1, "spec": {"command": "x"}}),
    ("schedules.nightly.cron", "0 3 * *"),
    ("schedules.nightly.every_s", 5),
    ("schedules.nightly.missed", "most"),
    ("schedules.nightly.spec", {"command": []}),
    ("schedules.beacon.every_s", 0),
    ("schedules.beacon.every_s", None),
    ("schedules.beacon.spec.idempotency_key", "k"),
    ("$schema", 5),
]


@cache
def validator(of):
    schema = {"spec": spec_schema, "nodes": nodes_schema}[of]()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def changed(path, value):
    fleet = copy.deepcopy(FLEET)
    *steps, last = path.split(".")
    place = fleet
    for step in steps:
        place = place[step]
    place[last] = value
    return fleet


@pytest.mark.parametrize("wrong", WRONG_SPECS)
def test_a_spec_that_the_model_refuses_is_refused_by_the_schema(wrong):
    if wrong != []:
        with pytest.raises(BadSpec):
            RunSpec.from_dict(wrong)
    assert not validator("spec").is_valid(wrong)
    assert not validator("spec").is_valid({"runs": [FULL, wrong]})


def test_a_spec_that_the_model_takes_is_taken_in_every_form_a_file_may_have():
    RunSpec.from_dict(FULL)
    for form in (FULL, [FULL, {"command": "x"}], {"runs": [FULL], "$schema": "x"}, {"$schema": "x", "command": "x"}):
        assert list(validator("spec").iter_errors(form)) == []
    assert not validator("spec").is_valid({"runs": [FULL], "run": 1})


@pytest.mark.parametrize("field", [name for name in RunSpec.model_fields if name != "command"])
def test_a_field_at_its_default_is_taken(field):
    value = RunSpec(command="x").model_dump(mode="json")[field]
    assert validator("spec").is_valid({"command": "x", field: value})


@pytest.mark.parametrize(("path", "value"), WRONG_FLEETS)
def test_a_fleet_that_the_model_refuses_is_refused_by_the_schema(path, value):
    with pytest.raises(BadFleet):
        parse_fleet(json.dumps(changed(path, value)))
    assert not validator("nodes").is_valid(changed(path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("fleet", "home"),
        ("broker", "rediss://user:pa%40ss@h"),
        ("broker", "redis://[::1]:6379"),
        ("broker", "redis+sentinel://:pw@a:26379,b:26379/main?db=0"),
        ("nodes.mac-1.ssh", "me@[fe80::1%eth0]:65535"),
        ("nodes.mac-1.root", "~me/x"),
        ("projects.hello.setup", "uv sync"),
        ("projects.hello.setup", None),
        ("projects", {}),
    ],
)
def test_a_fleet_that_the_model_takes_is_taken_by_the_schema(path, value):
    parse_fleet(json.dumps(changed(path, value)))
    assert list(validator("nodes").iter_errors(changed(path, value))) == []
