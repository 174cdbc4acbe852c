"""`stopping.json`: the watcher asks the agent to end the running commands, and waits until none is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.json_file import write_json

if TYPE_CHECKING:
    from pathlib import Path

    from infra_tasks.settings import Home


def wish_file(home: Home) -> Path:
    """Return where the wish stands; the agent looks for it."""
    return home.root / "stopping.json"


def ask_to_end_commands(home: Home) -> None:
    """Ask for the end of all running commands of this node."""
    write_json(wish_file(home), {"kill": True})


def withdraw(home: Home) -> None:
    """Take the wish back."""
    wish_file(home).unlink(missing_ok=True)


def commands_run(home: Home) -> bool:
    """Whether an attempt of this node is not reported yet."""
    try:
        return any(not path.name.startswith(".") for path in home.live.iterdir())
    except FileNotFoundError:
        return False
