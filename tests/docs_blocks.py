"""Code blocks of Markdown pages: found, with what the page says about them, and run as a reader would.

A page says in comments, each alone on its line before a block or (`place`) at its top:

    place: fresh      this page begins with an empty home and no fleet (default: two machines that are up)
    exit: 3           the block ends with this exit code
    on: mac-2         the block is typed on that machine
    not run: why      the block cannot be run by a test
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# What is run, what is validated, and what only shows something.
RUN, CHECKED, SHOWN = {"sh", "python"}, {"json", "yaml"}, {"text", "mermaid", "{toctree}"}
# Sphinx fills these in; they are no code.
DIRECTIVES = re.compile(r"\{[a-z-]+\}")
_SAID = re.compile(r"<!-- (place|exit|on|not run): (.*) -->")
_FENCE = re.compile(r"(`{3,})([^`\n]*)$")
# The variables and the folder of one block are those of the next, as in a reader's shell.
_SHELL = """
[ -e "$DOCS_STATE/variables" ] && . "$DOCS_STATE/variables"
[ -e "$DOCS_STATE/folder" ] && cd "$(cat "$DOCS_STATE/folder")"
trap 'export -p >"$DOCS_STATE/variables"; pwd >"$DOCS_STATE/folder"' EXIT
set -a
"""


@dataclass(frozen=True)
class Block:
    """One block of a page. `line`: where its text begins."""

    page: str
    line: int
    language: str
    text: str
    said: Mapping[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        return int(self.said.get("exit", 0))

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, in order."""
    return list(_blocks(page.name, page.read_text(encoding="utf-8").splitlines()))


def place(page: Path) -> str:
    """Return where the blocks of a page are run."""
    first = page.read_text(encoding="utf-8").splitlines()[0]
    found = _SAID.fullmatch(first)
    return found[2] if found and found[1] == "place" else "fleet"


def _blocks(page: str, lines: list[str]) -> Iterator[Block]:
    said: dict[str, str] = {}
    at = 0
    while at < len(lines):
        if found := _SAID.fullmatch(lines[at].strip()):
            said[found[1]] = found[2]
        elif fence := _FENCE.fullmatch(lines[at].strip()):
            end = next(n for n in range(at + 1, len(lines)) if lines[n].strip() == fence[1])
            yield Block(page, at + 2, fence[2].strip(), "\n".join(lines[at + 1 : end]) + "\n", said)
            at, said = end, {}
        elif lines[at].strip():
            said = {name: text for name, text in said.items() if name == "place"}
        at += 1


def run(block: Block, env: Mapping[str, str], state: Path, cwd: Path, within_s: float = 300) -> str:
    """Run a block as if it were typed; return what it printed. Fails, showing that, if it ends otherwise than said."""
    state.mkdir(exist_ok=True)
    if block.language == "sh":
        argv = ["bash", "-euo", "pipefail", "-c", _SHELL + block.text]
    else:
        argv = [shutil.which("python3", path=env["PATH"]) or "python3", "-c", block.text]
        if (state / "folder").exists():
            cwd = Path((state / "folder").read_text().strip())
    done = subprocess.run(
        argv,
        env={**env, "DOCS_STATE": str(state)},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=within_s,
        check=False,
    )
    assert done.returncode == block.exit_code, (
        f"{block} ended with {done.returncode}, not {block.exit_code}:\n{block.text}\n--- it printed\n{done.stdout}"
    )
    return done.stdout
