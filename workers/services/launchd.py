"""Writes the property list with which launchd keeps a node's watcher running."""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from workers.role_files import RoleFiles
from workers.role_process import IMPORT_FROM
from workers.services.stop_time import longest_stop_s
from workers.services.template import fill

if TYPE_CHECKING:
    from infra_tasks.settings import Home

TEMPLATE = IMPORT_FROM / "launchd" / "infra_tasks.watcher.plist"
PATH = "/opt/homebrew/bin:/opt/homebrew/sbin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def label(home: Home) -> str:
    """Return the service's name; another folder is another service."""
    return f"infra_tasks.watcher.{hashlib.sha256(str(home.root).encode()).hexdigest()[:8]}"


def render(home: Home, python: str = sys.executable, template: str | None = None) -> str:
    """Return the property list for the node in `home`, run by the interpreter `python`."""
    values = {
        "LABEL": label(home),
        "PYTHON": python,
        "FOLDER": str(IMPORT_FROM),
        "HOME": str(home.root),
        "PATH": PATH,
        "STOP_S": str(longest_stop_s()),
        "LOG": str(RoleFiles(home, "watcher").log),
    }
    text = TEMPLATE.read_text() if template is None else template
    return fill(text, {name: escape(value) for name, value in values.items()})
