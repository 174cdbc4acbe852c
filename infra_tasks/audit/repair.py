"""Does what is safe about what an audit found, and nothing else: no state, no end and no claim is ever written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra_tasks import live
from infra_tasks.model.audit import Remedy
from infra_tasks.runner.attempt import Attempt
from infra_tasks.runner.tree import kill_leftovers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from infra_tasks.ledger import Ledger
    from infra_tasks.model.audit import Finding
    from infra_tasks.settings import Home

GRACE_S = 1.0


def repair(home: Home, ledger: Ledger, found: Finding) -> str | None:
    """Do what is safe; return what was done, in words. None: nothing can be done from here. Raises FleetUnreachable."""
    if found.remedy is None or found.run is None:
        return None
    if found.remedy is Remedy.MEND:
        return ledger.auditing.mend(found.run, holder=found.holder, hint=found.check == "hint")
    if found.remedy is Remedy.RESULT:
        return ledger.auditing.write_result(found.run)
    return _on_attempts(home, ledger, found.run, _REMEDIES[found.remedy])


def _on_attempts(home: Home, ledger: Ledger, run_id: str, remedy: Callable[[Home, Ledger, live.Token], str]) -> str:
    done = [remedy(home, ledger, token) for token in _attempts(home, run_id)]
    return ", ".join(said for said in done if said) or "it is right now"


def _attempts(home: Home, run_id: str) -> Iterator[live.Token]:
    folder = home.runs / run_id
    for one in sorted(folder.iterdir()) if folder.is_dir() else ():
        record = Attempt(one).record() if one.name.isdigit() else None
        if record:
            yield live.Token(run_id, int(one.name), str(record.get("claim", "")))


def _hand_to_agent(home: Home, _: Ledger, token: live.Token) -> str:
    attempt = Attempt(home.attempt(token.run, token.attempt))
    if attempt.exit_record() is None or attempt.was_reported() or live.is_noted(home, token):
        return ""
    live.enter(home, token)
    return f"attempt {token.attempt} noted for the agent"


def _end(home: Home, ledger: Ledger, token: live.Token) -> str:
    """End what lives of an attempt without a claim: its shim is told to; without a shim its processes are killed."""
    (row,) = ledger.auditing.rows([token.run])
    if row.held and (row.f["attempt"], row.f["claim"]) == (str(token.attempt), token.claim):
        return ""
    attempt = Attempt(home.attempt(token.run, token.attempt))
    if attempt.is_locked():
        attempt.order(stop="fenced", kill=True)
        return f"the shim of attempt {token.attempt} was told to end it"
    record = attempt.record() or {}
    if not record.get("cookie"):
        return ""
    left = kill_leftovers(attempt.started(), record["cookie"], int(record.get("mark") or 0), grace_s=GRACE_S)
    return f"processes of attempt {token.attempt} killed" + (f", {left} of them survive" if left else "")


_REMEDIES = {Remedy.REPORT: _hand_to_agent, Remedy.KILL: _end}
