"""Writes the page of all commands from the commands themselves: what `--help` says is what the page says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from infra_tasks.cli.command import Command
from infra_tasks.cli.group import ENTRIES, SECTIONS, infra

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

PAGE = "commands"
MARK = "<!-- all commands -->"


def setup(app: Sphinx) -> dict[str, Any]:
    """Have the page filled while Sphinx reads it."""
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True}


def _fill(_app: Sphinx, name: str, text: list[str]) -> None:
    if name == PAGE:
        text[0] = text[0].replace(MARK, reference())


def reference() -> str:
    """Return the reference of all commands as Markdown, in the order of the help."""
    lines: list[str] = []
    for title, entries in SECTIONS.items():
        lines += [f"## {title}", ""]
        for entry in entries:
            lines += _command(entry.name)
    return "\n".join(lines)


def _command(name: str) -> Iterator[str]:
    command, ctx = _found(name)
    yield from (f"### infra {name}", "", f"```text\n{_usage(command, ctx)}\n```", "")
    for paragraph in (command.help or ENTRIES[name].says).split("\n\n"):
        yield from (_plain(paragraph), "")
    rows = [row for row in (_row(param, ctx) for param in command.params) if row]
    if rows:
        yield from ("| option | means |", "|---|---|", *rows, "")
    if isinstance(command, Command) and command.examples:
        yield from ("```text", *command.examples, "```", "")


def _found(name: str) -> tuple[click.Command, click.Context]:
    ctx = click.Context(infra, info_name="infra")
    command: click.Command = infra
    for word in name.split(" "):
        assert isinstance(command, click.Group)
        found = command.get_command(ctx, word)
        assert found is not None, name
        command, ctx = found, click.Context(found, info_name=word, parent=ctx)
    return command, ctx


def _usage(command: click.Command, ctx: click.Context) -> str:
    return " ".join([ctx.command_path, *command.collect_usage_pieces(ctx)])


def _row(param: click.Parameter, ctx: click.Context) -> str | None:
    record = param.get_help_record(ctx)
    return f"| `{_cell(record[0])}` | {_plain(_cell(record[1]))} |" if record else None


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _plain(text: str) -> str:
    """Return words as Markdown that shows just these words."""
    return " ".join(text.split()).replace("<", "\\<").replace("*", "\\*").replace("_", "\\_")
