"""`infra runs --watch`: the list of runs as it changes; drawn anew on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from infra_tasks.cli import run_view
from infra_tasks.cli.exit_codes import CANCELLED, DONE
from infra_tasks.cli.printing import print_json, print_table, table_lines
from infra_tasks.cli.terminal import colour, cut, note, styled
from infra_tasks.errors import FleetUnreachable
from infra_tasks.ledger.records import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from infra_tasks.cli.lookout import Lookout
    from infra_tasks.cli.screen import Screen
    from infra_tasks.cli.wanted import Wanted
    from infra_tasks.ledger import Ledger
    from infra_tasks.settings import Home

LOOK_EVERY_S = 1.0
# Runs looked through in every turn; the ended ones among them are read once.
LOOKED_THROUGH = 2000


class Picture(NamedTuple):
    """The list at one moment. `now`: wall seconds of Redis' clock."""

    runs: list[Run]
    silent: dict[str, float]
    now: float

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The rows of the table."""
        return [run_view.row(run, self.silent, self.now) for run in self.runs]


def watch(home: Home, wanted: Wanted, since: float | None, limit: int, *, json: bool) -> int:
    """Watch until the user ends it; return the exit code. `since`: seconds."""
    from infra_tasks.cli.screen import Screen, is_able  # noqa: PLC0415

    if json or not is_able():
        anything = replace(wanted, states=frozenset())  # a run that leaves these states has changed, too
        prepare = partial(Looking, wanted=anything, since=since, limit=LOOKED_THROUGH, whole=False)
        return _tell_changes(home, prepare, Changes(wanted.states, limit), json=json)
    from infra_tasks.cli.lookout import Lookout  # noqa: PLC0415

    with Screen() as screen:
        lookout = Lookout(home, partial(Looking, wanted=wanted, since=since, limit=limit, whole=True), screen.wake)
        lookout.start()
        code = _draw(screen, lookout)
    if lookout.latest:
        print_table(run_view.HEADINGS, lookout.latest.seen.rows, flexible=5)
    return code


class Looking:
    """Takes pictures over one connection. `whole`: of the whole records, else of what a search reads."""

    def __init__(self, ledger: Ledger, wanted: Wanted, since: float | None, limit: int, *, whole: bool) -> None:
        self._ledger, self._wanted, self._since, self._limit = ledger, wanted, since, limit
        self._search = ledger.search()
        self._details = ledger.details() if whole else None

    def __call__(self) -> Picture:
        """Look once. Raises FleetUnreachable."""
        silent, now = run_view.silent_nodes(self._ledger.nodes.all()), self._ledger.nodes.now()
        found = self._search.newest(
            lambda run: self._wanted.fits(run, silent),
            self._limit,
            since=now - self._since if self._since else 0.0,
            live_only=self._wanted.live_only,
            most=LOOKED_THROUGH,
        )
        return Picture(self._details.of(found.runs) if self._details else found.runs, silent, now)


def _draw(screen: Screen, lookout: Lookout[Picture]) -> int:
    while not screen.ended_by:
        screen.draw(_lines(lookout, screen.size[0]))
        if {"q", "ctrl-c"} & set(screen.typed(LOOK_EVERY_S)):
            return DONE
    return CANCELLED


def _lines(lookout: Lookout[Picture], columns: int) -> list[str]:
    trouble = lookout.silence(time.monotonic())
    head = (
        styled(cut(trouble, columns), fg="red") if trouble else styled(cut("q or Ctrl-C ends this", columns), dim=True)
    )
    if not lookout.latest:
        return [head, ""] if trouble else [head, "looking..."]
    rows = lookout.latest.seen.rows
    if not rows:
        return [head, "no run fits that yet"]
    return [head, *table_lines(run_view.HEADINGS, rows, flexible=5, columns=columns)]


def _tell_changes(
    home: Home, prepare: Callable[[Ledger], Callable[[], Picture]], changes: Changes, *, json: bool
) -> int:
    from infra_tasks.patience import Line  # noqa: PLC0415

    line = Line(home, note)
    look, of = prepare(line.ledger), line.ledger
    try:
        while True:
            try:
                line.ledger.answers()
                if of is not line.ledger:
                    look, of = prepare(line.ledger), line.ledger
                picture = look()
                changed = changes.of(picture.runs, picture.silent)
                whole = {run.id: run for run in line.ledger.runs.get_many([run.id for run, _ in changed])}
            except FleetUnreachable:
                line.lost()
            else:
                line.found()
                changes.told()
                for run, before in changed:
                    if run.id in whole:
                        _tell(Run(run.id, {**whole[run.id].fields, **run.fields}), before, picture, json=json)
            time.sleep(LOOK_EVERY_S)
    except KeyboardInterrupt:
        return CANCELLED
    finally:
        line.close()


class Changes:
    """What changed since it was told last: only of runs that come to one of these states or leave it (none: any).

    At the first look there are no changes yet; then the newest runs, `first` at most, are all news.
    """

    def __init__(self, states: Collection[str], first: int) -> None:
        self._wanted, self._first = states, first
        self._told: dict[str, str] | None = None
        self._seen: dict[str, str] = {}

    def of(self, runs: Sequence[Run], silent: Collection[str]) -> list[tuple[Run, str]]:
        """Return the runs (given newest first) whose state is news, oldest first, and the state before, "" if none."""
        self._seen = {run.id: run_view.shown_state(run, silent) for run in runs}
        told = self._told or {}
        moves = [(run, told.get(run.id, ""), self._seen[run.id]) for run in runs]
        news = [(run, was) for run, was, now in moves if was != now and self._is_wanted(was, now)]
        return list(reversed(news[: self._first] if self._told is None else news))

    def told(self) -> None:
        """Take what was seen last for known from now on."""
        self._told = self._seen

    def _is_wanted(self, *states: str) -> bool:
        return not self._wanted or any(state in self._wanted for state in states)


def _tell(run: Run, before: str, picture: Picture, *, json: bool) -> None:
    state = run_view.shown_state(run, picture.silent)
    if json:
        said: dict[str, Any] = run_view.as_json(run, picture.silent)
        print_json({**said, "state_before": before or None}, lines=True)
        return
    moved = f"{before} -> {state}" if before else state
    where = run.claim_node or run.node
    at = time.strftime("%H:%M:%S", time.localtime(picture.now))
    text = "  ".join(part for part in (at, run_view.short(run.id), moved, where, run_view.what(run)) if part)
    click.echo(text, color=colour())
