"""The file with a node's secrets: what is kept, and what is refused with what to do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from threading import Thread

import pytest

from infra_tasks.errors import BadFleet, SecretUnavailable
from infra_tasks.model.fleet import new_fleet, parse_fleet
from infra_tasks.secret_store.file import SecretsFile
from infra_tasks.secret_store.lookup import Places, look_up


@pytest.fixture
def file(tmp_path):
    return SecretsFile(tmp_path / "home" / "secrets.json")


def test_what_is_set_is_read_by_its_owner_alone(file):
    assert file.read() == {}
    assert file.set("api", "hunter22\nö") is False
    assert file.set("api", "hunter33") is True
    assert file.read() == {"api": "hunter33"}
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.remove("api") is True
    assert file.remove("api") is False
    assert file.read() == {}


def test_secrets_set_at_once_are_all_kept(file):
    writers = [Thread(target=file.set, args=(f"n{number}", "value")) for number in range(20)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    assert len(file.read()) == 20
    assert sorted(path.name for path in file.path.parent.iterdir()) == ["secrets.json", "secrets.json.lock"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_file_open_to_others_is_refused_with_the_chmod(file, mode):
    file.set("api", "hunter22")
    file.path.chmod(mode)
    for do in (file.read, lambda: file.set("b", "hunter33")):
        with pytest.raises(SecretUnavailable, match=f"chmod 600 '{file.path}'") as told:
            do()
        assert "hunter22" not in str(told.value)


def test_a_link_to_elsewhere_is_refused(file, tmp_path):
    file.set("api", "hunter22")
    file.path.rename(tmp_path / "elsewhere")
    file.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SecretUnavailable, match="is a link to"):
        file.read()
    with pytest.raises(SecretUnavailable, match="is a link to"):
        file.set("b", "hunter33")


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused_at_once_and_costs_no_descriptor(file, make):
    file.path.parent.mkdir()
    make(file.path, 0o600)
    lowest = os.dup(0)
    os.close(lowest)
    for _ in range(3):
        with pytest.raises(SecretUnavailable, match="is no file"):
            file.read()
    assert os.dup(0) == lowest
    os.close(lowest)


def test_what_a_killed_one_was_writing_is_gone_with_the_next_change(file):
    file.set("api", "hunter22")
    code = (
        "import os, signal\nfrom pathlib import Path\nfrom infra_tasks.secret_store.file import SecretsFile\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"SecretsFile(Path({str(file.path)!r})).set('api', 'hunter33')"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert file.read() == {"api": "hunter22"}
    file.set("api", "hunter44")
    assert not [path.name for path in file.path.parent.iterdir() if b"hunter33" in path.read_bytes()]


def test_half_a_character_is_refused_in_words(file):
    file.set("api", "hunter22")
    file.path.write_text('{"api": "hunter\\ud800"}')
    with pytest.raises(SecretUnavailable, match="half a character"):
        look_up({"TOKEN": "api"}, Places("n1", file.path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_refused(file):
    file.set("api", "hunter22")
    os.chown(file.path, 12345, -1)
    with pytest.raises(SecretUnavailable, match="belongs to another user"):
        file.read()


@pytest.mark.parametrize("text", ["hunter22", '{"api": "hunter22",}', '["hunter22"]', '{"api": {"a": "hunter22"}}'])
def test_a_damaged_file_is_refused_without_a_word_of_it(file, text):
    file.set("api", "value")
    file.path.write_text(text)
    with pytest.raises(SecretUnavailable, match="allowed: ") as told:
        file.read()
    assert "hunter22" not in str(told.value)


def fleet_with(command):
    raw = new_fleet("f", "n1")
    raw["nodes"]["n1"]["secret_command"] = command
    return parse_fleet(json.dumps(raw))


def test_a_command_for_secrets_is_a_list_with_a_place_for_the_name():
    assert fleet_with(["pass", "infra/{name}"]).nodes["n1"].secret_command == ("pass", "infra/{name}")
    for wrong in (["pass", "name"], "pass {name}", [], ["{name}", "{name}"], [3]):
        with pytest.raises(BadFleet, match=r"nodes\.n1\.secret_command") as told:
            fleet_with(wrong)
        assert '"{name}"' in str(told.value) or wrong == [3], told.value
