"""Machines of their own on one: network namespaces whose links can be cut, one by one.

    this machine ---- hub ---- n1
                       |------ n2 ...

Every place has one link to the hub, which passes packets on. Needs root and Linux.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

NAME = "infra-test"
SYSTEM_PATH = "/usr/sbin:/sbin"  # `ip` may not be on a user's PATH
NOBODY = ("lladdr", "02:00:00:00:00:00")
NETS = 512  # 198.18.0.0/15 is set aside for tests of networks (RFC 2544), in pieces of 256 addresses


def need_networks() -> None:
    """Skip the test where no network can be made; in CI that is an error."""
    missing = why_not()
    if missing and os.environ.get("CI"):
        pytest.fail(f"tests with cut links must run in CI, but {missing}")
    if missing:
        pytest.skip(missing)


def why_not() -> str:
    """Return why no network can be made here, "" when it can."""
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    if not _ip_binary():
        return "there is no `ip` (Linux: iproute2)"
    name = f"{NAME}-{os.getpid()}-probe"
    made = _ip("netns", "add", name, check=False)
    if made.returncode == 0:
        _ip("netns", "del", name)
    return made.stderr.strip()


class Network:
    """The places by name. `close` takes everything down again."""

    def __init__(self, *names: str) -> None:
        _remove_what_dead_tests_left()
        self._number = self._claim_number()
        first, second = divmod(self._number, 256)
        self._net = f"198.{18 + first}.{second}"
        self._hub = self._space("hub")
        self._places = {name: number for number, name in enumerate(names, start=1)}
        try:
            self._make_hub()
            for name in names:
                self._make_place(name)
        except BaseException:
            self.close()
            raise

    @property
    def here(self) -> str:
        """This machine, as the places see it."""
        return f"{self._net}.0"

    def host(self, name: str) -> str:
        """Return the address of a place."""
        return f"{self._net}.{2 * self._places[name] + 1}"

    def inside(self, name: str) -> tuple[str, ...]:
        """Return what to put before a command that is to run there."""
        return ("nsenter", f"--net=/run/netns/{self._space(name)}")

    def cut(self, name: str) -> None:
        """Take its link down: what is open falls silent, what is new finds no way."""
        _ip("-n", self._hub, "link", "set", self._link(name), "down")

    def deafen(self, name: str) -> None:
        """Drop what is sent to it, and let through what it sends: half open, and nobody is told."""
        _ip("-n", self._hub, "route", "add", "blackhole", f"{self.host(name)}/32")

    def mute(self, name: str) -> None:
        """Let through what is sent to it, and lose what it sends: it has a wrong idea of who the hub is."""
        _ip(
            "-n",
            self._space(name),
            "neigh",
            "replace",
            self._hub_side(name),
            *NOBODY,
            "dev",
            "eth0",
            "nud",
            "permanent",
        )

    def heal(self, name: str) -> None:
        _ip("-n", self._hub, "link", "set", self._link(name), "up")
        _ip("-n", self._hub, "route", "del", "blackhole", f"{self.host(name)}/32", check=False)
        _ip("-n", self._space(name), "neigh", "del", self._hub_side(name), "dev", "eth0", check=False)

    def pids(self, name: str) -> list[int]:
        """Return every process of a place, whoever started it."""
        space = f"net:[{Path('/run/netns', self._space(name)).stat().st_ino}]"
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (process / "ns" / "net").readlink().name == space:
                    found.append(int(process.name))
        return found

    def close(self) -> None:
        _ip("link", "del", self._link("here"), check=False)
        for name in ["hub", *self._places]:
            _ip("netns", "del", self._space(name), check=False)

    def _space(self, name: str) -> str:
        return f"{NAME}-{os.getpid()}-{self._number}-{name}"

    def _hub_side(self, name: str) -> str:
        return f"{self._net}.{2 * self._places[name]}"

    def _link(self, name: str) -> str:
        return f"it{self._number}-{name}"[:15]

    def _claim_number(self) -> int:
        """Take a piece of the test network: whoever made its first link has it."""
        for number in itertools.islice(itertools.cycle(range(NETS)), os.getpid() % NETS, NETS + os.getpid() % NETS):
            made = _ip(
                "link", "add", f"it{number}-here", "type", "veth", "peer", "name", f"it{number}-hub", check=False
            )
            if made.returncode == 0:
                return number
        raise AssertionError(f"no link could be made: {made.stderr}")

    def _make_hub(self) -> None:
        _ip("netns", "add", self._hub)
        _ip("-n", self._hub, "link", "set", "lo", "up")
        _run(*self.inside("hub"), "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        _ip("link", "set", self._link("hub"), "netns", self._hub)
        _ip("addr", "add", f"{self._net}.0/31", "dev", self._link("here"))
        _ip("-n", self._hub, "addr", "add", f"{self._net}.1/31", "dev", self._link("hub"))
        _ip("link", "set", self._link("here"), "up")
        _ip("-n", self._hub, "link", "set", self._link("hub"), "up")
        _ip("route", "add", f"{self._net}.0/24", "via", f"{self._net}.1")

    def _make_place(self, name: str) -> None:
        space, link, hub_side = self._space(name), self._link(name), self._hub_side(name)
        _ip("netns", "add", space)
        _ip("-n", self._hub, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
        _ip("-n", self._hub, "addr", "add", f"{hub_side}/31", "dev", link)
        _ip("-n", space, "addr", "add", f"{self.host(name)}/31", "dev", "eth0")
        _ip("-n", self._hub, "link", "set", link, "up")
        for own in ("lo", "eth0"):
            _ip("-n", space, "link", "set", own, "up")
        _ip("-n", space, "route", "add", "default", "via", hub_side)


def _remove_what_dead_tests_left() -> None:
    for line in _ip("netns", "list").stdout.splitlines():
        name = line.split()[0]
        with suppress(ValueError, IndexError):
            if name.startswith(NAME) and not psutil.pid_exists(int(name.split("-")[2])):
                _ip("netns", "del", name, check=False)


def _ip_binary() -> str | None:
    return shutil.which("ip", path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}")


def _ip(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return _run(_ip_binary() or "ip", *words, check=check)


def _run(*argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=180)
    assert not (check and done.returncode), f"{' '.join(argv)}: {done.stderr}"
    return done
