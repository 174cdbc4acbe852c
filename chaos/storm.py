"""One storm: hand in, strike, heal, wait until all has come to rest, check."""

from __future__ import annotations

import heapq
import itertools
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from chaos.checker import calm, counted, violations
from chaos.clock import now
from chaos.nemeses import KINDS
from chaos.nemeses.kind import Scene
from chaos.notes import Story, read_handed, read_notes
from chaos.plan import Item, Wish, plan
from chaos.probes import Probes
from chaos.strikes import Ground, strikes
from chaos.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chaos.beds.bed import Bed
    from chaos.checker import Strain, Violation
    from chaos.nemeses.kind import Kind
    from chaos.strikes import Strike

DRAIN_S = 420.0
AT_MOST_S = 6 * DRAIN_S
"""What its waits come to, one after the other, where a machine is busy with other things: no test ends it earlier."""
AUDITED_WITHIN_S = 60.0
"""What an audit finds and later finds no more was on its way."""
STILL_S = 100.0
"""Nothing runs, nothing waits, nothing was noted or ended for so long (leases, visibility timeouts and sweeps are
shorter by far): nothing will come any more, and what has not come is lost."""
LOOK_EVERY_S = 0.5


@dataclass(frozen=True)
class Weather:
    """What a storm is made of. `within_s`: a queue that consumes later than this after the last strike is deaf.

    `parts`: what may be struck, all parts of the bed if not said.
    `rest_s`: how long it is waited for every queue to consume, and for everything to come to rest, from the last end of
    a run on.
    """

    seed: int
    kinds: tuple[Kind, ...]
    wish: Wish
    strikes: int
    within_s: float | None = None
    parts: tuple[str, ...] | None = None
    rest_s: float = DRAIN_S


@dataclass(frozen=True)
class Script:
    """A storm that is written, not drawn: one strike when all is handed in, whatever the machine's pace.

    `after`, `until`: what commands note (start, end), and how often, before it comes down and is undone, `for_s` later.
    A strike that names no node is for the one where the first command began.
    """

    items: tuple[Item, ...]
    strike: Strike
    after: tuple[str, int] = ("start", 1)
    until: tuple[str, int] = ("start", 1)


@dataclass
class Report:
    """What came of a storm."""

    seed: int
    strikes: list[Strike]
    runs: int
    accepted: int
    states: dict[str, int]
    found: list[Violation]
    consumed_after_s: dict[str, float | None]
    took_s: float
    folder: str
    missed: list[Strike]

    @property
    def ok(self) -> bool:
        return not self.found

    def counts(self) -> dict[str, int]:
        return counted(self.found)


class Storm:
    """One bed under one weather, drawn or written. `tell` is told what happens."""

    def __init__(
        self,
        bed: Bed,
        weather: Weather,
        tell: Callable[[str], object] = lambda _: None,
        script: Script | None = None,
        folder: Path | None = None,
    ) -> None:
        """`folder`: where its notes are kept, for a bed that sees several storms; else that of the bed."""
        self.bed, self.weather, self._tell = bed, weather, tell
        self.folder = folder or bed.folder
        self.scene = Scene(bed, self.folder / "kept")
        self.scene.folder.mkdir(parents=True, exist_ok=True)
        self.effects = self.folder / "effects"
        self.script = script
        self.items = list(script.items) if script else plan(weather.seed, weather.wish)
        ground = Ground(bed.nodes, weather.parts or bed.parts)
        drawn = strikes(weather.seed, weather.kinds, ground, weather.wish.span_s, weather.strikes)
        self.strikes = [script.strike] if script else drawn
        self.missed: list[Strike] = []
        self._probes: list[Item] = []

    def run(self) -> Report:
        """Do it all; the bed is up, and stays so."""
        begun = now()
        handing, witness = self._hand_in("work", self.items)
        witness.begin()
        try:
            if not self.script:
                self._strike()
            self._wait_for(lambda: handing.poll() is not None, "everything is handed in")
            assert handing.returncode == 0, "the hand-in broke: " + self._log("work")
            if self.script:
                self._play(self.script)
            consumed = self._probe()
            self._rest(witness)
        finally:
            handing.kill()
            handing.wait()
            witness.end()
        story = self.story = self._story(witness, consumed)
        found = [*violations(story, self.strain), *calm(len(self.strikes), len(self.missed))]
        states = [end.state if end else "none" for end in story.ends.values()]
        return Report(
            self.weather.seed,
            self.strikes,
            len(story.ends),
            sum(len(one.ids) for one in story.handed if one.sure),
            {state: states.count(state) for state in sorted(set(states))},
            found,
            consumed,
            now() - begun,
            str(self.folder),
            self.missed,
        )

    @property
    def strain(self) -> Strain:
        """What the strikes were allowed to cost."""
        return self.scene.cost.strain(self.weather.within_s)

    def _strike(self) -> None:
        """Play the strikes and their ends, each at its moment."""
        begun, order = now(), itertools.count()
        line: list[tuple[float, int, Strike, Callable[[], object] | None]] = []
        for one in self.strikes:
            heapq.heappush(line, (one.at_s, next(order), one, None))
        while line:
            at_s, _, strike, undo = heapq.heappop(line)
            time.sleep(max(0.0, begun + at_s - now()))
            if undo:
                self._try(undo, strike, "the end of ")
                continue
            self._tell(str(strike))
            self.scene.cost.was_struck(KINDS[strike.kind], strike)
            undone = self._try(partial(KINDS[strike.kind].inflict, self.scene, strike), strike)
            if undone:
                # from when it struck: what is late shall last as long as it was meant to
                heapq.heappush(line, (now() - begun + strike.for_s, next(order), strike, undone))

    def _play(self, script: Script) -> None:
        self._wait_for(lambda: self._noted(script.after), f"commands noted {script.after}")
        strike = script.strike._replace(node=script.strike.node or read_notes(self.effects)[0].node)
        self._tell(str(strike))
        undone = self._try(partial(KINDS[strike.kind].inflict, self.scene, strike), strike)
        self._tell_held("struck")
        self._wait_for(lambda: self._noted(script.until), f"commands noted {script.until}")
        time.sleep(strike.for_s)
        if undone:
            self._try(undone, strike, "the end of ")
        self._tell_held("healed")

    def _tell_held(self, word: str) -> None:
        """Let commands go on that wait for this (see `chaos.effect`)."""
        self.effects.with_name(f"{self.effects.name}.{word}").touch()

    def _noted(self, wanted: tuple[str, int]) -> bool:
        what, times = wanted
        return sum(one.what == what for one in read_notes(self.effects)) >= times

    def _try(self, act: Callable[[], object], strike: Strike, part: str = "") -> Callable[[], object] | None:
        """Strike, though the bed may be in no state to be struck; what fails is told, and counted as missed."""
        try:
            return act()  # type: ignore[return-value]
        except Exception as error:  # noqa: BLE001  the others must still be undone
            self._tell(f"{part}{strike}: {error!r}")
            if strike not in self.missed:
                self.missed.append(strike)
            return None

    def _hand_in(self, name: str, items: list[Item]) -> tuple[subprocess.Popen[bytes], Witness]:
        folder = self.folder
        (folder / f"{name}.plan").write_text(json.dumps([one.as_json() for one in items]))
        handed = folder / f"{name}.handed"
        files = [str(folder / f"{name}.plan"), str(self.effects), str(handed)]
        with (folder / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "chaos.hand_in", *files, self.bed.door],
                env=dict(self.bed.env()),
                cwd=folder,  # what it imports is the bed's code, not what stands here
                stderr=log,
            )
        return process, Witness(self.bed, handed, items)

    def _log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()[-2000:]

    def _probe(self) -> dict[str, float | None]:
        """Return how long after the last strike each queue was seen to consume again."""
        noted = self.folder / "probe.handed"
        probes = Probes(self.bed, self.effects, noted)
        self._probes = probes.items
        handing, _ = self._hand_in("probe", probes.items)

        def answered() -> bool:
            return probes.answered() and handing.poll() is not None

        try:
            self._wait_for(answered, "every queue consumes", self.weather.rest_s)
        finally:
            handing.kill()
            handing.wait()
        return probes.consumed_after_s()

    def _rest(self, witness: Witness) -> None:
        """Wait until every accepted run is final, all is settled and nothing lives; what does not come is found."""
        moved: tuple[object, float] = (None, now())
        ended = (0, now())  # how many ends were seen, and since when: a long queue on a slow machine is no loss

        def at_rest() -> bool:
            nonlocal moved, ended
            try:
                forgets = self.scene.cost.strain(None).forgets  # what is left of these, the bed knows (`unfinished`)
                handed = [one for one in witness.handed() if one.sure and not forgets(one.since, one.at)]
                sure = {run for one in handed for run in one.ids}
                is_open = bool(sure & set(witness.look()))
                works = bool(self.bed.unfinished() or self.bed.living())
            except Exception:  # noqa: BLE001  Redis may still be coming back
                is_open = works = True
            seen = (len(witness.seen), self.effects.stat().st_size if self.effects.exists() else 0)
            if len(witness.seen) != ended[0]:
                ended = (len(witness.seen), now())
            if works or seen != moved[0]:
                moved = (seen, now())
            return not works and (not is_open or now() - moved[1] > STILL_S)

        self._wait_for(at_rest, "everything has come to rest", self.weather.rest_s, lambda: ended[1])

    def _wait_for(
        self, holds: Callable[[], bool], what: str, within_s: float = DRAIN_S, since: Callable[[], float] | None = None
    ) -> bool:
        begun = now()
        while not holds():
            if now() > (since() if since else begun) + within_s:
                self._tell(f"not within {within_s:.0f} s: {what}")
                return False
            time.sleep(LOOK_EVERY_S)
        return True

    def _story(self, witness: Witness, consumed: dict[str, float | None]) -> Story:
        handed = (*witness.handed(), *read_handed(self.folder / "probe.handed", self._probes))
        return Story(
            handed=handed,
            notes=read_notes(self.effects),
            ends=self.bed.ends([run for one in handed for run in one.ids]),
            seen=dict(witness.seen),
            slots=dict.fromkeys(self.bed.nodes, self.bed.slots),
            unfinished=tuple(self.bed.unfinished()),
            living=tuple(self.bed.living()),
            audit=tuple(self._audit()),
            consumed_after_s=consumed,
        )

    def _audit(self) -> list[str]:
        found: list[str] = []

        def is_clean() -> bool:
            found[:] = self.bed.audit()
            return not found

        self._wait_for(is_clean, "the audit is clean", AUDITED_WITHIN_S)
        return found
