"""What a storm did to the runs of whoever was struck, counted the same way for every system: from the notes alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chaos.checker import violations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaos.checker import Strain
    from chaos.notes import Handed, Story


@dataclass(frozen=True)
class Tally:
    """All counts are of runs, but `chords` (accepted), `chord_bodies_missing` and `deaf` (queues).

    accepted: the system said yes. lost: of those, without an end when nothing moves any more; lost_as: what the system
    says of them. chord_bodies_missing: every part did its work, and the body never ran. done_again: the work was done
    to its end more than once; done_again_unharmed: of runs that ended as SUCCESS, though no strike had harmed them;
    of all these, asked_again: whoever handed in was told no, and asked again with the same id. at_once: two attempts
    alive at the same moment. after_end: something was done after the run was final. wrong_end: another end than that
    of its command, or first one, then another. longest_s: from accepted to seen final (seen twice a second).
    """

    accepted: int = 0
    lost: int = 0
    lost_as: Mapping[str, int] = field(default_factory=dict)
    chords: int = 0
    chord_bodies_missing: int = 0
    done_again: int = 0
    done_again_unharmed: int = 0
    asked_again: int = 0
    at_once: int = 0
    after_end: int = 0
    wrong_end: int = 0
    deaf: int = 0
    longest_s: float = 0.0


def tally(story: Story, strain: Strain, states: Mapping[str, str]) -> Tally:
    """Count. `states`: what the system says of runs that have no end."""
    found = defaultdict(set)
    for one in violations(story, strain):
        found[one.kind].add(one.what.split()[0])
    done = _done(story)
    sure = [one for one in story.handed if one.sure]
    chords = [one for one in sure if one.item.shape == "chord"]
    unsure = {run for one in story.handed if not one.sure for run in one.ids}
    again = {run for run, times in done.items() if times > 1}
    return Tally(
        accepted=sum(len(one.ids) for one in sure),
        lost=len(found["lost"]),
        lost_as=dict(sorted(Counter(states.get(run, "?") for run in found["lost"]).items())),
        chords=len(chords),
        chord_bodies_missing=sum(_is_body_missing(one, story, done) for one in chords),
        done_again=len(again),
        done_again_unharmed=len(found["doubled"]),
        asked_again=len(again & unsure),
        at_once=len(found["overlapping"]),
        after_end=len(found["late"]),
        wrong_end=len(found["wrong end"] | found["changed"] | found["unearned"]),
        deaf=len(found["deaf"]),
        longest_s=_longest_s(sure, story),
    )


def _done(story: Story) -> dict[str, int]:
    """How many attempts of each run came to a good end."""
    good = {(one.run, one.token) for one in story.notes if one.what == "end" and one.code == 0}
    return Counter(run for run, _ in good)


def _is_body_missing(chord: Handed, story: Story, done: Mapping[str, int]) -> bool:
    *parts, body = chord.ids
    return all(done.get(one) for one in parts) and not any(one.run == body for one in story.notes)


def _longest_s(sure: list[Handed], story: Story) -> float:
    waits = [story.seen[run].at - one.at for one in sure for run in one.ids if run in story.seen]
    return round(max(waits, default=0.0), 1)
