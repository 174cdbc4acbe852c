"""The commands of `infra`, by what they are for. A command's module is loaded when the command is used."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import click

from infra_tasks import __version__
from infra_tasks.cli.terminal import colour

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra_tasks.cli.manner import Manner


class Entry(NamedTuple):
    """One command in the help; its code is `infra_tasks.cli.commands.<name>`."""

    name: str
    says: str


SECTIONS: dict[str, tuple[Entry, ...]] = {
    "Run": (
        Entry("run", "run a command on the fleet and wait for it"),
        Entry("cancel", "stop a run"),
        Entry("extend", "give a run more time"),
        Entry("retry", "run a finished run once more"),
    ),
    "Look": (
        Entry("runs", "list the newest runs"),
        Entry("show", "tell all about one run"),
        Entry("logs", "print what a run has written"),
        Entry("status", "tell how this node and the fleet are"),
    ),
    "Fleet": (
        Entry("init", "make a fleet of this machine, or add projects"),
        Entry("up", "start this node"),
        Entry("down", "stop this node"),
    ),
}
BEGINNING = (
    ("infra init", "make a fleet of this machine"),
    ("infra up --detach", "start it"),
    ("infra run -- echo hello", "run a command on it"),
)
NAMES = tuple(entry.name for section in SECTIONS.values() for entry in section)


class ReaderGone(Exception):
    """Nobody reads our stdout any more."""


class Infra(click.Group):
    """The group of all commands, loaded one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return all names, in the order of the help."""
        return list(NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load one command."""
        if cmd_name not in NAMES:
            return None
        command: click.Command = import_module(f"infra_tasks.cli.commands.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is meant; a mistyped one is told with the nearest name."""
        if args[0] not in NAMES and not args[0].startswith("-"):
            _no_such_command(ctx, args[0])
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Parse (and print help). Raises ReaderGone where click would end the process by itself."""
        with _reader_minded():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> object:
        """Do what was asked. Raises ReaderGone where click would end the process by itself."""
        with _reader_minded():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands by section, and what to begin with."""
        with formatter.section("To begin"):
            formatter.write_dl(BEGINNING)
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(entries)


@contextmanager
def _reader_minded() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGone from error


def _no_such_command(ctx: click.Context, word: str) -> NoReturn:
    from infra_tasks.model.nearest import did_you_mean  # noqa: PLC0415  difflib is only loaded for a mistake

    raise click.UsageError(f"no command {word!r}{did_you_mean(word, NAMES)}", ctx)


@click.group(
    cls=Infra,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="INFRA_HOME is the folder of this node (default ~/.infra). `infra COMMAND --help` gives examples.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(__version__, prog_name="infra", message="%(prog)s %(version)s")
@click.pass_context
def infra(ctx: click.Context, *, debug: bool) -> None:
    """Runs commands on a fleet of machines and never loses one."""
    ctx.color = colour()
    manner: Manner = ctx.obj
    manner.debug = manner.debug or debug
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
