"""Who belongs to an attempt, decided on tables that were read before: pure."""

from __future__ import annotations

import os

from infra_tasks.runner.clock import process_started
from infra_tasks.runner.processes import Process, carries_cookie, descendants, look, parse_ps, parse_stat
from infra_tasks.runner.tree import belonging

STAT = b"42 (we) ird) \n(name) S 7 41 40 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 1234 1000 250 rest"

PS = """\
    1     0     1 Ss    9000 /sbin/launchd
  501     1   501 S     2048 /bin/zsh -l HOME=/Users/me INFRA_COOKIE=abcdef TERM=xterm
  502   501   501 Z        0 (sleep)
  503   501   501 T+     512 python train.py INFRA_COOKIE=abc NOTE=two\\012lines
  USER PID nonsense
  504   501   501 S      100
"""


def one(pid, ppid, sid, *, zombie=False):
    """Return a process of a table."""
    return Process(pid, ppid, sid, sid, zombie, 0, float(pid))


def table(*processes):
    """Return a table of processes."""
    return {process.pid: process for process in processes}


def test_a_name_with_brackets_and_newlines_does_not_confuse():
    process = parse_stat(STAT)
    assert (process.pid, process.ppid, process.pgid, process.sid, process.zombie) == (42, 7, 41, 40, False)
    assert process.started == 1234 / os.sysconf("SC_CLK_TCK")
    assert process.rss_bytes == 250 * os.sysconf("SC_PAGE_SIZE")


def test_a_zombie_is_dead_unless_other_threads_of_it_live():
    assert not parse_stat(STAT.replace(b") S 7", b") Z 7")).zombie
    assert parse_stat(STAT.replace(b") S 7", b") Z 7").replace(b" 20 0 3 0 ", b" 20 0 1 0 ")).zombie


def test_ps_of_macos_is_read_with_environments_and_garbage_is_skipped():
    found = parse_ps(PS)
    assert sorted(found) == [1, 501, 502, 503, 504]
    assert found[503][:3] == (503, 501, 501)
    assert found[502].zombie
    assert not found[503].zombie
    assert found[501].rss_bytes == 2048 * 1024
    assert carries_cookie(found[501].environment, "abcdef")
    assert carries_cookie(found[503].environment, "abc")
    assert not carries_cookie(found[501].environment, "abc"), "only as a whole word"
    assert not carries_cookie(found[504].environment, "abc")


def test_descendants_are_found_at_any_depth_without_the_root():
    seen = table(one(1, 0, 1), one(10, 1, 10), one(11, 10, 10), one(12, 11, 12), one(20, 1, 20))
    assert descendants(seen, {10}) == {11, 12}


def test_a_session_belongs_when_its_leader_does_or_is_gone():
    seen = table(one(1, 0, 1), one(30, 1, 30), one(31, 1, 30), one(41, 1, 40), one(42, 1, 40), one(43, 42, 43))
    assert belonging(seen, {30}, set()) == {30, 31}
    assert belonging(seen, {41}, set()) == {41, 42, 43}


def test_a_session_whose_leader_is_a_zombie_belongs():
    seen = table(one(1, 0, 1), one(50, 1, 50, zombie=True), one(51, 1, 50), one(52, 1, 50))
    assert belonging(seen, {51}, set()) >= {51, 52}


def test_a_strangers_session_is_left_alone():
    seen = table(one(1, 0, 1), one(60, 1, 60), one(61, 60, 60), one(62, 61, 60))
    assert belonging(seen, {61}, set()) == {61, 62}


def test_the_session_of_init_and_of_the_kernel_never_belongs():
    seen = table(one(1, 0, 1), one(2, 0, 0), one(3, 2, 0), one(70, 1, 1), one(71, 1, 0))
    assert belonging(seen, {70, 71}, set()) == {70, 71}


def test_we_see_ourselves_as_we_are():
    me = look()[os.getpid()]
    assert (me.ppid, me.sid, me.pgid, me.zombie) == (os.getppid(), os.getsid(0), os.getpgrp(), False)
    assert process_started(me.pid) == process_started(os.getpid())
    assert process_started(2**22 + 1) is None
