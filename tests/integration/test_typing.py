"""Users' type checkers see full types, though Celery has none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent


@pytest.mark.timeout(1800)  # it reads the whole package, and the libraries it uses
def test_mypy_at_its_strictest_knows_every_type_of_a_users_code(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--warn-unreachable", "--follow-imports=silent", "--config-file=",
         "--cache-dir", tmp_path, TESTS / "typing" / "user_code.py"],
        cwd=tmp_path, env={**os.environ, "MYPYPATH": str(TESTS.parent)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_says_that_it_is_typed():
    assert (TESTS.parent / "infra_tasks" / "py.typed").exists()
