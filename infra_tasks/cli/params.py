"""Values of options in our own forms: a span, a size, K=V, NAME=PATH, SHA256:... Each raises click.BadParameter."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from infra_tasks.cli import sizes, spans

LONGEST_PREFIX = 200  # of at most 256 characters of a key
FINGERPRINT = re.compile(r"(SHA256:[A-Za-z0-9+/]{43})=?")


def span(text: str) -> float:
    """Return the seconds of a span of time: 90, 90s, 10m, 1h30m."""
    try:
        return spans.seconds(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def size(text: str) -> int:
    """Return the bytes of a size: 512M, 2G, 1.5GiB, 1048576."""
    try:
        return sizes.size_bytes(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def variable(text: str) -> tuple[str, str]:
    """Return name and value of K=V; K alone hands on the variable that is set here."""
    name, sign, value = text.partition("=")
    if sign:
        return name, value
    if name not in os.environ:
        raise click.BadParameter(f"{name!r} is not set here; give it as {name}=VALUE")
    return name, os.environ[name]


def secret_name(text: str) -> str:
    """Return the name of a secret."""
    from infra_tasks.model.secret_rules import NAME_RULE, is_secret_name  # noqa: PLC0415

    if not is_secret_name(text):
        raise click.BadParameter(f"found {text!r}; allowed: {NAME_RULE}")
    return text


def secret(text: str) -> tuple[str, str]:
    """Return variable and secret of TOKEN=name; TOKEN alone gets the secret of the same name."""
    variable, sign, name = text.partition("=")
    return variable, secret_name(name if sign else variable)


def project(text: str) -> tuple[str, Path]:
    """Return name and absolute path of NAME=PATH, a folder that is there."""
    name, _, path = text.partition("=")
    if not name or not path:
        raise click.BadParameter(f"found {text!r}; allowed: NAME=PATH, like hello=~/code/hello")
    folder = Path(path).expanduser().resolve()
    if not folder.is_dir():
        raise click.BadParameter(f"{folder} is {'no folder' if folder.exists() else 'not there'}")
    return name, folder


def fingerprint(text: str) -> str:
    """Return a fingerprint as ssh-keygen -l prints it."""
    found = FINGERPRINT.fullmatch(text.strip())
    if found is None:
        raise click.BadParameter(f"found {text!r}; allowed: SHA256: and 43 characters, as ssh-keygen -l prints it")
    return found[1]


def key_prefix(text: str) -> str:
    """Return what idempotency keys may begin with."""
    if not text.strip() or len(text) > LONGEST_PREFIX:
        raise click.BadParameter(f"found {text[:40]!r}; allowed: a text of 1 to {LONGEST_PREFIX} characters")
    return text
