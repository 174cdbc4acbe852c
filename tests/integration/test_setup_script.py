"""scripts/packages.sh on machines that lack something: apt and Python are small scripts on a PATH of their own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from textwrap import dedent

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
BASH = shutil.which("bash") or "/bin/bash"


class Machine:
    """A PATH on which only what is put there can be found."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.log = folder / "log"
        self.bin.mkdir()
        self.log.touch()
        for name in ("env", "touch"):
            self.link(name, shutil.which(name))
        self.has("id", "echo 0")

    def link(self, name: str, target: str | None) -> None:
        assert target, name
        (self.bin / name).symlink_to(target)

    def has(self, name: str, script: str) -> None:
        file = self.bin / name
        file.write_text(f"#!{BASH}\n{dedent(script)}\n")
        file.chmod(0o755)

    def has_python(self, name: str, version: tuple[int, int], *, venv: bool = True) -> None:
        """Put a Python there that answers the questions of packages.sh; without venv until a file says otherwise."""
        self.has(
            name,
            f"""
            case "$2" in
                *ensurepip*) [ {int(venv)} = 1 ] || [ -e {self.log}.venv ] ;;
                *print*) echo {version[0]}.{version[1]} ;;
                *exit*) [ {int((3, 11) <= version <= (3, 13))} = 1 ] ;;
                pass) true ;;
                *) echo Python {version[0]}.{version[1]}.0 ;;
            esac
            """,
        )

    def has_apt(self, then: str = "true") -> None:
        self.has("apt-get", f'echo "apt-get $*" >>{self.log}\n[ "$1" = update ] || {then}')

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BASH, "-c", f"set -euo pipefail; . {SCRIPTS}/packages.sh; {command}"],
            env={"PATH": str(self.bin)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    @property
    def did(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_first_python_that_fits_is_taken(machine):
    machine.has_python("python3", (3, 9))
    machine.has_python("python3.13", (3, 13), venv=False)
    machine.has_python("python3.12", (3, 12))
    machine.has_python("python3.11", (3, 11))
    assert machine.run("find_python").stdout.strip() == f"{machine.bin}/python3.12"


def test_a_machine_without_a_fitting_python_is_told_what_to_install(machine):
    machine.has_python("python3", (3, 14))
    answer = machine.run("find_python")
    assert answer.returncode == 1
    assert "no Python 3.11, 3.12 or 3.13 on PATH (python3 is: Python 3.14.0)" in answer.stderr
    assert "apt install python3 python3-venv" in answer.stderr
    assert "brew install python@3.13" in answer.stderr


def test_a_python_without_venv_gets_it_from_apt(machine):
    machine.has_python("python3", (3, 11), venv=False)
    machine.has_apt(then=f"touch {machine.log}.venv")
    answer = machine.run("find_python")
    assert answer.stdout.strip() == f"{machine.bin}/python3"
    assert machine.did == [
        "apt-get update -qq",
        "apt-get install -qq -y --no-install-recommends python3.11-venv",
    ]


def test_a_python_without_venv_and_without_apt_says_which_package_is_missing(machine):
    machine.has_python("python3", (3, 12), venv=False)
    answer = machine.run("find_python")
    assert answer.returncode == 1
    assert "apt install python3.12-venv" in answer.stderr


def test_missing_commands_are_installed_with_one_update_of_the_lists(machine):
    machine.has_apt(then=f"touch {machine.bin}/rsync {machine.bin}/ssh; chmod +x {machine.bin}/rsync {machine.bin}/ssh")
    machine.link("chmod", shutil.which("chmod"))
    answer = machine.run("need_command rsync rsync rsync; need_command nano nano nano")
    assert [line for line in machine.did if "update" in line] == ["apt-get update -qq"]
    assert "apt-get install -qq -y --no-install-recommends rsync" in machine.did
    assert answer.returncode == 1  # nano did not come, although apt said it did
    assert "'nano' is missing. Install it (Debian, Ubuntu: apt install nano; macOS: brew install nano)" in answer.stderr


def test_who_is_not_root_asks_sudo_which_never_waits_for_a_password_nobody_types(machine):
    machine.has("id", "echo 1000")
    machine.has("sudo", f'echo "sudo $*" >>{machine.log}; exit 1')
    machine.has_apt()
    answer = machine.run("need_command rsync rsync rsync")
    assert answer.returncode == 1
    assert "'rsync' is missing" in answer.stderr
    assert machine.did
    assert all(line.startswith("sudo -n env DEBIAN_FRONTEND=noninteractive apt-get") for line in machine.did)


def test_brew_is_used_where_there_is_no_apt(machine):
    machine.has("brew", f'echo "brew $*" >>{machine.log}; touch {machine.bin}/ssh; chmod +x {machine.bin}/ssh')
    machine.link("chmod", shutil.which("chmod"))
    assert machine.run("need_command ssh openssh-client openssh").returncode == 0
    assert machine.did == ["brew install --quiet openssh"]


def test_a_redis_on_the_path_is_enough(machine):
    machine.has("valkey-server", "true")
    assert machine.run("need_redis /no/such/python").returncode == 0


@pytest.fixture
def bare(machine):
    """A machine whose system folders and policy file are its own as well; sshd is what apt brings."""
    for name in ("uname", "rm", "tee", "chmod", "cat"):
        machine.link(name, shutil.which(name))
    machine.prepare = f"SYSTEM_PATH={machine.bin}; POLICY={machine.log}.policy;"
    machine.has("systemctl", f'echo "systemctl $*" >>{machine.log}; [ "$1 $3" != "is-enabled ssh.socket" ]')
    bring = f"{{ cat {machine.log}.policy >>{machine.log}; touch {machine.bin}/sshd; chmod +x {machine.bin}/sshd; }}"
    machine.has_apt(then=bring)
    return machine


def test_an_sshd_that_is_installed_for_tests_is_started_neither_now_nor_at_boot(bare):
    assert bare.run(f"{bare.prepare} need_sshd").returncode == 0
    assert bare.did == [
        "apt-get update -qq",
        "apt-get install -qq -y --no-install-recommends openssh-server",
        "#!/bin/sh",
        "exit 101",
        "systemctl is-enabled --quiet ssh.service",
        "systemctl disable --quiet ssh.service",
        "systemctl is-enabled --quiet ssh.socket",
    ]
    assert not Path(f"{bare.log}.policy").exists()


def test_a_policy_for_services_that_is_there_already_is_left_alone(bare):
    Path(f"{bare.log}.policy").write_text("theirs\n")
    assert bare.run(f"{bare.prepare} need_sshd").returncode == 0
    assert "theirs" in bare.did
    assert Path(f"{bare.log}.policy").read_text() == "theirs\n"


def test_an_sshd_outside_of_path_is_enough_and_nothing_is_touched(bare):
    bare.has("sshd", "true")
    assert bare.run(f"PATH=/nowhere; {bare.prepare} need_sshd").returncode == 0
    assert bare.did == []


def test_a_machine_without_sshd_and_apt_is_told_what_to_install(bare):
    (bare.bin / "apt-get").unlink()
    answer = bare.run(f"{bare.prepare} need_sshd")
    assert answer.returncode == 1
    assert "apt install openssh-server" in answer.stderr
    assert not Path(f"{bare.log}.policy").exists()


@pytest.mark.parametrize(("need", "apt"), [("need_ip", "iproute2"), ("need_compiler", "gcc libc6-dev")])
def test_only_linux_needs_a_command_for_network_namespaces_and_for_turned_clocks(bare, need, apt):
    answer = bare.run(f"{bare.prepare} {need}")
    assert answer.returncode == 1
    assert f"apt install {apt}" in answer.stderr
    (bare.bin / "uname").unlink()
    bare.has("uname", "echo Darwin")
    assert bare.run(f"{bare.prepare} {need}").returncode == 0


def test_a_browser_for_tests_comes_from_apt(bare):
    bare.has_apt(then=f"{{ touch {bare.bin}/chromium; chmod +x {bare.bin}/chromium; }}")
    assert bare.run("need_chromium").returncode == 0
    assert bare.did == ["apt-get update -qq", "apt-get install -qq -y --no-install-recommends chromium"]


@pytest.mark.parametrize("name", ["chromium", "chromium-browser", "google-chrome"])
def test_a_browser_that_is_there_is_enough(bare, name):
    bare.has(name, "true")
    assert bare.run("need_chromium").returncode == 0
    assert bare.did == []


def test_a_machine_without_a_browser_and_apt_is_told_what_to_install(bare):
    (bare.bin / "apt-get").unlink()
    answer = bare.run("need_chromium")
    assert answer.returncode == 1
    assert "apt install chromium" in answer.stderr
    assert "macOS: Google Chrome" in answer.stderr
