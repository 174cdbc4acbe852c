"""Runs a user named by the beginnings of their ids: found, each once, or all that is wrong told at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra_tasks.errors import UnknownRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra_tasks.ledger import Ledger


def known_runs(ledger: Ledger, beginnings: Sequence[str]) -> list[str]:
    """Return the ids in order. Raises UnknownRun with a line for every name that is none or not clear."""
    ids: dict[str, None] = {}
    wrong = []
    for beginning in dict.fromkeys(beginnings):
        try:
            ids[ledger.runs.known(beginning)] = None
        except UnknownRun as error:
            wrong.append(str(error))
    if wrong:
        raise UnknownRun("\n".join(wrong))
    return list(ids)
