"""Looks everything up side by side, each under its own deadline; what fails becomes a finding."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING

from infra_tasks.cli.doctor.finding import Finding, bad
from infra_tasks.errors import InfraError
from infra_tasks.model.redactor import without_logins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

TELL_EVERY_S = 0.1
OUR_FAULT = "this is a fault of infra: report it with what `infra version` says"


@dataclass(frozen=True)
class Lookup:
    """One look at the world. `says`: for whoever waits; `check`: what its failure is called."""

    says: str
    check: str
    look: Callable[[], Iterable[Finding]]
    node: str = ""
    within_s: float = 15.0


def look_all(lookups: Sequence[Lookup], tell: Callable[[Sequence[str]], None]) -> list[Finding]:
    """Return what was found, in the order of `lookups`. `tell` hears now and then what is still waited for."""
    found: dict[int, list[Finding]] = {}
    answers: SimpleQueue[tuple[int, list[Finding]]] = SimpleQueue()
    begun = time.monotonic()
    for at, one in enumerate(lookups):
        Thread(target=_look, args=(at, one, answers), name=one.says, daemon=True).start()
    while len(found) < len(lookups):
        tell([one.says for at, one in enumerate(lookups) if at not in found])
        try:
            at, findings = answers.get(timeout=TELL_EVERY_S)
        except Empty:
            found |= _overdue(lookups, found, time.monotonic() - begun)
        else:
            found.setdefault(at, findings)
    return [each for at in range(len(lookups)) for each in found[at]]


def _look(at: int, one: Lookup, answers: SimpleQueue[tuple[int, list[Finding]]]) -> None:
    findings: list[Finding] = []
    try:
        for each in one.look():
            findings.append(replace(each, node=each.node or one.node))  # noqa: PERF401  what was found before an error counts
    except InfraError as error:
        findings.append(_failed(one, str(error), "mend that, and look again"))
    except Exception as error:  # noqa: BLE001  one look that fails must not cost the report
        findings.append(_failed(one, f"could not be looked at: {type(error).__name__}: {error}", OUR_FAULT))
    answers.put((at, findings))


def _overdue(lookups: Sequence[Lookup], found: dict[int, list[Finding]], waited_s: float) -> dict[int, list[Finding]]:
    return {
        at: [_failed(one, f"no answer within {one.within_s:g} s", "see whether it hangs, and look again")]
        for at, one in enumerate(lookups)
        if at not in found and waited_s > one.within_s
    }


def _failed(one: Lookup, said: str, cure: str) -> Finding:
    return replace(bad(one.check, without_logins(said), cure), node=one.node)
