"""Runs one command line: whatever happens becomes one sentence and an exit code, never a traceback by itself.

    0    done                          1    it could not be done, or the run failed
    2    wrong use                     3    the fleet cannot be reached
    130  interrupted or cancelled      141  nobody reads the output any more

`infra run` ends with the exit code of the command it ran (see `exit_codes`).
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from infra_tasks.cli.complaint import complain
from infra_tasks.cli.exit_codes import CANCELLED, FAILED, READER_GONE, WRONG_USE
from infra_tasks.cli.group import ReaderGone, infra
from infra_tasks.cli.manner import Manner
from infra_tasks.errors import InfraError

if TYPE_CHECKING:
    from collections.abc import Sequence


def run(arguments: Sequence[str]) -> int:
    """Do what the command line says; return the exit code."""
    manner = Manner.asked_for(arguments)
    try:
        code = _run(arguments, manner)
        sys.stdout.flush()
    except (ReaderGone, BrokenPipeError):
        _close_quietly()
        return READER_GONE
    return code


def _run(arguments: Sequence[str], manner: Manner) -> int:
    try:
        return int(infra.main(list(arguments), prog_name="infra", standalone_mode=False, obj=manner) or 0)
    except click.UsageError as error:
        complain(manner, error, _usage(error), WRONG_USE)
        return WRONG_USE
    except InfraError as error:
        complain(manner, error, str(error), error.exit_code)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        complain(manner, error, "interrupted", CANCELLED)
        return CANCELLED
    except (ReaderGone, BrokenPipeError):
        raise
    except OSError as error:
        complain(manner, error, _os_words(error), FAILED)
        return FAILED
    except Exception as error:  # noqa: BLE001  the last resort: a user is told what to do, with --debug all of it
        complain(
            manner, error, f"{type(error).__name__}: {error}\nThis is a fault of infra: --debug shows all.", FAILED
        )
        return FAILED


def _usage(error: click.UsageError) -> str:
    hint = f"\nSee `{error.ctx.command_path} --help`." if error.ctx else ""
    return error.format_message() + hint


def _os_words(error: OSError) -> str:
    name = f"{error.filename}: " if error.filename else ""
    return f"{name}{error.strerror or error}"


def _close_quietly() -> None:
    """Let nothing be written any more, so that Python does not complain at its end."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nothing, stream.fileno())
