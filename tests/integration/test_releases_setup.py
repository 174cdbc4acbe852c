"""The setup of a project runs once per release, under a limit, and leaves either all it made or nothing."""

from __future__ import annotations

import os
import signal
import time

import pytest
from waiting import eventually
from yard import Yard, end, tree

from infra_tasks import releases
from infra_tasks.errors import SetupFailed
from infra_tasks.releases import setup
from infra_tasks.releases.supply import LocalCarrier


@pytest.fixture
def yard(tmp_path):
    made = Yard(tmp_path)
    made.write(a="one", sub__b="two")
    yield made
    made.let_go()


@pytest.fixture
def release(yard):
    return yard.ensure()


@pytest.fixture
def tally(tmp_path):
    """A file outside of the release that gets a line per setup."""
    place = tmp_path / "tally"
    place.write_text("")
    return place


def log(yard, release):
    return (yard.home.projects / "p" / "setup" / f"{release.digest}.log").read_text()


def test_what_a_setup_makes_belongs_to_the_release_and_it_runs_once(yard, release, tally):
    makes = "mkdir -p .venv/bin sub/made && echo tool > .venv/bin/tool && echo x > sub/made/y"
    command = f"{makes} && echo said && echo >> {tally}"
    for _ in range(3):
        assert releases.run_setup(release, command) == release
        assert yard.ensure(release.digest, alone=True).damaged == ()
    assert tally.read_text() == "\n"
    assert log(yard, release) == "said\n"
    assert (release.path / ".venv/bin/tool").read_text() == "tool\n"
    assert (release.path / "sub").stat().st_mode & 0o7777 == 0o555
    (release.path / ".venv/bin/more").write_text("a program may keep things in its own folders")
    assert yard.ensure(release.digest, alone=True).damaged == ()
    own = releases.private_copy(release, yard.root / "own")
    assert (own / ".venv/bin/more").exists()


def test_an_argv_is_no_shell_line_and_the_environment_is_the_one_given(yard, release):
    releases.run_setup(release, ["/bin/sh", "-c", 'echo "$MINE:$HOME:$0"', "$(x)"], env={"MINE": "yes"})
    assert log(yard, release) == "yes::$(x)\n"


def test_a_setup_that_fails_says_its_last_lines_leaves_nothing_and_is_tried_again(yard, release, tally):
    command = f"echo half > half; echo {{1..3}} why; echo >> {tally}; test $(wc -l < {tally}) -gt 1 || exit 7"
    with pytest.raises(SetupFailed, match=r"ended with 7(.|\n)*why"):
        releases.run_setup(release, command)
    assert tree(release.path) == tree(yard.code)
    assert releases.verify(release).damaged == ()
    releases.run_setup(release, command)
    assert (release.path / "half").read_text() == "half\n"


def test_a_command_that_is_not_there_is_said(release):
    with pytest.raises(SetupFailed, match=r"cannot start 'no-such-tool'"):
        releases.run_setup(release, ["no-such-tool", "--x"])


def test_a_setup_is_killed_with_its_group_at_its_limit(release, tally, monkeypatch):
    monkeypatch.setattr(setup, "GRACE_S", 0.2)
    command = f"(trap '' TERM; echo $$ > {tally}; while :; do sleep 0.1; done) & trap '' TERM; sleep 1000 & wait"
    with pytest.raises(SetupFailed, match=r"passed its limit of 3 s"):
        releases.run_setup(release, command, limit_s=3)
    eventually(lambda: not group_of(int(tally.read_text())), said="nobody of the group is left")


def test_what_a_setup_leaves_running_is_ended_with_it(release, tally):
    releases.run_setup(release, f"sleep 1000 & echo $$ > {tally}")
    eventually(lambda: not group_of(int(tally.read_text())), said="nobody of the group is left")


def group_of(pid):
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_code_a_setup_changes_is_put_back_and_said(yard, release):
    releases.run_setup(
        release, "rm -f a && echo new > a && rm -rf sub && touch made", carrier=LocalCarrier(yard.source)
    )
    assert tree(release.path) == {**tree(yard.code), "made": ""}
    assert "the setup changed" in log(yard, release)
    assert releases.verify(release).damaged == ()


def test_runs_that_want_the_same_setup_wait_for_the_one_that_does_it(yard, release, tally):
    go = tally.with_name("go")
    command = f"echo >> {tally}; while ! test -e {go}; do sleep 0.05; done; touch made"
    code = f"""
import os
from infra_tasks.releases import take_place
place = take_place(yard.home, "p", {release.digest!r}, copy_into=yard.root / str(os.getpid()), setup={command!r})
print(place.cwd.name, sorted(os.listdir(place.cwd)), flush=True)
"""
    racers = [yard.python(code) for _ in range(3)]
    try:
        eventually(lambda: tally.read_text() == "\n", said="one of them set up")
        go.touch()
        said = {racer.communicate(timeout=180)[0] for racer in racers}
        assert said == {f"{release.digest} ['a', 'made', 'sub']\n"}
        assert tally.read_text() == "\n"
    finally:
        for racer in racers:
            end(racer)


def test_a_setup_whose_worker_was_killed_keeps_its_limit_and_the_next_run_waits_for_its_end(yard, release, tally):
    command = f"touch half; echo $$ > {tally}; sleep 1000"
    code = f"from infra_tasks.releases import *\nrun_setup(yard.ensure({release.digest!r}), {command!r}, limit_s=6)"
    worker = yard.python(code)
    try:
        eventually(lambda: tally.read_text().strip() or worker.poll() is not None, said="the setup runs")
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        began = time.monotonic()
        releases.run_setup(release, "touch whole")
        assert time.monotonic() - began > 0.5
        eventually(lambda: not group_of(int(tally.read_text())), said="nobody of the group is left")
        assert {"half", "whole"} & set(tree(release.path)) == {"whole"}
    finally:
        end(worker)


def test_another_setup_for_a_release_in_use_is_refused_and_done_when_it_is_free(yard, release):
    releases.run_setup(release, "touch first")
    yard.hold(release)
    with pytest.raises(SetupFailed, match="something still runs there"):
        releases.run_setup(release, "touch second")
    assert (release.path / "first").exists()
    yard.let_go()
    releases.run_setup(release, "touch second")
    assert {"first", "second"} & set(tree(release.path)) == {"second"}
