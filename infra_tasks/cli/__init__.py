"""The `infra` command.

Starts light: a command's own module, and everything heavy behind it, is loaded when that command is used.
"""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Be the `infra` command: do what sys.argv says and end with its exit code."""
    try:
        from infra_tasks.cli.entry import run  # noqa: PLC0415  `import infra_tasks.cli` costs nothing

        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:  # before anything was begun, or after everything was done
        sys.exit(130)
