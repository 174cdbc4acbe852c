"""Keeps the roles of one node alive: starts them in order, brings back what dies or falls silent, stops them in order.

    python -m workers.watcher             in this terminal; Ctrl-C stops everything, running commands too
    python -m workers.watcher --detach    in the background; returns when the roles are up
    python -m workers.watcher --down      stops the watcher of this folder; commands go on (--kill: they end as well)

Signal handlers only queue. One turn looks at every role and does at most one thing about it (`policy.decide`).
"""

from __future__ import annotations

import enum
import logging
import os
import random
import select
import signal
import sys
import time
from typing import TYPE_CHECKING

from infra_tasks import __version__
from infra_tasks.errors import AlreadyRunning, BackupFailed, InfraError
from infra_tasks.masked_logs import mask_logs
from infra_tasks.runner.cell import make_room
from infra_tasks.settings import home as home_of
from workers import lock, stopping
from workers.json_file import write_json
from workers.log_file import follow, keep_small
from workers.node_file import kept_port, passwords
from workers.plan_source import PlanSource
from workers.policy import Order
from workers.pulses import FilePulses, Pulses, RedisPulses
from workers.role_files import RoleFiles
from workers.roles import RolePlan, unknown_role
from workers.watched import Turn, Watched

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

    from infra_tasks.settings import Home

TURN_S = 0.2
BUSY_TURN_S = 0.03  # while a role is on its way up or down
GAP_S = 2.0  # a turn that comes this late was not late because of work: the watcher did not run
HOUSEKEEPING_EVERY_S = 2.0
COMMANDS_END_S = 30.0  # how long Ctrl-C waits for running commands to end

log = logging.getLogger("watcher")


class Phase(enum.StrEnum):
    """What the watcher as a whole is doing."""

    STARTING = "starting"
    UP = "up"
    ENDING_COMMANDS = "ending commands"
    STOPPING = "stopping"


class Watcher:
    """The one watcher of one node's folder. Raises AlreadyRunning when there is one."""

    def __init__(
        self,
        home: Home,
        plans: Callable[[], tuple[RolePlan, ...]],
        *,
        env: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        luck: Callable[[], float] = random.random,
    ) -> None:
        self.home = home
        self.phase = Phase.STARTING
        self._plans = plans
        self._env = {**(os.environ if env is None else env), "INFRA_HOME": str(home.root)}
        self._clock, self._luck = clock, luck
        self._since = self._last_turn = self._housekept = clock()
        RoleFiles(home, "watcher").make_folders()
        self._lock_fd = _take_watcher_lock(home)
        stopping.withdraw(home)
        self.roles: list[Watched] = []
        self._leaving: list[Watched] = []
        self._signals: list[int] = []
        self._redis_port = kept_port(home, "redis")
        self._complaints: dict[str, str] = {}
        self._set_plans(plans(), self._since)
        self._leaving += [self._watch(unknown_role(name), self._since) for name in self._strange_names()]
        for role in [*self.roles, *self._leaving]:
            role.forget_the_dead()
        self._say()

    # -- the loop

    def run(self) -> int:
        """Run until told to stop and everything is stopped; return the exit code."""
        wake = self._listen_to_signals()
        while not self.run_once(self._clock()):
            select.select([wake], [], [], TURN_S if self._all_is_well() else BUSY_TURN_S)
            _drain(wake)
        self.close()
        return 0

    def run_once(self, now: float) -> bool:
        """Do one turn; return True when everything is stopped."""
        self._forgive_gap(now)
        while self._signals:
            self._hear(self._signals.pop(0), now)
        if now - self._housekept >= HOUSEKEEPING_EVERY_S:
            self._housekept = now
            try:
                self._keep_house(now)
            except OSError as error:
                self._complain("house", f"the node's files could not be looked after: {error}")
        self._turn_roles(now)
        return self._next_phase(now)

    def close(self) -> None:
        """Let go of the node's folder."""
        stopping.withdraw(self.home)
        for role in self.roles:
            role.process.let_go()
        os.close(self._lock_fd)

    def hear(self, signum: int, _frame: FrameType | None = None) -> None:
        """Queue a signal for the next turn."""
        self._signals.append(signum)

    def _listen_to_signals(self) -> int:
        read, write = os.pipe()
        os.set_blocking(read, False)
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        # SIGHUP has a handler and is not ignored: what is ignored would stay so in the roles.
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
            signal.signal(signum, self.hear)
        return read

    # -- one turn

    def _forgive_gap(self, now: float) -> None:
        gap_s, self._last_turn = now - self._last_turn, now
        if gap_s > GAP_S:
            log.warning("the watcher did not run for %.1f s; no role is called silent for that", gap_s)
            for role in self.roles:
                role.forgive(gap_s)

    def _hear(self, signum: int, now: float) -> None:
        if signum == signal.SIGINT and self.phase in (Phase.STARTING, Phase.UP):
            stopping.ask_to_end_commands(self.home)
            self._enter(Phase.ENDING_COMMANDS, now)
        elif signum == signal.SIGTERM or (signum == signal.SIGINT and self.phase is Phase.ENDING_COMMANDS):
            self._enter(Phase.STOPPING, now)

    def _turn_roles(self, now: float) -> None:
        # Unreadable for a moment it is what it was: roles are not renewed for that.
        self._redis_port = kept_port(self.home, "redis") or self._redis_port
        may_start = True
        for role, order in zip(self.roles, self._orders(), strict=True):
            self._turn_one(role, self._turn(role, order, now, may_start=may_start))
            may_start = may_start and role.lets_next_start(now)
        for role in self._leaving:
            self._turn_one(role, self._turn(role, Order.STOP, now, may_start=False))
        for role in [role for role in self._leaving if role.rests]:
            role.let_go()
            self._leaving.remove(role)

    def _turn_one(self, role: Watched, turn: Turn) -> None:
        """Without files or room for one role, the others are still watched, and it is looked at again."""
        try:
            role.turn(turn)
        except OSError as error:
            self._complain(role.name, f"{role.name} could not be looked after: {error}")

    def _complain(self, about: str, what: str) -> None:
        """Once, until something else is wrong with it: on a full disk many things are, in every turn."""
        if what != self._complaints.get(about):
            log.error("%s", what)
        self._complaints[about] = what

    def _turn(self, role: Watched, order: Order, now: float, *, may_start: bool) -> Turn:
        stamp = role.plan.stamp(__version__, self._redis_port)
        return Turn(order, now, self._env, stamp, may_start=may_start, luck=self._luck())

    def _all_is_well(self) -> bool:
        return all(role.runs for role in self.roles) and not self._leaving

    def _orders(self) -> list[Order]:
        """While stopping, a role's turn comes when all roles after it rest."""
        if self.phase is not Phase.STOPPING:
            return [Order.RUN] * len(self.roles)
        resting = [all(later.rests for later in self.roles[place + 1 :]) for place in range(len(self.roles))]
        return [Order.STOP if turn else Order.HOLD for turn in resting]

    def _next_phase(self, now: float) -> bool:
        if self.phase is Phase.STARTING and all(role.was_ready for role in self.roles):
            self._enter(Phase.UP, now)
        if self.phase is Phase.ENDING_COMMANDS and not self._commands_may_end(now):
            self._enter(Phase.STOPPING, now)
        return self.phase is Phase.STOPPING and all(role.rests for role in [*self.roles, *self._leaving])

    def _commands_may_end(self, now: float) -> bool:
        return stopping.commands_run(self.home) and now - self._since < COMMANDS_END_S

    def _enter(self, phase: Phase, now: float) -> None:
        if phase is not self.phase:
            log.info("%s", phase)
            self.phase, self._since = phase, now
            self._say()

    def _say(self) -> None:
        says = {"pid": os.getpid(), "since_at": time.time(), "version": __version__, "state": str(self.phase)}
        try:
            write_json(self.home.root / "watcher.json", says)
        except OSError as error:
            self._complain("watcher.json", f"watcher.json cannot be written: {error}")

    # -- plans

    def _keep_house(self, now: float) -> None:
        watcher_log = RoleFiles(self.home, "watcher").log
        for path in [watcher_log, *(role.files.log for role in self.roles)]:
            keep_small(path)
        follow(watcher_log, 1, 2)
        self.reload(now)

    def reload(self, now: float) -> None:
        """Take up a changed nodes.json: what runs by an old plan is renewed in order, the rest is left alone."""
        plans = self._plans()
        if plans != tuple(role.plan for role in self.roles):
            self._set_plans(plans, now)

    def _set_plans(self, plans: tuple[RolePlan, ...], now: float) -> None:
        known = {role.name: role for role in self.roles}
        self._leaving += [role for name, role in known.items() if name not in {plan.name for plan in plans}]
        self.roles = [known.get(plan.name) or self._watch(plan, now) for plan in plans]
        for role, plan in zip(self.roles, plans, strict=True):
            role.plan = plan

    def _watch(self, plan: RolePlan, now: float) -> Watched:
        files = RoleFiles(self.home, plan.name)
        pulses: Pulses = RedisPulses(self._redis_door) if plan.answers_ping else FilePulses(files.beat)
        return Watched(plan, files, pulses, now)

    def _redis_door(self) -> tuple[int, str]:
        port = kept_port(self.home, "redis")
        if port is None:
            raise ConnectionRefusedError
        return port, (self.home.secrets / "redis.password").read_text().strip()

    def _strange_names(self) -> list[str]:
        """Roles an earlier watcher ran and no plan names any more."""
        planned = {role.name for role in self.roles}
        return sorted({path.stem for path in self.home.roles.glob("*.lock")} - planned)


def _take_watcher_lock(home: Home) -> int:
    path = home.root / "watcher.lock"
    fd = lock.take(path)
    if fd is None:
        other = lock.holder(path)
        raise AlreadyRunning(
            f"a watcher already runs for {home.root}: pid {other.pid if other else 'unknown'}. "
            "Stop it with `infra down`, or set INFRA_HOME to another folder"
        )
    if home.restoring_json.exists():
        os.close(fd)
        raise BackupFailed(
            f"a backup was being put into {home.root} and that did not end: half of it does not start. "
            "`infra restore FILE` undoes that half and begins anew"
        )
    lock.sign(fd, os.getpid())
    return fd


def _drain(fd: int) -> None:
    try:
        while os.read(fd, 512):
            pass
    except BlockingIOError:
        pass


def main(arguments: list[str]) -> int:
    """Run what the command line asks for; return the exit code."""
    home = home_of()
    try:
        if "--detach" in arguments:
            from workers.detach import detach  # noqa: PLC0415  the watcher itself never needs it

            print(f"pid {detach(home)}")  # noqa: T201  this is a command
            return 0
        if "--down" in arguments:
            from workers.down import down  # noqa: PLC0415

            down(home, kill="--kill" in arguments)
            return 0
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
        mask_logs(passwords(home))
        make_room()
        return Watcher(home, PlanSource(home)).run()
    except InfraError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
