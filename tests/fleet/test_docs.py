"""Every block of every page does what the page says: typed one after the other on a fleet of two machines."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from docs_blocks import blocks, place, run
from three_nodes import ThreeNodes

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[2]
PAGES = [page for page in sorted((ROOT / "docs").glob("*.md")) if place(page) == "fleet"]
TRAINER = {
    "train.py": "import os, pathlib\n"
    "out = pathlib.Path(os.environ['INFRA_SCRATCH'], 'model')\nout.mkdir()\n"
    "(out / 'weights.txt').write_text('0.5')\nprint('trained')\n",
    "train.sh": "#!/bin/sh\npython3 train.py && echo a,b >$INFRA_SCRATCH/losses.csv\n",
    "evaluate.py": "print('evaluated')\n",
    "data/large.bin": "0" * 1000,
    ".infraignore": "data/\n",
}


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    """Two machines as the pages have them: `mac-1` has the sources, `mac-2` has the label `gpu`."""
    folder = tmp_path_factory.mktemp("docs")
    for name, text in TRAINER.items():
        file = folder / "code" / "trainer" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (folder / "code" / "trainer" / "train.sh").chmod(0o755)
    fleet = ThreeNodes(folder, names=("mac-1", "mac-2"), labels={"mac-2": ["gpu"]})
    fleet.write(trainer=folder / "code" / "trainer", hello=ROOT / "examples" / "hello")
    try:
        yield fleet.up()
    finally:
        print(fleet.logs())  # noqa: T201  shown when a test fails
        fleet.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_says_can_be_typed(machines, page, tmp_path):
    where = tmp_path / "reader"
    where.mkdir()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for block in blocks(page):
        if block.language in {"sh", "python"} and "not run" not in block.said:
            node = machines[block.said.get("on", "mac-1")]
            state = tmp_path / f"state-{node.name}"
            env = {**node.env, "PATH": path, "NO_COLOR": "1"}
            run(block, env, state, where)
        elif block.language == "yaml":
            (where / "block.yaml").write_text(block.text)
            assert yaml.safe_load(block.text)
            said = machines["mac-1"].infra("submit", str(where / "block.yaml"), "--dry-run")
            assert said.returncode == 0, f"{block}: {said.stderr}"
    shutil.rmtree(where)
