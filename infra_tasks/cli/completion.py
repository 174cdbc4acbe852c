"""Completing a command line for a shell: answers in a moment or not at all, and never with an error.

Shells run `infra` with _INFRA_COMPLETE set, as click's own scripts do.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

VARIABLE = "_INFRA_COMPLETE"
# For every bash since 3.2, which is what macOS has.
BASH = """\
_infra_complete() {
    local kind value
    COMPREPLY=()
    while IFS=',' read -r kind value; do
        [[ $kind == plain ]] && COMPREPLY+=("$value")
    done < <(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" _INFRA_COMPLETE=bash_complete "$1" 2>/dev/null)
    return 0
}
complete -o nosort -o default -F _infra_complete infra 2>/dev/null || complete -o default -F _infra_complete infra
"""


def script(shell: str) -> str:
    """Return what a shell reads to complete `infra`."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415  seldom needed

    from infra_tasks.cli.group import infra  # noqa: PLC0415

    kind = get_completion_class(shell)
    if shell == "bash" or kind is None:
        return BASH
    return kind(infra, {}, "infra", VARIABLE).source()


def answer(instruction: str, within_s: float) -> NoReturn:
    """Print how the line in COMP_WORDS can go on, and end; when it takes longer, end without."""
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    signal.setitimer(signal.ITIMER_REAL, within_s)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with suppress(Exception):
        _complete(instruction)
        sys.stdout.flush()
    os._exit(0)


def _complete(instruction: str) -> None:
    from click.shell_completion import shell_complete  # noqa: PLC0415

    from infra_tasks.cli.group import infra  # noqa: PLC0415
    from infra_tasks.cli.manner import Manner  # noqa: PLC0415

    shell_complete(infra, {"obj": Manner()}, "infra", VARIABLE, instruction)
