"""Lets pages link to files of the repository that are no pages (tests, examples): in the site they are plain names.

On a forge the links lead to the files; the site has no address of the repository to lead to.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./(?!docs/)([^)]+)\)")


def setup(app: Sphinx) -> dict[str, Any]:
    """Have links out of docs/ written as names while Sphinx reads them."""
    app.connect("source-read", _as_names)
    return {"parallel_read_safe": True}


def _as_names(_app: Sphinx, _name: str, text: list[str]) -> None:
    text[0] = _OUTSIDE.sub(r"\1 (`\2`)", text[0])
