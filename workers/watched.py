"""One role in the watcher's hands: look, decide, do."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workers import policy
from workers.json_file import read_json, write_json
from workers.log_file import keep_small, last_lines
from workers.policy import LIVING, Claimant, Decision, Life, Order, Seen, State
from workers.role_process import RoleProcess

if TYPE_CHECKING:
    from workers.pulses import Pulses
    from workers.role_files import RoleFiles
    from workers.roles import RolePlan

log = logging.getLogger("watcher")


@dataclass(frozen=True)
class Turn:
    """What the watcher brings to one look at one role."""

    order: Order
    now: float
    env: dict[str, str]
    stamp: str  # what the role would be started by now
    may_start: bool
    luck: float


class Watched:
    """A role, its process and what is remembered of both."""

    def __init__(self, plan: RolePlan, files: RoleFiles, pulses: Pulses, now: float) -> None:
        self.plan = plan
        self.files = files
        self.life = Life(State.WAITING, since=now, pulse_at=now)
        self.stamp = ""  # what the living process was started by
        self.process = RoleProcess(files)
        self._pulses = pulses
        self._late_from: float | None = None  # since when the roles after this one wait for it
        self._restarts = 0
        self._was_started = False
        self._unsaid = False
        self.was_ready = False

    @property
    def name(self) -> str:
        """The role's name."""
        return self.plan.name

    @property
    def lives(self) -> bool:
        """Whether there is a process."""
        return self.life.state in LIVING

    @property
    def runs(self) -> bool:
        """Whether it is ready and was not asked to stop."""
        return self.life.state is State.RUNNING

    @property
    def rests(self) -> bool:
        """Whether it is stopped for good."""
        return self.life.state is State.STOPPED

    def lets_next_start(self, now: float) -> bool:
        """Whether the roles after this one may start: it is ready, or it had its time."""
        if self.runs:
            return True
        return self._late_from is not None and now - self._late_from >= self.plan.ready_s

    def turn(self, turn: Turn) -> None:
        """Do one thing, or nothing."""
        if turn.order is Order.RUN and turn.may_start and self.lives and self.stamp != turn.stamp:
            turn = replace(turn, order=Order.RENEW)
        seen = self._look(turn)
        if seen.pulse:
            self.life = replace(self.life, pulse_at=turn.now)
        decision = policy.decide(self.plan.patience, self.life, seen, turn.order, turn.now)
        before = self.life.state
        if decision is not Decision.NOTHING:
            self._do(decision, turn, seen)
        if self.life.state is not before or self._unsaid:
            self.say()

    def _look(self, turn: Turn) -> Seen:
        if self.lives:
            pulse = self._pulses.beaten(turn.now)
            return Seen(alive=self.process.alive(), pulse=pulse, serves=self._pulses.serves)
        return Seen(alive=False, pulse=False, claimant=self.process.claimant(), may_start=turn.may_start)

    def _do(self, decision: Decision, turn: Turn, seen: Seen) -> None:
        match decision:
            case Decision.START:
                self._start(turn)
            case Decision.ADOPT:
                self._adopt(turn.now)
            case Decision.CLEAR:
                log.warning("%s: a dead %s left children; killing them", self.name, self.name)
                self.process.clear()
            case Decision.CALL_READY:
                self._call_ready(turn.now)
            case Decision.BURY:
                self._bury(turn)
            case Decision.ASK_STOP:
                self._ask(turn, seen)
            case Decision.KILL:
                log.warning("%s: pid %s does not stop; killing it", self.name, self.process.pid)
                self.process.kill()
                self.life = replace(self.life, state=State.KILLING, since=turn.now)
            case Decision.REST:
                self.life = replace(self.life, state=State.STOPPED, since=turn.now)

    def _start(self, turn: Turn) -> None:
        keep_small(self.files.log)
        self._pulses.reset(turn.now)
        self._late_from = turn.now if self._late_from is None else self._late_from
        # Renewed by a changed plan it did nothing wrong: only what fell is counted.
        self._restarts += self._was_started and self.stamp == turn.stamp
        self._was_started = True
        self.stamp = turn.stamp
        try:
            self.process.start(self.plan, turn.env)
        except OSError as error:
            log.error("%s: cannot be started: %s", self.name, error)  # noqa: TRY400  the sentence is the whole truth
            self.life = self._buried(policy.started(self.life, turn.now), turn, Order.RUN)
            return
        self.life = policy.started(self.life, turn.now)
        log.info("%s: started, pid %s", self.name, self.process.pid)

    def _adopt(self, now: float) -> None:
        said = read_json(self.files.status)
        self.process.adopt()
        self._pulses.reset(now)
        self.stamp = str(said.get("stamp", ""))
        self._restarts = int(said.get("restarts", 0))
        self._was_started = self.was_ready = True
        self.life = policy.adopted(self.life, now)
        log.info("%s: adopted, pid %s", self.name, self.process.pid)

    def _call_ready(self, now: float) -> None:
        self._late_from, self.was_ready = None, True
        self.life = replace(self.life, state=State.RUNNING, since=now)
        log.info("%s: ready, pid %s, %.1f s after its start", self.name, self.process.pid, now - self.life.born_at)

    def _bury(self, turn: Turn) -> None:
        before, pid = self.life, self.process.pid
        code = self.process.bury()
        self._late_from = turn.now if self._late_from is None else self._late_from
        self.life = self._buried(before, turn, turn.order)
        if before.state in (State.STOPPING, State.KILLING):
            log.info("%s: stopped, pid %s", self.name, pid)
            return
        lived_s, retry_s = turn.now - before.born_at, self.life.next_try_at - turn.now
        said = last_lines(self.files.log, 5)
        log.warning("%s: pid %s died (%s) after %.1f s; next try in %.1f s\n%s",
                    self.name, pid, _ended(code), lived_s, retry_s, said)  # fmt: skip

    def _buried(self, life: Life, turn: Turn, order: Order) -> Life:
        return policy.buried(life, turn.now, order, turn.luck, self.plan.patience.longest_delay_s)

    def _ask(self, turn: Turn, seen: Seen) -> None:
        silent = policy.is_silent(self.plan.patience, self.life, seen, turn.now)
        if silent:
            log.warning("%s: pid %s is silent for %.0f s", self.name, self.process.pid, turn.now - self.life.pulse_at)
        self.process.ask(self.plan.stop_signal)
        self.life = policy.asked_to_stop(self.life, turn.now, silent=silent)

    def forgive(self, gap_s: float) -> None:
        """Count no silence for the time in which the watcher did not run."""
        self.life = policy.forgave_gap(self.life, gap_s)

    def forget_the_dead(self) -> None:
        """Remove what an earlier watcher said about a process that is no more."""
        if self.process.claimant() is Claimant.NOBODY:
            self.files.status.unlink(missing_ok=True)

    def let_go(self) -> None:
        """Leave a stopped role that is no longer wanted to whoever starts it by hand."""
        self.process.let_go()
        self.files.status.unlink(missing_ok=True)

    def say(self) -> None:
        """Write what `infra status` shows; what cannot be written (a full disk) is written later."""
        holder = self.process.holder if self.lives else None
        says = {
            "pid": self.process.pid if self.lives else None,
            "started": holder.started if holder else None,
            "since_at": time.time(),
            "restarts": self._restarts,
            "state": str(self.life.state),
            "stamp": self.stamp,
        }
        try:
            write_json(self.files.status, says)
        except OSError as error:
            if not self._unsaid:
                log.error("%s: its state cannot be written: %s", self.name, error)  # noqa: TRY400  the sentence is enough
            self._unsaid = True
        else:
            self._unsaid = False


def _ended(code: int | None) -> str:
    if code is None:
        return "not our child, so nobody knows how"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
