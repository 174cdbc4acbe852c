"""Secrets on a whole node, found afterwards in no file, record or page but their own; then the doctor's visit to it."""

from __future__ import annotations

import base64
import json
import os
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from waiting import eventually

from infra_tasks.secret_store.file import SecretsFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whole_node import WholeNode

pytestmark = pytest.mark.fleet

VALUE = "hunter22-and-more"
ASKED = "value-from-a-command"
NEEDLES = [form for value in (VALUE, ASKED) for form in (value.encode(), base64.b64encode(value.encode())[:-4])]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a line for each time the node's `secret_command` was asked."""
    return tmp_path_factory.mktemp("asked") / "asked"


@pytest.fixture(scope="module")
def node(own_node: WholeNode, asked: Path) -> WholeNode:
    """A node with one secret in its file, and a command that tells another one."""
    script, code = asked.with_name("ask"), asked.with_name("code")
    script.write_text(f'#!/bin/sh\necho "$1" >> {asked}\necho {ASKED}\n')
    script.chmod(0o700)
    code.mkdir()
    (code / "show.sh").write_text('echo "token: $TOKEN $OTHER"; echo "$TOKEN" > "$INFRA_SCRATCH/own"\n')
    own_node.write_fleet(projects={"code": {"source": str(code), "setup": "env; ! env | grep OTHER"}})
    raw = json.loads((own_node.home / "nodes.json").read_text())
    raw["nodes"]["n1"]["secret_command"] = [str(script), "{name}"]
    own_node.put_fleet(raw)
    SecretsFile(own_node.home / "secrets.json").set("api", VALUE)
    return own_node


def run(node: WholeNode, *words: str) -> dict[str, Any]:
    done = node.infra("run", "--json", "--secret", "TOKEN=api", "--secret", "OTHER=far", *words)
    return dict(json.loads(done.stdout))


def pages_of_flower(node: WholeNode, run_id: str) -> bytes:
    url = (json.loads(node.infra("status", "--json").stdout)["flower_url"] or "").rstrip("/")
    if not url:
        return b""
    password = (node.home / "secrets" / "flower.password").read_text().strip()
    login = base64.b64encode(f"infra:{password}".encode()).decode()
    texts = b""
    for path in ("/api/tasks", f"/task/{run_id}", "/tasks"):
        asked = urllib.request.Request(url + path, headers={"Authorization": f"Basic {login}"})
        try:
            with urllib.request.urlopen(asked, timeout=120) as answer:
                texts += answer.read()
        except urllib.error.HTTPError as error:  # it has not heard of the run yet
            error.close()
        except OSError:  # it starts anew, as the fleet has changed
            return b""
    return texts


def all_of(redis: Any) -> Iterator[str]:
    """Give every value of every key."""
    read = {
        "hash": redis.hgetall,
        "string": redis.get,
        "set": redis.smembers,
        "stream": redis.xrange,
        "zset": lambda key: redis.zrange(key, 0, -1),
        "list": lambda key: redis.lrange(key, 0, -1),
    }
    for key in redis.scan_iter():
        kind = redis.type(key)
        yield key
        if kind != "none":  # a queue that is empty again
            yield str(read[kind](key))


def holders(folder: Path) -> set[str]:
    """Return the files that hold a secret."""
    paths = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    return {str(path.relative_to(folder)) for path in paths if any(needle in text_of(path) for needle in NEEDLES)}


def text_of(path: Path) -> bytes:
    """Return what a file holds; nothing if it is none, or gone meanwhile: the node lives."""
    with suppress(FileNotFoundError):
        return path.read_bytes() if path.is_file() and not path.is_symlink() else b""
    return b""


def test_a_used_secret_is_found_nowhere_but_in_its_file(node: WholeNode):
    result = run(node, "--project", "code", "--", "sh", "show.sh")
    assert (result["state"], result["stdout_tail"]) == ("SUCCESS", "token: *** ***\n"), result
    failed = run(node, "--", "sh", "-c", 'echo "refused: $TOKEN" >&2; exit 3')
    assert failed["stderr_tail"] == "refused: ***\n"
    shown = node.infra("show", "--json", result["id"]).stdout
    said = [shown, *(node.infra(*line).stdout for line in (("show", failed["id"]), ("logs", result["id"]), ("runs",)))]
    assert not any(value in text for text in said for value in (VALUE, ASKED))

    pages = eventually(lambda: result["id"].encode() in (text := pages_of_flower(node, result["id"])) and text, 40)
    assert not any(needle in pages for needle in NEEDLES)
    book = node.ledger()
    try:
        everything = "".join(all_of(book.scripts.client))
    finally:
        book.close()
    assert '"TOKEN":{"secret":"api"}' in everything
    assert not any(needle.decode() in everything for needle in NEEDLES)
    own = f"runs/{result['id']}/1/scratch/own"  # the command wrote that itself
    assert holders(node.home) == {"secrets.json", own}


def test_a_child_that_dies_right_after_the_start_asks_for_nothing_twice(node: WholeNode, asked: Path, tmp_path: Path):
    before = len(asked.read_text().splitlines()) if asked.exists() else 0
    command = (
        f'touch {tmp_path}/runs; while [ ! -e {tmp_path}/go ]; do sleep 0.1; done; test "${{#OTHER}}" = {len(ASKED)}'
    )
    words = ("--secret", "OTHER=far", "--", "sh", "-c", command)
    run_id = json.loads(node.infra("run", "--json", "--detach", *words).stdout)["id"]
    eventually((tmp_path / "runs").exists, 40, "it runs")
    node.kill("children")
    (tmp_path / "go").touch()

    def ended() -> dict[str, Any] | None:
        now = json.loads(node.infra("show", "--json", run_id).stdout)
        return now if now["state"] != "STARTED" else None

    now = eventually(ended, 60, "it ends")
    assert (now["state"], now["attempt"]) == ("SUCCESS", 1)
    assert len(asked.read_text().splitlines()) == before + 1


def visited(node: WholeNode) -> tuple[int, dict[str, tuple[str, str]]]:
    done = node.infra("doctor", "--json")
    found = {each["check"]: (each["level"], each["found"]) for each in json.loads(done.stdout)["findings"]}
    return done.returncode, found


def test_the_doctor_finds_nothing_bad_on_a_living_node_and_names_what_was_killed(node: WholeNode):
    found = eventually(lambda: (seen := visited(node))[0] == 0 and seen[1], said="nothing is bad any more")
    roles = {name for name in found if name.startswith("role ")}
    assert roles == {f"role {name}" for name in node.roles}
    assert {found[name][0] for name in (*roles, "watcher", "agent", "Redis rights", "Redis persistence")} == {"ok"}
    assert found["clock"][0] == "ok"
    node.kill("watcher")
    node.kill("beat")
    eventually(lambda: not node.watcher_pid() and not node.role_pid("beat"), 40, "both are gone")
    code, found = visited(node)
    assert code == 1
    assert found["watcher"][0] == "bad"
    assert "beat" not in found["watcher"][1]
    assert "agent" in found["watcher"][1]
