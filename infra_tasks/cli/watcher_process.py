"""The watcher of this node as a process of its own: `workers.watcher`, started and stopped from here."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import infra_tasks
from infra_tasks.cli.terminal import ChangingLine
from infra_tasks.errors import RoleFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from infra_tasks.settings import Home

LOOK_EVERY_S = 0.1
IMPORT_FROM = Path(infra_tasks.__file__).resolve().parent.parent


def become(home: Home) -> NoReturn:
    """Turn this process into the watcher: Ctrl-C goes straight to it."""
    os.chdir(IMPORT_FROM)
    sys.stdout.flush()
    os.execve(sys.executable, _argv(), _env(home))  # noqa: S606  no shell is wanted


def ask(home: Home, *options: str, progress: Callable[[], str]) -> None:
    """Run the watcher's own command line with `options`, saying meanwhile how far it is.

    Raises RoleFailed with what it said when it failed.
    """
    with _started(home, options) as process, ChangingLine() as line:
        while process.poll() is None:
            line.show(progress())
            time.sleep(LOOK_EVERY_S)
        said = process.communicate()[0].strip()
    if process.returncode:
        raise RoleFailed(said or f"the watcher ended with exit code {process.returncode}; its log: {home.logs}")


@contextmanager
def _started(home: Home, options: tuple[str, ...]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        _argv(*options),
        env=_env(home),
        cwd=IMPORT_FROM,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        yield process


def _argv(*options: str) -> list[str]:
    return [sys.executable, "-m", "workers.watcher", *options]


def _env(home: Home) -> dict[str, str]:
    return {**os.environ, "INFRA_HOME": str(home.root)}
