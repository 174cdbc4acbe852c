"""One walk through the `infra` command on a whole node, Flower's page and the pulse of beat."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from waiting import eventually
from whole_node import ROOT

pytestmark = pytest.mark.fleet

RESULT = set(
    "id state reason exit_code signal node attempt release submitted_at started_at ended_at duration_s survivors "  # noqa: SIM905
    "max_rss_bytes cpu_s stdout_tail stderr_tail outputs".split()
)


def said(node, *line, code=0):
    done = node.infra(*line)
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    return done


def shown(node, command, *line):
    return json.loads(said(node, command, "--json", *line).stdout)


def detached(node, *line):
    return shown(node, "run", "--detach", *line)["id"]


def is_in(node, run_id, state):
    return eventually(lambda: (now := shown(node, "show", run_id))["state"] == state and now, 40, f"it is {state}")


def test_run_streams_and_ends_with_the_commands_own_exit_code(node):
    done = said(node, "run", "--env", "WHO=you", "--", "sh", "-c", "echo hello $WHO; echo oops >&2; exit 42", code=42)
    assert (done.stdout, done.stderr) == ("hello you\n", "oops\n")
    assert said(node, "run", "--", "true").stdout == ""
    assert said(node, "run", "--", "sh", "-c", "kill -TERM $$", code=143)


def test_run_ends_with_124_at_the_limit_and_1_when_there_was_no_exit_code(node):
    done = said(node, "run", "--timeout", "1", "--", "sleep", "60", code=124)
    assert "limit" in done.stderr or "timeout" in done.stderr
    assert "no-such-program" in said(node, "run", "--", "no-such-program", code=1).stderr


def test_run_json_has_exactly_the_keys_of_a_result(node):
    result = shown(node, "run", "--", "echo", "x")
    assert set(result) == RESULT
    assert (result["state"], result["stdout_tail"]) == ("SUCCESS", "x\n")


def test_run_retries_when_asked(node, tmp_path):
    command = f"echo x >> {tmp_path}/tries; test $INFRA_ATTEMPT = 2"
    run_id = detached(node, "--retries", "1", "--name", "twice", "--", "sh", "-c", command)
    ended = is_in(node, run_id, "SUCCESS")
    assert ended["attempt"] == 2
    assert [event["to"] for event in ended["events"]][-4:] == ["RETRY", "QUEUED", "STARTED", "SUCCESS"]
    assert (tmp_path / "tries").read_text() == "x\nx\n"


def test_a_run_is_followed_extended_cancelled_shown_and_run_again(node):
    began = time.time()
    run_id = detached(node, "--timeout", "10m", "--name", "walker", "--", "sh", "-c", "echo one; sleep 600; echo two")
    with subprocess.Popen(
        [sys.executable, "-m", "infra_tasks.cli", "logs", "-f", run_id[:13]],
        env=node.env, cwd=ROOT, stdout=subprocess.PIPE, text=True,
    ) as following:  # fmt: skip
        assert following.stdout.readline() == "one\n"
        assert shown(node, "extend", run_id, "--by", "2m") == {"id": run_id, "timeout_s": 720}
        assert run_id in [each["id"] for each in shown(node, "runs", "--state", "started")]
        status = shown(node, "status")
        assert status["runs"]["STARTED"] >= 1
        assert shown(node, "cancel", run_id)["cancel_asked"] is True
        assert following.wait(180) == 0
    record = is_in(node, run_id, "REVOKED")
    assert set(record) >= RESULT | {"events"}
    assert (record["name"], record["stdout_tail"], record["survivors"]) == ("walker", "one\n", 0)
    for event in record["events"]:
        assert set(event) == {"moment", "from", "to", "actor", "cause", "token"}
    assert [event["to"] for event in record["events"]][-1] == "REVOKED"
    causes = " ".join(event["cause"] for event in record["events"])
    assert "cancel" in causes
    assert all(began - 2 <= record[moment] <= time.time() + 2 for moment in ("submitted_at", "started_at", "ended_at"))
    again = shown(node, "retry", run_id)
    assert again["retry_of"] == run_id
    eventually(lambda: shown(node, "show", again["id"])["state"] == "STARTED", 30, "the new run starts")
    assert shown(node, "cancel", again["id"], "--kill")["id"] == again["id"]
    assert is_in(node, again["id"], "REVOKED")["retry_of"] == run_id
    assert said(node, "logs", run_id).stdout == "one\n"


def test_status_tells_of_every_role_without_a_secret(node):
    status = shown(node, "status")
    assert set(status) >= {"node", "version", "roles", "runs", "broker", "flower_url"}
    assert [role["name"] for role in status["roles"]] == ["redis", "agent", "worker", "control", "beat", "flower"]
    for role in status["roles"]:
        assert set(role) >= {"name", "pid", "state", "since_at", "restarts"}
        assert role["pid"] == node.role_pid(role["name"])
        assert (role["state"], role["restarts"]) == ("running", 0)
    text = said(node, "status").stdout + json.dumps(status)
    for secret in (node.home / "secrets").iterdir():
        assert secret.read_text().strip() not in text


def test_flower_shows_its_page_to_who_knows_the_password_and_to_nobody_else(node):
    url = shown(node, "status")["flower_url"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url, timeout=120)
    refused.value.close()
    assert refused.value.code == 401
    password = (node.home / "secrets" / "flower.password").read_text().strip()

    def page(path):
        login = base64.b64encode(f"infra:{password}".encode()).decode()
        asked = urllib.request.Request(url.rstrip("/") + path, headers={"Authorization": f"Basic {login}"})
        try:
            with urllib.request.urlopen(asked, timeout=120) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode()

    assert "Flower" in page("/")
    run_id = shown(node, "run", "--name", "seen", "--", "true")["id"]
    eventually(lambda: "infra_tasks.run_spec" in page(f"/task/{run_id}"), 20, "Flower shows the run")
    assert (node.home / "secrets" / "flower.password").stat().st_mode & 0o777 == 0o600


def test_the_pulse_of_beat_arrives_through_broker_and_control(node, book):
    assert eventually(book.nodes.last_pulse, 60, "a tick arrived") > time.time() - 120
