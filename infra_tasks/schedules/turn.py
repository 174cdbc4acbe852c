"""The turn of beat that fires the slots of schedules.

Any number of beats may make turns at once: the script that submits a slot's run also notes it, and refuses whoever saw
an older record.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from infra_tasks.errors import BadInput
from infra_tasks.ledger.schedules import RUN_MARK, Progress
from infra_tasks.model.run import is_final
from infra_tasks.model.slots import Do, Move, Standing, look, move
from infra_tasks.schedules.entries import entries, run_of

if TYPE_CHECKING:
    from infra_tasks.ledger import Ledger
    from infra_tasks.model.fleet import Fleet
    from infra_tasks.schedules.entries import Entry
    from infra_tasks.settings import Home

# Of one schedule in one turn: what is left waits for the next turn.
MOST_MOVES = 10

log = logging.getLogger("infra_tasks.schedules")


def turn(ledger: Ledger, fleet: Fleet, home: Home) -> int:
    """Fire what is due; return how many runs were submitted. Raises FleetUnreachable."""
    seen = ledger.schedules.read(patience_s=0)
    known = entries(fleet, seen)
    for name in seen.progress.keys() - known.keys():
        _leave(ledger, name, seen.progress[name])
    return sum(
        _Turn(ledger, fleet, home, entry, seen.now).run(seen.progress.get(name, "")) for name, entry in known.items()
    )


def _leave(ledger: Ledger, name: str, text: str) -> None:
    """Remember that an entry is no longer there: should it come back, what lies between was not missed."""
    progress = Progress.of(text)
    if not progress.gone:
        ledger.schedules.note(name, text, replace(progress, gone=True).text, patience_s=0)


@dataclass(frozen=True)
class _Turn:
    """The turn of one schedule."""

    ledger: Ledger
    fleet: Fleet
    home: Home
    entry: Entry
    now: float

    def run(self, text: str) -> int:
        """Do what is to be done; return how many slots were fired."""
        schedule, fired = self.entry.schedule, 0
        progress = Progress.of(text) if text else None
        if progress is None or progress.gone:
            self._note(text, self._begun(progress))
            return 0
        if progress.paused:
            return 0
        looked = look(schedule.timetable, Standing.of_json(progress.standing), self.now, schedule.missed)
        ahead = self._with(progress, looked.standing, looked.passed_over)
        for _ in range(MOST_MOVES):
            standing = Standing.of_json(ahead.standing)
            step = move(standing, schedule.overlap, goes_on=bool(standing.waiting) and self._goes_on(ahead.run))
            if step.do is Do.DROP:
                ahead = self._with(ahead, step.standing, step.passed_over)
            elif step.do is Do.FIRE:
                done = self._fire(text, ahead, step)
                if done is None:
                    return fired
                fired += done.slot == step.slot
                text, ahead = done.text, done
            else:
                self._wait(text, self._with(ahead, step.standing), cancels=step.do is Do.CANCEL)
                return fired
        self._note(text, ahead)
        return fired

    def _begun(self, before: Progress | None) -> Progress:
        table = self.entry.schedule.timetable
        if before is None:
            return Progress(Standing.begun(table, self.now).as_json())
        return replace(before, gone=False, standing=Standing.of_json(before.standing).again(table, self.now).as_json())

    def _with(self, progress: Progress, standing: Standing, passed_over: int = 0) -> Progress:
        if passed_over:
            log.warning("schedule %s: %s slots were missed or left out", self.entry.name, passed_over)
        return replace(progress, standing=standing.as_json(), passed=progress.passed + passed_over)

    def _goes_on(self, run_id: str) -> bool:
        state = self.ledger.runs.peek(run_id)[0] if run_id else None
        return state is not None and not is_final(state)

    def _fire(self, text: str, ahead: Progress, step: Move) -> Progress | None:
        """Return the record with the run of a slot in it, or with why there is none; None: somebody else was here."""
        after = replace(self._with(ahead, step.standing), trouble=None)
        try:
            one = run_of(self.entry, self.fleet, self.home, step.slot, actor=f"schedule {self.entry.name}")
        except BadInput as error:
            log.error("schedule %s cannot be fired: %s", self.entry.name, error)  # noqa: TRY400  the reason is enough
            trouble = {"at": self.now, "said": str(error)}
            after = replace(after, trouble=trouble, passed=after.passed + 1)
            return after if self._note(text, after) else None
        after = replace(after, run=RUN_MARK, slot=step.slot)
        run_id = self.ledger.schedules.fire(one, text, after)
        if run_id is None:
            return None
        log.info("schedule %s: slot %s is run %s", self.entry.name, one.slot, run_id)
        return replace(after, run=run_id)

    def _wait(self, text: str, ahead: Progress, *, cancels: bool) -> None:
        """Note what waits; have the run before end, if that is wanted and was not asked yet."""
        self._note(text, ahead)
        before = self.ledger.runs.some([ahead.run], ["state", "cancel"]) if cancels else []
        if before and not before[0].cancel and self.ledger.nodes.safe_mode() is None:
            self.ledger.runs.cancel(ahead.run, actor=f"schedule {self.entry.name}")

    def _note(self, before: str, after: Progress) -> bool:
        if after.text == before:
            return True
        return self.ledger.schedules.note(self.entry.name, before, after.text, patience_s=0, turn=True) == "ok"
