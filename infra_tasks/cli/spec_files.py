"""Specs in files the user named, or on stdin: read, numbered, checked against the fleet - all of them or none."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from infra_tasks.cli.progress_line import ProgressLine
from infra_tasks.errors import BadInput, BadSpec
from infra_tasks.model.nearest import did_you_mean
from infra_tasks.model.spec_text import form_of, made_of, specs_in
from infra_tasks.submit import submission

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from infra_tasks.ledger.submission import Submission
    from infra_tasks.model.fleet import Fleet
    from infra_tasks.model.spec_text import Form, Given
    from infra_tasks.settings import Home

STDIN = "-"
# More than this is no file of specs.
LARGEST_BYTES = 256 * 1024 * 1024


def read(files: Sequence[str], form: Form | None) -> list[Given]:
    """Return the specs of all files, unchecked, numbered over all of them. Raises BadInput, BadSpec."""
    found = [given for name in files for given in _specs_of(name, form)]
    many = len(found) > 1
    return [replace(given, number=number, is_one_of_many=many) for number, given in enumerate(found, start=1)]


def checked(specs: Sequence[Given], fleet: Fleet, home: Home, key_prefix: str | None) -> list[Submission]:
    """Return the submissions of the specs; nothing is handed over. Raises BadSpec with all mistakes of all files.

    `key_prefix`: a spec without an idempotency key of its own gets PREFIX-<its number>.
    """

    def made(given: Given) -> Submission:
        line.show(f"{given.number:,} of {specs[-1].number:,} specs checked")
        return submission(_keyed(given.value, key_prefix, given.number), fleet, home=home, actor="cli")

    try:
        with ProgressLine() as line:
            return made_of(specs, made)
    except BadSpec as error:
        raise BadSpec(f"{error}\nnothing was submitted") from None


def _keyed(value: Any, prefix: str | None, number: int) -> Any:
    if prefix is None or not isinstance(value, dict) or value.get("idempotency_key") is not None:
        return value
    return {**value, "idempotency_key": f"{prefix}-{number}"}


def _specs_of(name: str, form: Form | None) -> list[Given]:
    text = _text(name)
    shown = "stdin" if name == STDIN else name
    return specs_in(text, form or form_of(shown, text), shown)


def _text(name: str) -> bytes:
    try:
        if name == STDIN:
            text = sys.stdin.buffer.read(LARGEST_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                text = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise BadInput(f"{name}: {error.strerror or error}{_meant(name)}") from error
    if len(text) > LARGEST_BYTES:
        raise BadInput(f"{name}: larger than {LARGEST_BYTES // 1024**2} MiB; hand it in in several files")
    return text


def _meant(name: str) -> str:
    path = Path(name)
    if name == STDIN or path.exists() or not path.parent.is_dir():
        return ""
    return did_you_mean(path.name, os.listdir(path.parent))  # noqa: PTH208  names are all that is wanted
