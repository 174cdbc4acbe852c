"""Where a cgroup is, from what /proc says of mounts and of us."""

from __future__ import annotations

import pytest

from infra_tasks.runner.cell import place

V1 = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"
V2 = "41 31 0:37 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
PART = "41 31 0:37 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"


@pytest.mark.parametrize(
    ("mounts", "kind", "option", "path", "folder"),
    [
        (V1, "cgroup", "memory", "/", "/sys/fs/cgroup/memory"),
        (V1, "cgroup", "memory", "/a/b", "/sys/fs/cgroup/memory/a/b"),
        (V2, "cgroup2", "", "/user.slice/x.service", "/sys/fs/cgroup/user.slice/x.service"),
        (f"{V1}\n{V2}", "cgroup2", "", "/x", "/sys/fs/cgroup/x"),
        (PART, "cgroup", "memory", "/docker/abc/in", "/sys/fs/cgroup/memory/in"),
        (PART, "cgroup", "memory", "/docker/abc", "/sys/fs/cgroup/memory"),
        (PART, "cgroup", "memory", "/docker/abcd", None),
        (V1, "cgroup", "cpu", "/a", None),
        (V1, "cgroup2", "", "/a", None),
        (V1, "cgroup", "memory", None, None),
        ("", "cgroup2", "", "/a", None),
        ("garbage\n- -", "cgroup", "memory", "/a", None),
    ],
)
def test_the_folder_of_a_cgroup(mounts, kind, option, path, folder):
    assert place(mounts, kind, option, path) == folder
