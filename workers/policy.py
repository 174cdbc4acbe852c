"""What the watcher does next about one role: a pure function of what it knows and what it sees.

    WAITING --start--> STARTING --first heartbeat--> RUNNING --asked--> STOPPING --deadline--> KILLING
       ^                   |                            |                   |                     |
       +------ BACKOFF <---+------------ died ----------+-------------------+---------------------+

Whatever dies is started again, later each time, for ever. Whatever is silent is asked, then killed.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

FIRST_DELAY_S = 0.1  # a role that lived is back at once
NEXT_DELAY_S = 1.0  # doubled from death to death
LONGEST_DELAY_S = 30.0
JITTER = 0.25  # +-, so that the roles of many nodes do not come back in step
FORGIVEN_PER_S = 10.0  # one death is forgotten for every so many seconds of life
FORGIVEN_S = 60.0  # all deaths are
STILL_THERE_S = 1.0  # SIGKILL is repeated this often
SILENT_STOP_S = 5.0  # who is silent gets no longer to stop in order


class State(enum.StrEnum):
    """Where a role is in its life."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    KILLING = "killing"
    BACKOFF = "backoff"
    STOPPED = "stopped"


LIVING = frozenset({State.STARTING, State.RUNNING, State.STOPPING, State.KILLING})


class Order(enum.Enum):
    """What the watcher as a whole wants of a role."""

    RUN = enum.auto()
    RENEW = enum.auto()  # it runs by an old plan: stop it, the next start takes the new one
    HOLD = enum.auto()  # not its turn to stop, but never start it again
    STOP = enum.auto()


class Claimant(enum.Enum):
    """Who holds the lock of a role that is not in the watcher's hands."""

    NOBODY = enum.auto()
    ROLE = enum.auto()  # a living process, known by pid and start time
    LEFTOVER = enum.auto()  # children of a role that is dead
    UNKNOWN = enum.auto()  # it has not said yet who it is


class Decision(enum.Enum):
    """One thing to do, or nothing."""

    NOTHING = enum.auto()
    START = enum.auto()
    ADOPT = enum.auto()
    CLEAR = enum.auto()  # kill the leftovers of a dead role
    CALL_READY = enum.auto()
    BURY = enum.auto()  # it died: note it, reap it, plan the next try
    ASK_STOP = enum.auto()
    KILL = enum.auto()
    REST = enum.auto()  # it is gone and shall stay so


@dataclass(frozen=True)
class Patience:
    """How long a role may take, in seconds."""

    boot_s: float = 60.0
    silence_s: float = 20.0
    stop_s: float = 10.0
    longest_delay_s: float = LONGEST_DELAY_S


@dataclass(frozen=True)
class Life:
    """What the watcher remembers of one role. Moments are its own monotonic clock."""

    state: State
    since: float
    pulse_at: float
    born_at: float = 0.0
    deaths: int = 0
    next_try_at: float = 0.0
    was_silent: bool = False


@dataclass(frozen=True)
class Seen:
    """What the watcher sees of one role in one turn."""

    alive: bool
    pulse: bool
    serves: bool = True  # a Redis that loads its data lives, but is not ready
    claimant: Claimant = Claimant.NOBODY
    may_start: bool = True


def decide(patience: Patience, life: Life, seen: Seen, order: Order, now: float) -> Decision:
    """Return what to do about a role now."""
    if life.state in LIVING:
        return _about_living(patience, life, seen, order, now)
    if seen.claimant is Claimant.ROLE:
        return Decision.ADOPT
    if seen.claimant is Claimant.LEFTOVER:
        return Decision.CLEAR
    return _about_absent(life, seen, order, now)


def _about_absent(life: Life, seen: Seen, order: Order, now: float) -> Decision:
    if order in (Order.HOLD, Order.STOP):
        return Decision.NOTHING if life.state is State.STOPPED else Decision.REST
    if seen.claimant is Claimant.UNKNOWN or not seen.may_start or now < life.next_try_at:
        return Decision.NOTHING
    return Decision.START


def _about_living(patience: Patience, life: Life, seen: Seen, order: Order, now: float) -> Decision:
    if not seen.alive:
        return Decision.BURY
    if life.state is State.KILLING:
        return Decision.KILL if now - life.since >= STILL_THERE_S else Decision.NOTHING
    if life.state is State.STOPPING:
        return Decision.KILL if now - life.since >= _stop_s(patience, life) else Decision.NOTHING
    if order in (Order.RENEW, Order.STOP) or is_silent(patience, life, seen, now):
        return Decision.ASK_STOP
    if life.state is State.STARTING and seen.pulse and seen.serves:
        return Decision.CALL_READY
    return Decision.NOTHING


def is_silent(patience: Patience, life: Life, seen: Seen, now: float) -> bool:
    """Say whether a living role has not shown a heartbeat for too long."""
    allowed_s = patience.boot_s if life.state is State.STARTING else patience.silence_s
    return not seen.pulse and now - life.pulse_at > allowed_s


def _stop_s(patience: Patience, life: Life) -> float:
    return min(patience.stop_s, SILENT_STOP_S) if life.was_silent else patience.stop_s


def started(life: Life, now: float) -> Life:
    """Return the life of a role whose process was just started."""
    return replace(life, state=State.STARTING, since=now, born_at=now, pulse_at=now, was_silent=False)


def adopted(life: Life, now: float) -> Life:
    """Return the life of a role that was found alive."""
    return replace(life, state=State.RUNNING, since=now, born_at=now, pulse_at=now, was_silent=False)


def asked_to_stop(life: Life, now: float, *, silent: bool) -> Life:
    """Return the life of a role that was sent its stop signal."""
    return replace(life, state=State.STOPPING, since=now, was_silent=silent)


def buried(life: Life, now: float, order: Order, luck: float, longest_s: float = LONGEST_DELAY_S) -> Life:
    """Return the life of a role that died; `luck` (0..1) spreads the next try, at most `longest_s` later."""
    on_purpose = life.state in (State.STOPPING, State.KILLING) and not life.was_silent
    deaths = 0 if on_purpose else _deaths(life, now)
    state = State.BACKOFF if order in (Order.RUN, Order.RENEW) else State.STOPPED
    return replace(life, state=state, since=now, deaths=deaths, next_try_at=now + delay_s(deaths, luck, longest_s))


def _deaths(life: Life, now: float) -> int:
    lived_s = now - life.born_at
    if lived_s >= FORGIVEN_S:
        return 1
    return max(1, life.deaths + 1 - int(lived_s / FORGIVEN_PER_S))


def delay_s(deaths: int, luck: float, longest_s: float = LONGEST_DELAY_S) -> float:
    """Return how many seconds to wait after so many deaths in a row, `longest_s` at most."""
    if deaths <= 1:
        return FIRST_DELAY_S * deaths
    plain_s = NEXT_DELAY_S * 2.0 ** min(deaths - 2, 10)
    return min(longest_s, plain_s * (1 - JITTER + 2 * JITTER * luck))


def forgave_gap(life: Life, gap_s: float) -> Life:
    """Return the life after `gap_s` in which the watcher itself did not run: no silence is counted for it."""
    return replace(life, pulse_at=life.pulse_at + gap_s)
