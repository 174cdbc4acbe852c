"""What must never be: decided from the notes of a storm alone, after everything has come to rest.

An attempt that was *harmed* - its shim killed, or its node away for so long that it stopped itself or others got it -
may have done its work without anybody having been able to learn of it: then, and only then, may it be done again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.notes import Handed, Note, Story
    from chaos.plan import Part

SUCCESS, FAILURE, REVOKED = "SUCCESS", "FAILURE", "REVOKED"
BY_ITS_CODE = frozenset({"", "exit_code"})
"""Why a run that was to fail may have failed; "" where a system gives no reason."""
POISONED_AFTER = 3
CONSUMES_WITHIN_S = 30.0
NOTES_WITHIN_S = 3.0
"""A command that has not come to its end lives, and will note that again, for so long after its last note: five times a
second, on a busy machine less often."""
THAWED_S = 3.0
"""What a frozen node does before its shims are awake as well: nobody can take that back (docs/chaos.md)."""


class Violation(NamedTuple):
    """A broken promise. `kind`: one of the words below; `what`: which run, what was found."""

    kind: str
    what: str


class Absence(NamedTuple):
    """A node that was away: what was leased to it may have been stopped, or given to others, from when until when."""

    node: str
    since: float
    until: float


class Thaw(NamedTuple):
    """A node that was frozen for longer than a lease, since when, and when it was thawed."""

    node: str
    since: float
    at: float


@dataclass(frozen=True)
class Strain:
    """What the strikes may cost, and nothing beyond: see `chaos.nemeses`."""

    harmed: frozenset[tuple[str, int]] = frozenset()
    absent: tuple[Absence, ...] = ()
    thawed: tuple[Thaw, ...] = ()
    forgotten: tuple[tuple[float, float], ...] = ()
    reasons: frozenset[str] = frozenset()
    within_s: float | None = None
    cancelled: frozenset[str] = frozenset()

    def forgets(self, since: float, at: float) -> bool:
        """Whether what was handed in from `since` on and accepted `at` may be in nobody's memory but its giver's."""
        return any(copied <= at and since <= back for copied, back in self.forgotten)


def violations(story: Story, strain: Strain) -> list[Violation]:
    """Return every broken promise."""
    return list(_Check(story, strain).all())


class _Attempt(NamedTuple):
    run: str
    number: int
    token: str
    node: str
    since: float
    until: float
    codes: tuple[int, ...]
    starts: int
    done_at: float | None


class _Check:
    def __init__(self, story: Story, strain: Strain) -> None:
        self.story, self.strain = story, strain
        self.parts: dict[str, Part] = {}
        self.sure: set[str] = set()
        self.accepted: dict[str, tuple[float, float]] = {}
        for handed in story.handed:
            for run, part in handed.runs():
                self.parts[run] = part
                self.accepted[run] = (handed.since, handed.at)
                if handed.sure:
                    self.sure.add(run)
        self.notes = defaultdict(list)
        for note in story.notes:
            self.notes[note.run, note.token].append(note)
        self.attempts = defaultdict(list)
        for one in _attempts(story.notes):
            self.attempts[one.run].append(one)
        self.followers = {run: before for handed in story.handed for run, before in _followers(handed)}

    def all(self) -> Iterator[Violation]:
        yield from self.lost()
        yield from self.wrong_ends()
        yield from self.changed()
        yield from self.uninvited()
        yield from self.late()
        yield from self.overlapping()
        yield from self.repeated()
        yield from self.ends_earned()
        yield from self.followers_once()
        yield from self.slots()
        yield from self.code()
        yield from self.rest()

    def lost(self) -> Iterator[Violation]:
        """Every accepted run has one final state."""
        for run in sorted(self.sure):
            if self.story.ends.get(run) is None and self._is_due(run) and not self._may_be_forgotten(run):
                yield Violation("lost", f"{run} was accepted and has no end: {self._told(run)}")

    def _is_due(self, run: str) -> bool:
        """What comes behind others is due only when all of them have succeeded."""
        before = self.followers.get(run, ())
        return all((end := self.story.ends.get(one)) is not None and end.state == SUCCESS for one in before)

    def _may_be_forgotten(self, run: str) -> bool:
        """Accepted after the copy that the ledger was rolled back to, and nobody else knows of it."""
        began, at = self.accepted[run]
        return run not in self.attempts and any(
            since <= at and began <= until for since, until in self.strain.forgotten
        )

    def wrong_ends(self) -> Iterator[Violation]:
        for run, part in self.parts.items():
            end = self.story.ends.get(run)
            if end is None or (end.state == SUCCESS and part.succeeds):
                continue
            if end.state == FAILURE and not part.succeeds and end.reason in BY_ITS_CODE:
                continue
            if end.state == REVOKED and run in self.strain.cancelled:
                continue
            harmed = sum(map(self._is_harmed, self.attempts[run]))
            poisoned = end.reason == "poisoned" and harmed >= POISONED_AFTER
            if not poisoned and end.reason not in self.strain.reasons:
                yield Violation("wrong end", f"{run} ended as {end.state} {end.reason}: {self._told(run)}")

    def changed(self) -> Iterator[Violation]:
        """A final state is for good."""
        for run, seen in self.story.seen.items():
            end = self.story.ends.get(run)
            if end != seen.end and not (end is None and self._may_be_forgotten(run)):
                yield Violation("changed", f"{run} was seen as {seen.end}, and is {end}")

    def uninvited(self) -> Iterator[Violation]:
        for run in sorted(set(self.attempts) - set(self.parts)):
            yield Violation("uninvited", f"{run} was never handed in: {self._told(run)}")

    def late(self) -> Iterator[Violation]:
        """Nothing happens after a final state."""
        for one in self.story.notes:
            seen = self.story.seen.get(one.run)
            if seen and one.at > seen.at and not self._thawing(one):
                yield Violation("late", f"{one.run} noted {one.what} {one.at - seen.at:.2f} s after it was final")

    def overlapping(self) -> Iterator[Violation]:
        """Never two attempts of a run alive at once."""
        for run, attempts in self.attempts.items():
            awake = [one for one in attempts if self._is_awake(one)]
            for first, second in pairwise(sorted(awake, key=lambda one: one.since)):
                if second.since < self._until(first):
                    yield Violation("overlapping", f"{run} ran twice at once: {self._told(run)}")

    def repeated(self) -> Iterator[Violation]:
        """Nothing is started again but what asked for it, or was harmed; and no attempt is started twice."""
        for run, attempts in self.attempts.items():
            for one in attempts:
                if one.starts > 1:
                    yield Violation("repeated", f"{run}: attempt {one.number} was started {one.starts} times")
            part = self.parts.get(run)
            if part is not None and not self._has_causes(part, attempts):
                yield Violation("repeated", f"{run} was started again without a cause: {self._told(run)}")

    def _has_causes(self, part: Part, attempts: list[_Attempt]) -> bool:
        """Whether each but the last was harmed, or stopped itself, or failed while a retry was left."""
        before = sorted(attempts, key=lambda one: (one.number, one.since))[:-1]
        by_themselves = [one for one in before if not self._is_harmed(one)]
        return len(by_themselves) <= part.retries and all(any(one.codes) for one in by_themselves)

    def ends_earned(self) -> Iterator[Violation]:
        """An end has an effect that came to it under the recorded token; a SUCCESS has no other successful effect."""
        for run, end in self.story.ends.items():
            if end is None or end.state not in {SUCCESS, FAILURE}:
                continue
            if end.state == FAILURE and end.reason not in BY_ITS_CODE:
                continue
            fitting = [one for one in self.attempts[run] if _came_to(one, end.state)]
            if not any(end.token in {"", one.token} for one in fitting):
                yield Violation("unearned", f"{run} is {end.state} by {end.token}, which did not: {self._told(run)}")
            elif end.state == SUCCESS:
                its_own = end.token or fitting[-1].token
                others = [one for one in fitting if one.token != its_own and not self._is_harmed(one)]
                if others:
                    yield Violation("doubled", f"{run} did its work {1 + len(others)} times: {self._told(run)}")

    def followers_once(self) -> Iterator[Violation]:
        """The body of a chord, a step of a chain: behind all that go before, and once."""
        for run, before in self.followers.items():
            if not self.attempts[run]:
                continue
            begun = min(one.since for one in self.attempts[run])
            early = [one for one in before if not any(_was_done(each, begun) for each in self.attempts[one])]
            if early:
                yield Violation("early", f"{run} began before {', '.join(early)} had succeeded")

    def slots(self) -> Iterator[Violation]:
        """A node never runs more at once than it has slots."""
        by_node = defaultdict(list)
        for attempts in self.attempts.values():
            for one in attempts:
                by_node[one.node].append(one)
        for node, attempts in by_node.items():
            awake = [one for one in attempts if self._is_awake(one)]
            most, at = _most_at_once([one._replace(until=self._until(one)) for one in awake])
            if node in self.story.slots and most > self.story.slots[node]:
                yield Violation("slots", f"{node} ran {most} at once at {at:.2f}, with {self.story.slots[node]} slots")

    def code(self) -> Iterator[Violation]:
        """A command finds the code it was recorded for, and no other."""
        for one in self.story.notes:
            if one.what != "start":
                continue
            end, part = self.story.ends.get(one.run), self.parts.get(one.run)
            if part and part.project and not one.release:
                yield Violation("other code", f"{one.run} of project {part.project} was given no code")
            elif one.tree != one.release:
                yield Violation("other code", f"{one.run} of release {one.release[:12]} found {one.tree[:12]}")
            elif end and end.token == one.token and end.release != one.release:
                yield Violation("other code", f"{one.run} ran {one.release[:12]}, recorded is {end.release[:12]}")

    def rest(self) -> Iterator[Violation]:
        """What is left when everything has come to rest."""
        for left in self.story.unfinished:
            yield Violation("unfinished", left)
        for process in self.story.living:
            yield Violation("living", process)
        for found in self.story.audit:
            yield Violation("audit", found)
        within_s = self.strain.within_s
        for queue, took_s in self.story.consumed_after_s.items():
            if took_s is None or (within_s is not None and took_s > within_s):
                said = "never" if took_s is None else f"only after {took_s:.1f} s"
                yield Violation("deaf", f"{queue} consumes {said} after the last strike")

    def _is_harmed(self, one: _Attempt) -> bool:
        if (one.run, one.number) in self.strain.harmed:
            return True
        part = self.parts.get(one.run)
        if part is not None and "kill-parent" in part.habits and one.number == 1:
            return True
        # One that is pinned has no lease: that its node is away changes nothing.
        alive_until = one.until if one.codes else one.until + NOTES_WITHIN_S
        return self._is_leased(one.run) and any(
            one.node == gone.node and one.since <= gone.until and alive_until >= gone.since
            for gone in self.strain.absent
        )

    def _is_leased(self, run: str) -> bool:
        part = self.parts.get(run)
        return part is not None and part.node == ""

    def _is_awake(self, one: _Attempt) -> bool:
        """It is more than what a thawed node does before its shims are awake."""
        return not all(map(self._thawing, self._notes_of(one)))

    def _until(self, one: _Attempt) -> float:
        """When it was last alive, without what a thawed node does before its shims are awake."""
        alive = [note.at for note in self._notes_of(one) if not self._thawing(note)]
        return max(alive, default=one.since)

    def _notes_of(self, one: _Attempt) -> list[Note]:
        return self.notes[one.run, one.token]

    def _thawing(self, note: Note) -> bool:
        """What an attempt does that slept through its lease, in the first moments after its thaw."""
        return self._is_left_behind(note) and any(
            note.node == thaw.node and thaw.at <= note.at <= thaw.at + THAWED_S for thaw in self.strain.thawed
        )

    def _is_left_behind(self, note: Note) -> bool:
        """Others have had its run since, or it ended without a success of this attempt."""
        end = self.story.ends.get(note.run)
        if not self._is_leased(note.run) or (end and end.state == SUCCESS and end.token == note.token):
            return False
        failed = end is not None and end.state != SUCCESS
        return failed or any(one.number > note.attempt for one in self.attempts[note.run])

    def _told(self, run: str) -> str:
        end = self.story.ends.get(run)
        parts = [
            f"{one.number} on {one.node} {one.since:.2f}-{one.until:.2f} {list(one.codes)} {one.token[-6:]}"
            for one in sorted(self.attempts[run], key=lambda one: one.since)
        ]
        ended = f"{end.state} {end.token[-6:]}" if end else "no end"
        return f"{ended}; attempts: {'; '.join(parts) or 'none'}"


def _attempts(notes: tuple[Note, ...]) -> list[_Attempt]:
    by_token: dict[tuple[str, str], list[Note]] = defaultdict(list)
    for one in notes:
        by_token[one.run, one.token].append(one)
    return [
        _Attempt(
            run,
            said[0].attempt,
            token,
            said[0].node,
            min(one.at for one in said),
            max(one.at for one in said),
            tuple(one.code for one in said if one.what == "end" and one.code is not None),
            sum(one.what == "start" for one in said),
            min((one.at for one in said if one.what == "end" and one.code == 0), default=None),
        )
        for (run, token), said in by_token.items()
    ]


def _followers(handed: Handed) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Return what comes behind others, with all that must have succeeded before."""
    ids = handed.ids
    if handed.item.shape == "chain":
        yield from ((run, ids[:place]) for place, run in enumerate(ids) if place)
    elif handed.item.shape == "chord":
        yield ids[-1], ids[:-1]


def _came_to(one: _Attempt, state: str) -> bool:
    return 0 in one.codes if state == SUCCESS else any(one.codes)


def _was_done(one: _Attempt, at: float) -> bool:
    return one.done_at is not None and one.done_at <= at


def _most_at_once(attempts: list[_Attempt]) -> tuple[int, float]:
    turns = sorted([(one.since, 1) for one in attempts] + [(one.until, -1) for one in attempts])
    most, now, at = 0, 0, 0.0
    for moment, step in turns:
        now += step
        if now > most:
            most, at = now, moment
    return most, at


def calm(planned: int, missed: int) -> list[Violation]:
    """Return what is wrong with a storm none of whose strikes came down: it proves nothing."""
    return [Violation("calm", f"none of {planned} strikes came down")] if planned and missed >= planned else []


def counted(found: list[Violation]) -> dict[str, int]:
    """Return how many of each kind there are."""
    return dict(sorted(Counter(one.kind for one in found).items()))
