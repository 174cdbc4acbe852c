"""Writes the golden set of the present version: `tests/golden/<version>/`, from a node that lives for it.

    make golden                    write it, if there is none or it has the same shape
    make golden ARGS=--replace     write it anew, though its shape changed: only for a version that was never released
    make golden ARGS=--compare     write nothing; say what this version writes otherwise than the newest set

`docs/upgrade.md` says when and why.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from golden_node import SETS, make_set, versions  # noqa: E402  only now it can be found
from golden_shape import changes, shapes  # noqa: E402

import infra_tasks  # noqa: E402


def main(arguments: list[str]) -> int:
    """Do it; return the exit code."""
    here = SETS / infra_tasks.__version__
    with tempfile.TemporaryDirectory(prefix="golden.") as folder:
        made = Path(folder) / "set"
        make_set(Path(folder) / "node", made)
        newest = SETS / versions()[-1] if versions() else made
        news = changes(shapes(newest), shapes(made))
        print("\n".join(news) or f"the shape is that of {newest.name}")  # noqa: T201  this is a command
        if "--compare" in arguments:
            return bool(news)
        if here.exists() and news and "--replace" not in arguments:
            said = f"{here} is there with another shape: raise __version__, or, if it was never released, --replace"
            print(said, file=sys.stderr)  # noqa: T201
            return 1
        shutil.rmtree(here, ignore_errors=True)
        shutil.copytree(made, here)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
