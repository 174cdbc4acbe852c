"""Runs one command line: whatever happens becomes one sentence and an exit code, never a traceback by itself.

    0    done                          1    it could not be done, or the run failed
    2    wrong use                     3    the fleet cannot be reached
    130  interrupted or cancelled      141  nobody reads the output any more

`infra run` ends with the exit code of the command it ran (see `exit_codes`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra_tasks import settings
from infra_tasks.cli import completion, streams
from infra_tasks.cli.complaint import complain
from infra_tasks.cli.exit_codes import CANCELLED, DONE, FAILED, READER_GONE, WRONG_USE
from infra_tasks.cli.group import ReaderGone, infra
from infra_tasks.cli.manner import Manner
from infra_tasks.cli.usage import usage_words
from infra_tasks.errors import InfraError

if TYPE_CHECKING:
    from collections.abc import Sequence


def run(arguments: Sequence[str]) -> int:
    """Do what the command line says; return the exit code."""
    streams.make_sure()
    instruction, within_s = settings.completion()
    if instruction:
        completion.answer(instruction, within_s)
    manner = Manner.asked_for(arguments)
    try:
        code = _run(arguments, manner)
    except ReaderGone:
        code = READER_GONE
    trouble = streams.trouble_with_stdout()
    if trouble:
        code = _untold(trouble, manner) if code == DONE else code
    streams.give_up()
    return code


def _run(arguments: Sequence[str], manner: Manner) -> int:
    try:
        return int(infra.main(list(arguments), prog_name="infra", standalone_mode=False, obj=manner) or 0)
    except click.UsageError as error:
        complain(manner, error, usage_words(error), WRONG_USE)
        return WRONG_USE
    except InfraError as error:
        complain(manner, error, str(error), error.exit_code)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        complain(manner, error, "interrupted", CANCELLED)
        return CANCELLED
    except ReaderGone:
        raise
    except OSError as error:
        return _os_trouble(error, manner)
    except Exception as error:  # noqa: BLE001  the last resort: a user is told what to do, with --debug all of it
        complain(
            manner, error, f"{type(error).__name__}: {error}\nThis is a fault of infra: --debug shows all.", FAILED
        )
        return FAILED


def _os_trouble(error: OSError, manner: Manner) -> int:
    if streams.is_gone(error) or error.filename == streams.STDOUT:
        return _untold(error, manner)
    complain(manner, error, f"{f'{error.filename}: ' if error.filename else ''}{error.strerror or error}", FAILED)
    return FAILED


def _untold(error: OSError, manner: Manner) -> int:
    """Return the exit code where the answer could not be written; said in a word, unless nobody is there any more."""
    if streams.is_gone(error):
        return READER_GONE
    complain(manner, error, f"the answer could not be written to stdout: {error.strerror or error}", FAILED)
    return FAILED
