"""Every rsync command line we can build has only options that Apple's openrsync knows as well."""

from __future__ import annotations

from pathlib import Path

import pytest
from rsync_options import wrong_options

from infra_tasks.model.ssh_address import SshAddress
from infra_tasks.releases.remote.peer import Peer
from infra_tasks.releases.remote.rsync import Carry, pull_line, push_line

PATHS = (["a"], ["-rf", "--delete"], ["new\nline"], ["a\rb", "c"])
PEERS = [Peer("n2", SshAddress("me", host, 2222), root) for host in ("mac", "fe80::1%en0") for root in ("/r", "~/r x")]


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("line_of", [push_line, pull_line])
@pytest.mark.parametrize("paths", PATHS)
@pytest.mark.parametrize("peer", PEERS)
def test_only_options_both_know_are_used(line_of, paths, peer, told):
    line = line_of(Carry(peer, Path("/here"), "/there is/-a", paths, 1), Path("/tmp/x/config"), told=told)
    assert line[0] == "rsync"
    assert wrong_options(line[1:]) == []
    assert ("--from0" in line) == any(set(path) & {"\n", "\r"} for path in paths)
    assert sum(not word.startswith("-") for word in line) == 4  # rsync, the value of -e, and two places


def test_the_list_is_looked_at():
    assert wrong_options(["-a", "--mkpath", "-e", "--info", "--link-dest=--x", "--delete", "--bwlimit=1", "x"]) == [
        "--mkpath",
        "--delete",
        "--bwlimit=1",
    ]


def test_no_other_place_builds_command_lines_of_rsync():
    package = Path(__file__).resolve().parents[2]
    files = [path for folder in ("infra_tasks", "workers") for path in (package / folder).rglob("*.py")]
    builds = [path.name for path in files if "--files-from" in path.read_text() or '"rsync",' in path.read_text()]
    assert builds == ["rsync.py"]
