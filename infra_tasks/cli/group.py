"""The group of all commands. A command's module is loaded when the command is used."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

import click

from infra_tasks import __version__
from infra_tasks.cli.catalogue import BEGINNING, ENTRIES, NAMES, SECTIONS, Entry
from infra_tasks.cli.terminal import colour

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from click.shell_completion import CompletionItem


class ReaderGone(Exception):
    """Nobody reads our stdout any more."""


class Loaded(click.Group):
    """A group whose commands are loaded one by one: those whose name begins with `noun`, all without one."""

    def __init__(self, *args: Any, noun: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        self._beginning = f"{noun} " if noun else ""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the next word of all names, in the order of the help."""
        ours = [name.removeprefix(self._beginning) for name in NAMES if name.startswith(self._beginning)]
        return list(dict.fromkeys(name.split(" ")[0] for name in ours))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one command, or make the group of a noun."""
        if cmd_name not in self.list_commands(ctx):
            return None
        entry = ENTRIES.get(self._beginning + cmd_name)
        if entry is None:
            return _about(cmd_name)
        command: click.Command = import_module(entry.module).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is meant; a mistyped one is told with the nearest name."""
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-"):
            _no_such_command(ctx, args[0], known)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands that begin so, without loading them, and the options of the group."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415  only a shell that completes needs it

        says = {entry.name: entry.says for entry in ENTRIES.values()}
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        commands = [CompletionItem(name, help=says.get(f"{self._beginning}{name}")) for name in names]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write what each command does."""
        with formatter.section("Commands"):
            formatter.write_dl([(entry.name, entry.says) for entry in ENTRIES.values() if self._is_ours(entry)])

    def _is_ours(self, entry: Entry) -> bool:
        return entry.name.startswith(self._beginning)


class Infra(Loaded):
    """The group of all commands."""

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


def _about(noun: str) -> click.Group:
    """Make the group of the commands about a noun; alone it shows its help."""

    @click.group(noun, cls=Loaded, noun=noun, invoke_without_command=True)
    @click.pass_context
    def about(ctx: click.Context) -> None:
        if ctx.invoked_subcommand is None:
            click.echo(ctx.get_help())

    return about


def _no_such_command(ctx: click.Context, word: str, known: Sequence[str]) -> NoReturn:
    from infra_tasks.model.nearest import did_you_mean  # noqa: PLC0415  difflib is only loaded for a mistake

    said = f"{ctx.command_path.removeprefix('infra').strip()} {word}".strip()
    raise click.UsageError(f"no command {said!r}{did_you_mean(word, known)}", ctx)


@click.group(
    cls=Infra,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="INFRA_HOME is the folder of this node (default ~/.infra). `infra COMMAND --help` gives examples.",
)
@click.option("--json", is_flag=True, help="Answer in JSON, errors too.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(__version__, prog_name="infra", message="%(prog)s %(version)s")
@click.pass_context
def infra(ctx: click.Context, *, json: bool, debug: bool) -> None:  # noqa: ARG001  looked up by the commands
    """Runs commands on a fleet of machines and never loses one."""
    ctx.color = colour()
    if ctx.invoked_subcommand is None and json:
        _print_catalogue()
    elif ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _print_catalogue() -> None:
    from infra_tasks.cli.printing import print_json  # noqa: PLC0415

    sections = {title: {entry.name: entry.says for entry in entries} for title, entries in SECTIONS.items()}
    print_json({"version": __version__, "commands": sections})
