"""`infra doctor` as a process, over real Redis servers and a real sshd that something is wrong with."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from cli_process import Terminal, infra
from redis_process import RedisProcess, refusing_port

from infra_tasks.cli.doctor import redis as of_redis
from infra_tasks.cli.doctor import ssh
from infra_tasks.errors import FleetUnreachable
from infra_tasks.ledger.connect import client, fleet_of
from infra_tasks.ledger.examine import examine
from infra_tasks.model.fleet import new_fleet
from infra_tasks.settings import Home

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from far_node import FarNode
    from ssh_server import SshServer

    from infra_tasks.cli.doctor.finding import Finding

Told = dict[str, tuple[str, str, str | None]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    """A Redis of this file alone: its settings and users are changed."""
    one = RedisProcess(tmp_path_factory.mktemp("redis"), password="pw-of-redis-77").start()
    yield one
    one.kill()


def doctor(home: Path, *words: str) -> tuple[int, Told, str]:
    """Return exit code, what was found by check, and all that was printed."""
    done = infra(home, "doctor", "--json", *words, HOME=str(home))
    said = json.loads(done.out)
    assert said["ok"] is (done.code == 0)
    assert "Traceback" not in done.err
    found = {each["check"]: (each["level"], each["found"], each["cure"]) for each in said["findings"]}
    return done.code, found, done.out + done.err


def told(findings: Iterable[Finding]) -> Told:
    return {each.check: (each.level.value, each.found, each.cure) for each in findings}


def with_broker(folder: Path, url: str) -> Path:
    file = folder / "nodes.json"
    file.write_text(json.dumps({**new_fleet("f", "n1", root=str(folder)), "broker": url}))
    file.chmod(0o600)
    return folder


def test_without_a_fleet_it_says_how_to_make_one_and_how_this_machine_is(tmp_path: Path):
    code, found, _ = doctor(tmp_path)
    assert code == 1
    assert found["nodes.json"][::2] == ("bad", "infra init")
    assert {"Python", "rsync", "disk", "open files", "watcher", "service", "secrets"} <= set(found)


def test_a_broken_fleet_is_told_with_all_its_mistakes_and_the_rest_is_looked_at(tmp_path: Path):
    (tmp_path / "nodes.json").write_text('{"fleet": "f", "nodes": {"n1": {"ssh": "local", "rot": "/x"}}}')
    code, found, _ = doctor(tmp_path)
    assert code == 1
    assert "did you mean 'root'" in found["nodes.json"][1]
    assert "Python" in found


def test_a_redis_that_does_not_answer_is_one_finding_among_the_others(tmp_path: Path):
    with refusing_port() as port:
        code, found, printed = doctor(with_broker(tmp_path, f"redis://:hidden-pw@127.0.0.1:{port}/0"))
    assert code == 1
    assert found["Redis"][0] == "bad"
    assert "ledger" not in found, "what follows from it is no finding of its own"
    assert "hidden-pw" not in printed
    assert {"Python", "folders", "watcher"} <= set(found)


def test_a_login_that_may_not_do_everything_still_gets_a_whole_report(tmp_path: Path, store: RedisProcess):
    with client(store.url) as redis:
        redis.execute_command(
            "ACL", "SETUSER", "half", "on", ">half-password", "~*", "&*", "+@all", "-config", "-brpop"
        )
    code, found, printed = doctor(with_broker(tmp_path, f"redis://half:half-password@127.0.0.1:{store.port}/0"))
    assert code == 1
    assert found["Redis persistence"][0] == "warning"
    assert found["Redis rights"][0] == "bad"
    assert "BRPOP refused" in found["Redis rights"][1]
    assert found["Redis version"][0] == "ok"
    assert found["agent"][0] == "warning", "the ledger was asked too"
    assert "half-password" not in printed


def test_a_fleet_with_warnings_only_ends_with_0_and_names_the_file_that_others_can_read(
    tmp_path: Path, store: RedisProcess
):
    home = with_broker(tmp_path, store.url)
    code, found, printed = doctor(home)
    assert (code, found["watcher"][0]) == (0, "warning"), found
    assert store.password not in printed
    (home / "nodes.json").chmod(0o644)
    code, found, _ = doctor(home)
    assert (code, found["secrets"][2]) == (1, f"chmod 600 '{home / 'nodes.json'}'")


def test_settings_of_a_redis_that_lose_runs_are_seen(store: RedisProcess):
    changes = (
        ("Redis persistence", "warning", {"appendfsync": "everysec"}),
        ("Redis persistence", "bad", {"appendonly": "no"}),
        ("Redis memory", "bad", {"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}),
    )
    with client(store.url) as redis:
        for check, level, settings in changes:
            before = {name: redis.config_get(name)[name] for name in settings}
            for name, value in settings.items():
                redis.config_set(name, value)
            found = told(of_redis.judge(examine(store.url), embedded=False))
            for name, value in before.items():
                redis.config_set(name, value)
            assert found[check][0] == level, found
            assert "CONFIG SET" in found[check][2]
    assert told(of_redis.judge(examine(store.url), embedded=False))["Redis persistence"][0] == "ok"


def test_a_redis_that_lets_nobody_in_is_said_without_its_password(store: RedisProcess):
    with pytest.raises(FleetUnreachable, match="refuses the login") as refused:
        examine(store.url.replace(store.password, "wrong-password"))
    assert "wrong-password" not in str(refused.value)


def looked(far: FarNode) -> Told:
    home = far.yard.home
    return told(ssh.look(home, fleet_of(home), "n2", "0.1.0"))


def test_a_node_behind_ssh_is_called_and_says_how_its_machine_is(far: FarNode):
    found = looked(far)
    assert found["ssh"][0] == "ok"
    assert {"version", "Python", "rsync", "open files", "disk", "clock"} <= set(found)
    assert found["clock"][0] == "ok"


def test_a_changed_host_key_and_a_server_that_is_gone_are_said_with_their_cures(far: FarNode, server: SshServer):
    try:
        server.restart(new_host_key=True)
        code, found, _ = doctor(far.yard.home.root, "--node", "n2")
        assert code == 1
        assert found["host key"][0] == "bad"
        assert "HAS CHANGED" in found["host key"][1]
        assert found["host key"][2] == "infra key accept n2"
        assert "watcher" not in found, "only n2 was asked for"
        server.kill()
        assert looked(far)["ssh"][0] == "bad"
        assert "true` works" in str(looked(far)["ssh"][2])
    finally:
        server.restart()


def test_a_folder_over_there_that_was_never_a_node_is_said(far: FarNode):
    far.called = str(far.root.with_name("nobody"))
    far.calls_from(far.yard)
    assert "infra up --detach" in str(looked(far)["ssh"][2])


def test_a_person_sees_what_is_waited_for_and_the_cures_below(tmp_path: Path):
    with Terminal(tmp_path, "doctor", columns=60) as terminal:
        terminal.shows("looking at ")
        terminal.shows("do: infra init")
        assert terminal.ends() == 1
        assert "1 bad" in terminal.seen
        lines = [re.sub(r"\x1b\[[0-9;]*[mK]", "", line).split("\r")[-1] for line in terminal.seen.split("\r\n")]
        assert max(map(len, lines)) <= 60
    done = infra(tmp_path, "doctor")
    assert "looking at" not in done.out + done.err
    assert "\x1b" not in done.out


def test_a_node_that_is_not_there_is_wrong_use(tmp_path: Path):
    home = with_broker(tmp_path, "embedded")
    done = infra(home, "doctor", "--node", "n11")
    assert (done.code, "did you mean 'n1'" in done.err) == (2, True)


def test_home_is_a_node_of_its_file(tmp_path: Path):
    home = Home(with_broker(tmp_path, "embedded"))
    raw = json.loads(home.nodes_json.read_text())
    raw["nodes"]["n1"]["root"] = "/elsewhere"
    home.nodes_json.write_text(json.dumps(raw))
    _, found, _ = doctor(tmp_path)
    assert found["node"][::2] == ("bad", "export INFRA_HOME=/elsewhere")
