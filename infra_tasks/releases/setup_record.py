"""What is remembered of the setup of a release: which command was done, and what it made in the tree."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from infra_tasks.releases import sidecar

if TYPE_CHECKING:
    from infra_tasks.releases.layout import Shelf


class SetupRecord(NamedTuple):
    """A setup that ended well. `products` are the topmost paths it added: they belong to the tree from then on."""

    command: str | list[str]
    products: list[str]


def recorded(shelf: Shelf, digest: str) -> SetupRecord | None:
    """Return the setup that was done for a release, None if none was."""
    text = sidecar.read(shelf.setup(digest))
    if text is None:
        return None
    try:
        raw = json.loads(text)
        return SetupRecord(raw["command"], list(raw["products"]))
    except (ValueError, KeyError, TypeError):
        return None


def record(shelf: Shelf, digest: str, done: SetupRecord) -> None:
    """Remember a setup that ended well."""
    sidecar.write(shelf.setup(digest), json.dumps(done._asdict()).encode(), durable=True)


def products(shelf: Shelf, digest: str) -> list[str]:
    """Return the paths a setup added to the tree."""
    done = recorded(shelf, digest)
    return done.products if done else []


def forget(shelf: Shelf, digest: str) -> None:
    """Forget a setup: what it made is no part of the release any more."""
    shelf.setup(digest).unlink(missing_ok=True)
