"""A machine: its Python, its rsync, its open files, its disk, its clock, its version of infra."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from infra_tasks.cli.doctor.finding import bad, ok, warning
from infra_tasks.cli.spans import words
from infra_tasks.model.amounts import bytes_in_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra_tasks.cli.doctor.finding import Finding
    from infra_tasks.releases.machine import Machine

OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)
# A run has two pipes and a few files, a transfer a handful per connection; Redis wants some hundreds for itself.
FEW_FILES, TOO_FEW_FILES = 1024, 256
LITTLE_DISK_BYTES, TOO_LITTLE_DISK_BYTES = 5 * 1024**3, 512 * 1024**2
# Spans and leases are measured by clocks that know no date; moments in records are compared by people.
OFF_S, FAR_OFF_S = 2.0, 60.0
RSYNC = "rsync"
INSTALL = {"Darwin": "brew install {0}", "Linux": "sudo apt install {0}"}


def judge(machine: Machine) -> Iterator[Finding]:
    """Say what is to be thought of it."""
    yield _python(machine)
    yield _rsync(machine)
    yield _open_files(machine)
    yield _disk(machine)


def judge_clock(offset_s: float, unsure_s: float, against: str) -> Finding:
    """Say what is to be thought of a clock that is `offset_s` ahead of that of `against`, give or take `unsure_s`."""
    least_s = max(0.0, abs(offset_s) - unsure_s)
    said = f"{words(abs(offset_s))} {'ahead of' if offset_s > 0 else 'behind'} {against}"
    cure = "set the clock by the network: sudo sntp -sS time.apple.com (macOS), sudo timedatectl set-ntp true (Linux)"
    if least_s > FAR_OFF_S:
        return bad("clock", said, cure)
    if least_s > OFF_S:
        return warning("clock", f"{said}: moments of runs are told wrong", cure)
    return ok("clock", f"agrees with {against}")


def judge_version(theirs: str, ours: str) -> Finding:
    """Say what is to be thought of a node's version of infra."""
    if theirs == ours:
        return ok("version", f"infra {theirs}")
    cure = "bring all nodes to one version: on each infra down --keep, install it, infra up --detach (docs/upgrade.md)"
    return warning("version", f"infra {theirs}, here {ours}", cure)


def _python(machine: Machine) -> Finding:
    version = tuple(int(part) for part in machine.python.split(".")[:2])
    said = f"{machine.python} ({machine.executable})"
    if version < OLDEST_PYTHON:
        return bad("Python", f"{said}; the oldest that works is 3.11", "make setup PYTHON=/path/to/python3.12")
    if version > NEWEST_PYTHON:
        return warning("Python", f"{said}; newer than any this was tried with", "make setup PYTHON=/path/to/python3.13")
    return ok("Python", said)


def _rsync(machine: Machine) -> Finding:
    cure = _install(machine, RSYNC)
    if machine.rsync is None:
        return bad(RSYNC, "there is none on PATH: no code and no outputs go between nodes", cure)
    if "openrsync" in machine.rsync:
        return ok(RSYNC, "openrsync (Apple's)")
    found = re.search(r"version v?(\d+)\.(\d+)(?:\.(\d+))?", machine.rsync)
    if found is None:
        return bad(RSYNC, f"something else calls itself rsync: {machine.rsync}", cure)
    said = ".".join(part for part in found.groups() if part)
    if int(found[1]) < 3:
        return warning(RSYNC, f"{said}, of 2006: slow with many files, and mistaken about some names", cure)
    return ok(RSYNC, f"{said} (GNU)")


def _open_files(machine: Machine) -> Finding:
    limit = machine.open_files
    said = "no limit" if limit < 0 or limit > 1 << 40 else f"at most {limit}"
    cure = "ulimit -n 8192 where the node is started (launchd: SoftResourceLimits, systemd: LimitNOFILE)"
    if 0 <= limit < TOO_FEW_FILES:
        return bad("open files", f"{said}: runs and transfers fail under load", cure)
    if 0 <= limit < FEW_FILES:
        return warning("open files", f"{said}: few for many runs at once", cure)
    return ok("open files", said)


def _disk(machine: Machine) -> Finding:
    free = machine.disk_free_bytes
    said = f"{bytes_in_words(free)} free of {bytes_in_words(machine.disk_bytes)}"
    cure = "free some space: `infra release prune` removes releases nobody needs"
    if free < TOO_LITTLE_DISK_BYTES:
        return bad("disk", f"{said}: nothing more can be accepted or run", cure)
    if free < LITTLE_DISK_BYTES:
        return warning("disk", f"{said}: little for code, output and Redis", cure)
    return ok("disk", said)


def _install(machine: Machine, package: str) -> str:
    return INSTALL.get(machine.system, "install {0}").format(package)
