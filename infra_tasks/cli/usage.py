"""Wrong use of a command line, in our words: what was found, what is allowed, which word was probably meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.exceptions import BadOptionUsage, MissingParameter, NoSuchOption

if TYPE_CHECKING:
    from collections.abc import Iterable

EXTRA = "Got unexpected extra argument"


def usage_words(error: click.UsageError) -> str:
    """Return what is wrong with a command line, and where to read how it is right."""
    hint = f"\nSee `{error.ctx.command_path} --help`." if error.ctx else ""
    return _said(error) + hint


def _said(error: click.UsageError) -> str:
    if isinstance(error, NoSuchOption):
        return f"no option {error.option_name!r}{_meant(error.option_name, _options(error.ctx))}"
    if isinstance(error, MissingParameter):
        return _missing(error)
    if isinstance(error, click.BadParameter):
        return _bad_value(error)
    if isinstance(error, BadOptionUsage):
        return f"{error.option_name} wants a value" if "requires an argument" in error.message else error.message
    if error.message.startswith(EXTRA):
        return _too_much(error)
    return error.format_message()


def _missing(error: MissingParameter) -> str:
    name = _name(error.param)
    usage = " ".join(error.ctx.command.collect_usage_pieces(error.ctx)) if error.ctx else ""
    how = f": {error.ctx.command_path} {usage}" if error.ctx else ""
    return f"{name} is missing{how}"


def _bad_value(error: click.BadParameter) -> str:
    name, kind = _name(error.param), error.param.type if error.param else None
    value = error.message.split(" ", 1)[0]
    if isinstance(kind, click.IntRange):
        return f"{name}: found {value}; allowed: {_range(kind)}"
    if isinstance(kind, click.Choice):
        words = [str(each) for each in kind.choices]
        value = error.message.removeprefix("'").split("'", 1)[0]
        return f"{name}: found {value!r}{_meant(value, words)}; allowed: {', '.join(words)}"
    return f"{name}: {error.message}" if name else error.message


def _range(kind: click.IntRange) -> str:
    if kind.max is None:
        return f"a whole number, at least {kind.min}"
    return f"a whole number from {kind.min} to {kind.max}"


def _too_much(error: click.UsageError) -> str:
    words = error.message.removeprefix(EXTRA).removeprefix("s").strip(" ()")
    taken = " ".join(error.ctx.command.collect_usage_pieces(error.ctx)) if error.ctx else ""
    return f"too much was given: {words}{f' (it takes: {taken})' if taken else ''}"


def _name(param: click.Parameter | None) -> str:
    if param is None:
        return ""
    if isinstance(param, click.Argument):
        return param.make_metavar(click.Context(click.Command(""))).removeprefix("-- ").removesuffix("...").strip("[]")
    return max(param.opts, key=len)


def _options(ctx: click.Context | None) -> list[str]:
    params = ctx.command.get_params(ctx) if ctx else []
    return [opt for param in params for opt in (*param.opts, *param.secondary_opts) if opt.startswith("-")]


def _meant(word: str, known: Iterable[str]) -> str:
    from infra_tasks.model.nearest import did_you_mean  # noqa: PLC0415  difflib is only loaded for a mistake

    return did_you_mean(word, known)
