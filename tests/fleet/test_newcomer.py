"""A newcomer's walk: what README and "Start here" say, word for word, with an empty home."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from docs_blocks import blocks, run
from whole_node import WholeNode

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(2400)]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def newcomer(tmp_path):
    """The environment of somebody who has never had a fleet; what was started from it ends."""
    home = tmp_path / "home"
    home.mkdir()
    env = {name: text for name, text in os.environ.items() if not name.startswith("INFRA_") and name != "PYTHONPATH"}
    env |= {"HOME": str(home), "NO_COLOR": "1", "PIP_CACHE_DIR": str(tmp_path / "pip")}
    yield env
    one = WholeNode(home / ".infra")
    print(one.logs())  # noqa: T201  shown when a test fails
    one.close()


def test_start_here_can_be_typed_word_for_word(newcomer, tmp_path):
    newcomer["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), newcomer["PATH"]])
    newcomer["PYTHONPATH"] = str(ROOT)
    seen = _typed(ROOT / "docs" / "start-here.md", newcomer, tmp_path, Path(newcomer["HOME"]))
    for words in ("hello", "part 3", "Hello, Ada", "Hello, Grace"):
        assert words in seen, f"{words!r} is not among what was printed:\n{seen}"


def test_a_backup_can_be_made_and_put_back_as_its_page_says(newcomer, tmp_path):
    newcomer["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), newcomer["PATH"]])
    newcomer["PYTHONPATH"] = str(ROOT)
    seen = _typed(ROOT / "docs" / "backup.md", newcomer, tmp_path, Path(newcomer["HOME"]))
    for words in ("1 SUCCESS", "before-restore-", "up, pid"):
        assert words in seen, f"{words!r} is not among what was printed:\n{seen}"


def test_the_readme_can_be_typed_word_for_word_in_a_fresh_clone(newcomer, tmp_path):
    clone = tmp_path / "clone"
    _clone(clone)
    newcomer["ARGS"] = "-q -n0 tests/unit/test_nearest.py"  # make test: a few tests instead of all, this one among them
    newcomer["PATH"] = os.pathsep.join([str(clone / ".venv" / "bin"), newcomer["PATH"]])
    seen = _typed(clone / "README.md", newcomer, tmp_path, clone)
    for words in ("Hello, world!", "Hello, you!", "passed", "all parts are done"):
        assert words in seen, f"{words!r} is not among what was printed:\n{seen}"


def _typed(page: Path, env: dict[str, str], tmp_path: Path, cwd: Path) -> str:
    return "".join(
        run(block, env, tmp_path / "state", cwd, within_s=1200)
        for block in blocks(page)
        if block.language in {"sh", "python"} and "not run" not in block.said
    )


def _clone(to: Path) -> None:
    """Copy what git would: the files of this checkout that are tracked or new."""
    said = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    for name in said.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
