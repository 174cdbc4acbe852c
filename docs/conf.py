"""How the site is built (`make docs`): pages are Markdown; the CLI and the docstrings speak for themselves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "extensions")]

from pygments.lexers.special import TextLexer  # noqa: E402

from infra_tasks import __version__  # noqa: E402  found through the path above

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "infra_tasks"
version = release = __version__
copyright = "the infra_tasks maintainers"  # noqa: A001  Sphinx asks for this name
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "command_reference", "repository_links"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = ["extensions", "README.md"]

html_theme = "furo"
html_title = "infra_tasks"
html_show_sphinx = False
pygments_style = "friendly"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True


def setup(app: Sphinx) -> None:
    """Show diagrams as they are written: forges draw them, the site loads nothing from elsewhere."""
    app.add_lexer("mermaid", TextLexer)
    app.connect("autodoc-process-docstring", _leave_out_the_head_of_a_file)


def _leave_out_the_head_of_a_file(
    _app: Sphinx, what: str, _name: str, _of: object, _how: object, text: list[str]
) -> None:
    """Drop what a module says of itself: it speaks to those who read the code."""
    if what == "module":
        text.clear()
