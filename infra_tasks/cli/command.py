"""What every command has: --json, --debug, examples in its help, and our words for wrong use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from infra_tasks.cli.known import know
from infra_tasks.cli.manner import Manner

if TYPE_CHECKING:
    from collections.abc import Callable


class Command(click.Command):
    """A command of `infra`. `examples`: lines for its help, as they are typed."""

    def __init__(self, *args: Any, examples: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        for param in self.params:
            know(param)
            if isinstance(param, click.Option) and param.multiple:
                param.help = f"{param.help} May be repeated."
        self.examples = [line.strip() for line in examples.strip().splitlines()]
        self.params += [
            _flag("--json", "Answer in JSON, errors too."),
            _flag("--debug", "Show the traceback of an error."),
        ]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples as they are typed."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{' ' * formatter.current_indent}{line}\n")


def command(name: str, examples: str, **options: Any) -> Callable[[Callable[..., Any]], Command]:
    """Make a function a command of `infra`; it returns an exit code, or nothing for 0."""
    return click.command(name, cls=Command, examples=examples, **options)


def _flag(name: str, says: str) -> click.Option:
    def remember(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: FBT001  click calls it so
        manner = ctx.find_object(Manner)
        if manner and param.name:
            setattr(manner, param.name, value or bool(ctx.find_root().params.get(param.name)))

    return click.Option([name], is_flag=True, expose_value=False, is_eager=True, callback=remember, help=says)
