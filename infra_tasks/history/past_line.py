"""A run of the past as a line of JSON, and back. Pure.

`{"id": ..., "version": 1, "fields": {...}, "spec": {...}, "result": {...}, "story": [...]}`: the record as the ledger
had it, spec and result as objects. Secrets are in none of it: a spec names them, and results come from redacted output.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from infra_tasks.ledger.history import Past
from infra_tasks.ledger.records import Event, Run

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1
# What only a run that goes on needs.
LEFT_OUT = frozenset({"hint", "shown", "print", "rules", "dispatch", "lease_until", "settling", "hints"})
_OBJECTS = ("spec", "result")


def to_line(past: Past) -> bytes:
    """Return the line of a run, with its end. The id comes first: who looks for it need not read the rest."""
    fields = past.run.fields
    said = {
        "id": past.run.id,
        "version": VERSION,
        "fields": {name: text for name, text in fields.items() if name not in {*LEFT_OUT, *_OBJECTS} and text},
        **{name: json.loads(fields[name]) if fields.get(name) else None for name in _OBJECTS},
        "story": [_told(event) for event in past.events],
    }
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


def of_line(line: bytes) -> Past:
    """Return the run of a line. Raises ValueError for anything else."""
    try:
        said = json.loads(line)
        fields: Mapping[str, Any] = said["fields"]
        objects = {name: json.dumps(said[name]) for name in _OBJECTS if said[name] is not None}
        run = Run(str(said["id"]), {**fields, **objects})
        events = [Event.of(json.dumps(event)) for event in said["story"]]
        _ = run.final, run.spec
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no line of an archive: {error!r}") from error
    return Past(run, events)


def id_begins(line: bytes, beginning: str) -> bool:
    """Say whether it is the line of a run whose id begins so."""
    return line.startswith(b'{"id":' + json.dumps(beginning).encode()[:-1])


def _told(event: Event) -> dict[str, Any]:
    said = {"at": event.at, "from": event.from_state, "to": event.to_state, "actor": event.actor, "cause": event.cause}
    return said if event.token is None else {**said, "token": event.token}
