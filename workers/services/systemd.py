"""Writes the unit with which systemd keeps a node's watcher running."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from workers.role_process import IMPORT_FROM
from workers.services.stop_time import longest_stop_s
from workers.services.template import fill

if TYPE_CHECKING:
    from infra_tasks.settings import Home

TEMPLATE = IMPORT_FROM / "systemd" / "infra_tasks.service"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def render(home: Home, python: str = sys.executable, *, of_user: bool = False, template: str | None = None) -> str:
    """Return the unit for the node in `home`: of the system, or (`of_user`) of the logged-in user's own manager."""
    values = {
        "HOME_PLAIN": _specifiers(str(home.root)),
        "PYTHON": _word(python),
        "FOLDER": _specifiers(str(IMPORT_FROM)),
        "HOME": _word(f"INFRA_HOME={home.root}"),
        "PATH": _word(f"PATH={PATH}"),
        "STOP_S": str(longest_stop_s()),
        "TARGET": "default.target" if of_user else "multi-user.target",
    }
    return fill(TEMPLATE.read_text() if template is None else template, values)


def _specifiers(text: str) -> str:
    """Keep systemd from reading `%h` in a path as the home folder (systemd.unit(5), specifiers)."""
    return text.replace("%", "%%")


def _word(text: str) -> str:
    """Return one word of a setting, quoted as systemd.syntax(7) wants it."""
    quoted = _specifiers(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'
