from __future__ import annotations

import plistlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra_tasks.settings import Home
from workers.roles import START_ORDER
from workers.services import launchd, systemd
from workers.services.stop_time import longest_stop_s
from workers.services.template import PLACE, fill

ODD = Home(Path('/Users/me & you/<100%h> "node"'))


def test_launchd_gets_a_list_that_parses_and_says_what_a_mac_needs():
    job = plistlib.loads(launchd.render(ODD).encode())
    assert job["ProgramArguments"] == [sys.executable, "-m", "workers.watcher"]
    assert job["EnvironmentVariables"]["INFRA_HOME"] == str(ODD.root)
    assert job["EnvironmentVariables"]["PATH"].startswith("/opt/homebrew/bin:")
    assert job["ProcessType"] == "Interactive"
    assert job["KeepAlive"] is job["RunAtLoad"] is job["AbandonProcessGroup"] is True
    assert job["SoftResourceLimits"]["NumberOfFiles"] >= 4096
    assert job["StandardErrorPath"] == str(ODD.root / "logs" / "watcher.log")


def test_two_nodes_on_one_mac_are_two_services():
    assert launchd.label(Home(Path("/a"))) != launchd.label(Home(Path("/b")))


def test_systemd_gets_a_unit_that_leaves_running_commands_alone():
    lines = systemd.render(ODD).splitlines()
    assert "KillMode=process" in lines
    assert "Restart=always" in lines
    assert "OOMPolicy=continue" in lines
    assert f"TimeoutStopSec={longest_stop_s()}" in lines
    assert f'ExecStart="{sys.executable}" -m workers.watcher' in lines
    assert 'Environment="INFRA_HOME=/Users/me & you/<100%%h> \\"node\\""' in lines
    assert "WantedBy=multi-user.target" in lines
    assert "WantedBy=default.target" in systemd.render(ODD, of_user=True).splitlines()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_itself_accepts_the_unit(tmp_path: Path):
    unit = tmp_path / "infra_tasks.service"
    unit.write_text(systemd.render(Home(tmp_path)))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert str(unit) not in done.stderr


@pytest.mark.parametrize("text", [launchd.render(ODD), systemd.render(ODD)])
def test_no_place_is_left_unfilled(text: str):
    assert not PLACE.findall(text)


def test_a_service_manager_waits_longer_than_all_roles_may_take_to_stop():
    assert longest_stop_s() > sum(plan.patience.stop_s for plan in START_ORDER)


def test_a_place_without_a_value_and_a_value_without_a_place_are_errors():
    with pytest.raises(KeyError, match="ONE, TWO"):
        fill("@ONE@", {"TWO": "2"})
