"""Secrets on their way to a command: real shims, a real ledger, commands that know secrets; and no trace behind."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from attempts import PYTHON, Rig
from cli_process import INFRA, Terminal, environment, infra
from waiting import eventually

from infra_tasks.errors import SecretUnavailable
from infra_tasks.model.run import Reason, State
from infra_tasks.runner import handing
from infra_tasks.runner.attempt import Attempt
from infra_tasks.secret_store.by_command import CommandFailed, ask
from infra_tasks.secret_store.file import SecretsFile
from infra_tasks.secret_store.lookup import Places, look_up
from infra_tasks.sweep import sweep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from executor_rig import ExecutorRig


VALUE = "hunter22-and-more"
ROOT = Path(__file__).parents[2]
ENV = {"PATH": os.environ["PATH"]}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path) as made:
        yield made


def written(attempt: Attempt, stream: str = "stdout") -> bytes:
    return b"".join(path.read_bytes() for path in sorted(attempt.folder.glob(f"{stream}.*")))


def files_with(folder: Path, value: str) -> list[str]:
    """Return the files below a folder that hold the value, plain or as base64 writes it."""
    needles = (value.encode(), base64.b64encode(value.encode())[:-4])
    found = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [str(path.relative_to(folder)) for path in found if any(one in path.read_bytes() for one in needles)]


def carried(rig: Rig, argv: list[str], secrets: dict[str, str]) -> tuple[Attempt, dict[str, Any]]:
    attempt = rig.attempt(argv, secrets=sorted(secrets))
    return attempt, rig.ended(attempt, rig.launch(attempt, secrets))


def test_a_command_has_its_secrets_and_nothing_on_the_disk_has_them(rig: Rig):
    program = (
        "import os, sys, base64, time\n"
        "value = os.environb[b'TOKEN']\n"
        "assert len(value) == 17\n"
        "for byte in value + b'\\n': os.write(1, bytes([byte]))\n"
        "os.write(1, b'user:' + value + b' ' + base64.b64encode(b'user:' + value) + b'\\n')\n"
        "os.write(2, b'no such key: ' + value)\n"
    )
    attempt, ended = carried(rig, [*PYTHON, program], {"TOKEN": VALUE})
    assert ended["exit_code"] == 0, written(attempt, "stderr")
    assert written(attempt) == b"***\nuser:*** dXNlcjp***Q==\n"
    assert written(attempt, "stderr") == b"no such key: ***"
    assert files_with(attempt.folder, VALUE) == []


def test_what_is_written_without_a_line_end_comes_through_while_the_command_goes_on(rig: Rig):
    argv = [*PYTHON, f"import os, time; os.write(1, b'Continue? {VALUE[:3]}'); time.sleep(60)"]
    attempt = rig.attempt(argv, secrets=["TOKEN"])
    rig.launch(attempt, {"TOKEN": VALUE})
    eventually(lambda: written(attempt) == f"Continue? {VALUE[:3]}".encode(), 30, "all of it is on the disk")


def test_many_large_secrets_come_whole(rig: Rig):
    secrets = {f"KEY_{number}": chr(65 + number) * 32_000 for number in range(6)}
    program = (
        "import os; print([len(os.environ[f'KEY_{n}']) for n in range(6)]); print(os.environ['KEY_3'][:10], end='')"
    )
    attempt, ended = carried(rig, [*PYTHON, program], secrets)
    assert ended["exit_code"] == 0
    assert written(attempt) == b"[32000, 32000, 32000, 32000, 32000, 32000]\nDDDDDDDDDD"


def test_the_words_of_a_failed_start_hold_no_secret(rig: Rig):
    attempt, ended = carried(rig, [f"/no/{VALUE}"], {"TOKEN": VALUE})
    assert ended["outcome"] == "start_failed"
    assert "/no/***" in ended["error"]
    assert VALUE not in json.dumps(attempt.exit_record())


def test_a_shim_whose_starter_died_before_it_gave_the_secrets_starts_nothing_and_counts_as_lost(rig: Rig):
    attempt = rig.attempt(["touch", str(rig.folder / "effect")], secrets=["TOKEN"])
    ended = rig.ended(attempt, rig.launch(attempt))
    assert (ended["outcome"], ended["started_at"]) == ("lost", None)
    assert "secrets" in ended["error"]
    assert not (rig.folder / "effect").exists()


def test_secrets_that_were_cut_off_are_none():
    read_end, write_end = os.pipe()
    os.write(write_end, b'{"TOKEN": "hunt')
    os.close(write_end)
    assert handing.take(read_end) is None


def test_what_fits_into_the_pipe_is_there_before_anybody_is_asked_for():
    with handing.Offer({"TOKEN": VALUE}) as offer:
        reads = os.dup(offer.fds[0])
    assert handing.take(reads) == {"TOKEN": VALUE}


KILLED = """
import os, signal, sys
from pathlib import Path
from infra_tasks.runner.attempt import Attempt
from infra_tasks.runner.launch import Zygote
attempt = Attempt(Path(sys.argv[1]))
Zygote().launch(attempt, attempt.take_lock(), secrets={"TOKEN": sys.stdin.read()})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_starter_that_is_killed_right_after_has_handed_them_over(rig: Rig):
    attempt = rig.attempt([*PYTHON, "import os; print(len(os.environ['TOKEN']))"], secrets=["TOKEN"])
    done = subprocess.run([sys.executable, "-c", KILLED, attempt.path], input=VALUE, text=True, cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    ended = eventually(attempt.exit_record, 40, "it ends")
    assert (ended["exit_code"], written(attempt)) == (0, b"17\n")


def ended(rig: ExecutorRig, run: str) -> Any:
    rig.executor.follow(run)
    told = rig.ledger.runs.get(run)
    assert told is not None
    return told


def asks(rig: ExecutorRig, *argv: str) -> None:
    raw = json.loads(rig.home.nodes_json.read_text())
    raw["nodes"]["n1"]["secret_command"] = list(argv)
    rig.home.nodes_json.write_text(json.dumps(raw))


def test_a_secret_that_is_nowhere_fails_the_start_and_says_where_it_was_looked_for(executor_rig: ExecutorRig):
    SecretsFile(executor_rig.home.secrets_json).set("github", VALUE)
    run = executor_rig.submit(env={"TOKEN": {"secret": "githup"}, "OTHER": {"secret": "absent"}})
    told = ended(executor_rig, run)
    assert (told.state, told.reason) == (State.FAILURE, Reason.START_FAILED)
    for words in ("'githup' (for TOKEN)", "did you mean 'github'?", "'absent' (for OTHER)", "infra secret set absent",
                  str(executor_rig.home.secrets_json), "node n1"):  # fmt: skip
        assert words in told.fields["cause"], told.fields["cause"]


def test_a_file_open_to_others_fails_the_start(executor_rig: ExecutorRig):
    SecretsFile(executor_rig.home.secrets_json).set("api", VALUE)
    executor_rig.home.secrets_json.chmod(0o644)
    told = ended(executor_rig, executor_rig.submit(env={"TOKEN": {"secret": "api"}}))
    assert told.reason == Reason.START_FAILED
    assert "chmod 600" in told.fields["cause"]


def test_a_retry_looks_its_secrets_up_anew(executor_rig: ExecutorRig):
    file = SecretsFile(executor_rig.home.secrets_json)
    file.set("api", "the first value")
    run = executor_rig.submit(
        command='test "$TOKEN" = "the second one"',
        env={"TOKEN": {"secret": "api"}},
        retries=1,
        retry_backoff_s=0,
        retry_on=["exit_code"],
    )
    executor_rig.executor.follow(run)
    file.set("api", "the second one")

    def follow() -> bool:
        sweep(executor_rig.ledger, "n1")
        return executor_rig.executor.follow(run).result.get("state") == State.SUCCESS

    eventually(follow, 30, "the second attempt has the second value")


def test_a_command_is_asked_once_for_each_secret_its_file_has_not(executor_rig: ExecutorRig, tmp_path: Path):
    script = tmp_path / "ask"
    script.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/asked\necho "{VALUE}-$1"\n')
    script.chmod(0o700)
    asks(executor_rig, str(script), "{name}")
    SecretsFile(executor_rig.home.secrets_json).set("kept", "kept-value")
    env = {"A": {"secret": "one"}, "B": {"secret": "one"}, "C": {"secret": "kept"}}
    run = executor_rig.submit(command=f'test "$A$B$C" = "{VALUE}-one{VALUE}-onekept-value"', env=env)
    assert ended(executor_rig, run).state == State.SUCCESS
    assert (tmp_path / "asked").read_text() == "one\n"


def test_a_cancel_ends_a_command_that_waits_for_somebody_and_no_other_is_begun(
    executor_rig: ExecutorRig, tmp_path: Path
):
    asks(executor_rig, "/bin/sh", "-c", f"echo $1 >> {tmp_path}/asked; exec sleep 600", "-", "{name}")
    run = executor_rig.submit(env={"A": {"secret": "one"}, "B": {"secret": "two"}})
    follower = Thread(target=executor_rig.executor.follow, args=(run,))
    follower.start()
    eventually((tmp_path / "asked").exists, 30, "it is asked for the first one")
    executor_rig.ledger.runs.cancel(run, actor="test")
    Attempt(executor_rig.home.attempt(run, 1)).order(stop="cancel")  # as the agent does
    follower.join(180)
    told = executor_rig.ledger.runs.get(run)
    assert told is not None
    assert told.state == State.REVOKED
    assert (tmp_path / "asked").read_text() == "one\n"


def test_a_name_is_one_argument_whatever_stands_around_it():
    assert ask([*PYTHON, "import sys; print(sys.argv[1:])", "infra/{name}"], "a.b", ENV) == "['infra/a.b']"


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (f"echo part-of-{VALUE}; echo 'no part-of-{VALUE} at redis://u:pw@h' >&2; exit 3", "with 3: no *** at redis://***@h"),
        ("kill -9 $$", "killed by signal 9"),
        ("true", "printed nothing"),
        ("sleep 120", "did not end within 0.3 s"),
        ("sleep 120 >/dev/null 2>&1", "did not end within 0.3 s"),
    ],
)  # fmt: skip
def test_a_command_that_gives_none_says_why_and_nothing_it_has_told(program: str, words: str):
    within_s = 0.3 if "0.3" in words else 30
    with pytest.raises(CommandFailed) as told:
        ask(["/bin/sh", "-c", program, "{name}"], "api", ENV, within_s=within_s)
    assert words in str(told.value)
    assert VALUE not in str(told.value)


def test_a_daemon_that_a_command_leaves_behind_holds_nobody_up():
    program = "import subprocess; print(subprocess.Popen(['sleep', '120']).pid)"
    pid = int(ask([*PYTHON, program, "{name}"], "api", ENV))
    os.kill(pid, signal.SIGKILL)


def test_a_value_that_could_not_be_masked_is_refused(tmp_path: Path):
    SecretsFile(tmp_path / "s").set("api", "abc")
    with pytest.raises(SecretUnavailable, match="shorter than 4 characters"):
        look_up({"TOKEN": "api"}, Places("n1", tmp_path / "s"))


def test_a_secret_is_asked_for_without_echo_and_kept(tmp_path: Path):
    with Terminal(tmp_path, "secret", "set", "api") as terminal:
        terminal.shows("Value of api: ")
        terminal.types(f"{VALUE}\n")
        terminal.shows("Once more: ")
        terminal.types(f"{VALUE}\n")
        assert terminal.ends() == 0
        assert VALUE not in terminal.seen
    assert SecretsFile(tmp_path / "secrets.json").read() == {"api": VALUE}
    listed = infra(tmp_path, "secret", "list", "--json")
    assert json.loads(listed.out)["secrets"] == ["api"]
    assert VALUE not in listed.out
    assert infra(tmp_path, "secret", "remove", "apy").code == 2
    assert infra(tmp_path, "secret", "remove", "api").code == 0
    assert "infra secret set" in infra(tmp_path, "secret", "list").out


def test_a_secret_is_read_from_stdin_without_its_line_end(tmp_path: Path):
    for given in (VALUE, f"{VALUE}\n", f"{VALUE}\r\n"):
        done = subprocess.run(
            [*INFRA, "secret", "set", "api"],
            input=given,
            env=environment(tmp_path),
            text=True,
            capture_output=True,
            check=True,
        )
        assert VALUE not in done.stdout + done.stderr
        assert SecretsFile(tmp_path / "secrets.json").read() == {"api": VALUE}


def test_a_secret_on_the_command_line_is_refused(tmp_path: Path):
    done = infra(tmp_path, "secret", "set", "api", VALUE)
    assert done.code == 2
    assert not (tmp_path / "secrets.json").exists()
