"""Command lines of rsync, and what its errors mean to a person."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra_tasks.errors import (
    HostKeyRefused,
    NodeUnreachable,
    ReleaseError,
    SourceChanging,
    SourceUnreadable,
    TransferBroken,
)
from infra_tasks.model.ssh_address import SshAddress
from infra_tasks.releases.remote import rsync
from infra_tasks.releases.remote.peer import Peer
from infra_tasks.releases.remote.tally import Progress, Tally

PEER = Peer("n2", SshAddress("ann", "mac-2", 2222), "/srv/infra")
CONFIG = Path("/tmp/infra-1-x/config")


def carry(*paths):
    return rsync.Carry(PEER, Path("/src/it's"), "/srv/in fra/tree", paths or ("a",), 10)


def test_the_far_folder_is_entered_never_named_as_a_remote_path():
    line = rsync.push_line(carry(), CONFIG)
    assert line[-2:] == ["/src/it's/", "ann@mac-2:."]
    assert "--rsync-path=cd '/srv/in fra/tree' && rsync" in line
    assert line[line.index("-e") + 1] == "ssh -F /tmp/infra-1-x/config -p 2222 -o HostKeyAlias=[mac-2]:2222"


def test_fetching_turns_the_two_ends_round():
    assert rsync.pull_line(carry(), CONFIG)[-2:] == ["ann@mac-2:.", "/src/it's/"]


def test_only_a_list_with_a_line_break_in_a_name_is_cut_at_zeros():
    assert "--from0" not in rsync.push_line(carry("a", "b c"), CONFIG)
    assert "--from0" in rsync.push_line(carry("a", "b\nc"), CONFIG)
    assert rsync.names(["a\nb", "c"]) == b"./a\nb\0./c\0"


def test_no_name_is_a_comment_an_option_or_empty_to_rsync():
    assert rsync.names(["#a", ";b", "-c", " d", "e\udcff"]) == b"./#a\n./;b\n./-c\n./ d\n./e\xff\n"


@pytest.mark.parametrize(
    ("code", "words", "kind", "said"),
    [
        (255, "ssh: connect to host mac-2 port 2222: Connection refused", NodeUnreachable, "Connection refused"),
        (255, "ann@mac-2: Permission denied (publickey).", NodeUnreachable, "publickey"),
        (255, "rsync: [sender] write error: Broken pipe (32)", TransferBroken, "Broken pipe"),
        (255, "Host key verification failed.", HostKeyRefused, "infra key accept n2"),
        (11, 'rsync: write failed on "x": No space left on device (28)', ReleaseError, "disk is full"),
        (11, "rsync: mkstemp failed: Read-only file system (30)", ReleaseError, "must be writable"),
        (23, 'rsync: mkstemp "/n/.l.x" failed: File name too long (36)', ReleaseError, "shorten it"),
        (23, 'rsync: send_files failed to open "/s/k": Too many open files (24)', ReleaseError, "ulimit -n"),
        (127, "sh: 1: rsync: not found", ReleaseError, "has no rsync"),
        (12, "zsh:1: command not found: rsync", ReleaseError, "has no rsync"),
        (23, 'rsync: send_files failed to open "/s/k": Permission denied (13)', SourceUnreadable, ".infraignore"),
        (24, 'file has vanished: "/s/x"', SourceChanging, "new snapshot"),
        (23, 'link_stat "/s/x" failed: No such file or directory (2)', SourceChanging, "new snapshot"),
        (-9, "", TransferBroken, "signal 9"),
        (12, "rsync: connection unexpectedly closed (0 bytes received so far)", TransferBroken, "ended with 12"),
        (None, "", TransferBroken, "was ended"),
    ],
)
def test_an_end_of_rsync_is_told_in_its_own_words_and_with_a_cure(code, words, kind, said):
    error = rsync.meaning(code, words, carry())
    assert type(error) is kind
    assert said in str(error)


def test_of_a_long_complaint_beginning_and_end_are_told_without_its_frame():
    words = "@@@@@@@\n@  WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!  @\n@@@@\n" + "\n".join(map(str, range(20)))
    said = str(rsync.meaning(255, words + "\nHost key verification failed.", carry()))
    assert "HOST KEY OF n2" in said
    assert "HAS CHANGED" in said
    assert "@@" not in said
    assert said.index("18 | 19 | Host key verification failed.")


def test_a_large_transfer_may_take_longer():
    assert rsync.deadline_s(0) == rsync.AT_LEAST_S
    assert rsync.deadline_s(2**31) > 8 * rsync.AT_LEAST_S


def test_progress_counts_a_file_when_it_is_there_not_when_it_begins():
    told: list[Progress] = []
    tally = Tally({"small": 1, "large": 2_000}, told.append)
    for path in ("large", "small"):
        tally(path)
    tally.all_are_there()
    assert [(one.files, one.size_bytes) for one in told] == [(0, 0), (1, 2_000), (2, 2_001)]
