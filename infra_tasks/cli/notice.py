"""A notice on the desktop. Its text is an argument of the program that shows it: no shell, no script ever reads it."""

from __future__ import annotations

import html
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WITHIN_S = 10.0
# argv of the script: the text, then the title.
APPLESCRIPT = (
    "on run argv",
    "display notification (item 1 of argv) with title (item 2 of argv)",
    "end run",
)
MISSING = {
    "darwin": "osascript is not there",
    "linux": "notify-send is not there (Debian and Ubuntu: apt install libnotify-bin)",
}


def missing(platform: str = sys.platform, which: Callable[[str], str | None] = shutil.which) -> str:
    """Return why no notice can be shown here, "" when one can."""
    if platform not in MISSING:
        return f"nothing is known that shows one on {platform}"
    return "" if which(_program(platform)) else MISSING[platform]


def command(title: str, text: str, platform: str = sys.platform) -> list[str]:
    """Return the command that shows a notice. Neither text may begin with '-' on macOS."""
    if platform == "darwin":
        script = [word for line in APPLESCRIPT for word in ("-e", line)]
        return ["osascript", *script, text, title]
    return ["notify-send", "--app-name=infra", "--", title, html.escape(text, quote=False)]


def show(title: str, text: str, run: Callable[[Sequence[str]], str] | None = None) -> str:
    """Show a notice; return why it was not shown, "" when it was."""
    return (run or _run)(command(title, text))


def _program(platform: str) -> str:
    return "osascript" if platform == "darwin" else "notify-send"


def _run(line: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WITHIN_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.strip() or f"{line[0]} ended with {done.returncode}"
