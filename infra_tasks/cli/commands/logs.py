"""`infra logs`: what runs have written."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_home
from infra_tasks.cli.exit_codes import DONE, UNREACHABLE
from infra_tasks.cli.named_run import named_runs
from infra_tasks.cli.params import span
from infra_tasks.cli.run_view import short
from infra_tasks.cli.terminal import note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra_tasks.cli.log_writers import Writer
    from infra_tasks.cli.manner import Manner
    from infra_tasks.cli.named_run import NamedRun
    from infra_tasks.follow import Follower
    from infra_tasks.ledger import Ledger
    from infra_tasks.ledger.records import Run
    from infra_tasks.patience import Line
    from infra_tasks.settings import Home

STREAMS = ("stdout", "stderr")
EXAMPLES = """
infra logs 3fa2c1
infra logs 3fa2c1 -f
infra logs 3fa2c1 --tail 20 -f
infra logs 3fa2c1 --since 10m
infra logs 3fa2c1 --stderr --attempt 1
infra logs 3fa2c1 77be02 -f
"""


@dataclass(frozen=True)
class Asked:
    """What is to be read of every run. `since`: wall seconds."""

    streams: tuple[str, ...]
    attempt: int | None
    since: float | None
    tail: int | None
    following: bool


@make("logs", EXAMPLES)
@click.argument("words", nargs=-1, required=True, metavar="RUN...")
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until the runs are final.")
@click.option("--stdout", is_flag=True, help="Only what was written to stdout.")
@click.option("--stderr", is_flag=True, help="Only what was written to stderr (printed on stdout).")
@click.option("--attempt", type=click.IntRange(1), help="Only this attempt; else the newest.")
@click.option(
    "--since", "since_s", type=span, metavar="SPAN", help="Only what was written in the last 90s, 10m, 1h30m."
)
@click.option("--tail", type=click.IntRange(0), metavar="N", help="Only the last N lines of each stream.")
@click.pass_obj
def command(manner: Manner, /, *, words: tuple[str, ...], **said: Any) -> int:
    """Print what RUN has written: its stdout on stdout, its stderr on stderr.

    Of several runs whole lines are printed, each with its run's name or id in front. Of a run that has left the history
    what the disk of this node still has is printed.

    --json prints a line for each piece: run, stream, attempt, offset (in bytes), and text (what is no UTF-8 becomes
    U+FFFD) - or end: output is missing up to there (null: all the rest).

    Exit code 3 when some of it cannot be had now.
    """
    from infra_tasks.patience import Line  # noqa: PLC0415

    home = open_home()
    with answering_ledger(home) as ledger:
        named = _named(home, ledger, words, said["attempt"])
        since = ledger.nodes.now() - said["since_s"] if said["since_s"] else None
    asked = Asked(_streams(said), said["attempt"], since, said["tail"], said["following"])
    with closing(Line(home, note)) as line:
        followers = {_follower(home, line.ledger, one, asked): one.run for one in named}
        return _read(home, line, followers, _writer(manner, list(followers.values()), asked), asked)


def _follower(home: Home, ledger: Ledger, named: NamedRun, asked: Asked) -> Follower:
    from infra_tasks.follow import Follower, PastFollower  # noqa: PLC0415

    options: dict[str, Any] = {
        "attempt": asked.attempt,
        "streams": asked.streams,
        "until_final": asked.following,
        "tail": asked.tail,
        "since": asked.since,
    }
    if named.archived:
        return PastFollower(home, ledger, named.run, **options)
    return Follower(home, ledger, named.run.id, **options)


def _streams(said: dict[str, Any]) -> tuple[str, ...]:
    """Return those that were asked for by name, or all."""
    return tuple(name for name in STREAMS if said[name]) or STREAMS


def _named(home: Home, ledger: Ledger, words: Sequence[str], attempt: int | None) -> list[NamedRun]:
    """Return the runs that are meant, each once. Raises UnknownRun, BadInput: with all that is wrong."""
    from infra_tasks.cli.gone import refuse_gone  # noqa: PLC0415
    from infra_tasks.errors import BadInput  # noqa: PLC0415

    named = named_runs(home, ledger, words)
    refuse_gone(home, [one.run for one in named if one.archived])
    wrong = [
        f"run {one.run.id} has no attempt {attempt} (yet); it had {one.run.attempt}"
        for one in named
        if attempt and one.run.attempt < attempt
    ]
    if wrong:
        raise BadInput("\n".join(wrong))
    return named


def _writer(manner: Manner, runs: Sequence[Run], asked: Asked) -> Writer:
    from infra_tasks.cli.log_writers import JsonWriter, LabelledWriter, RawWriter  # noqa: PLC0415

    if manner.json:
        return JsonWriter()
    fds = {"stderr": 1} if asked.streams == ("stderr",) else {}
    if len(runs) == 1:
        return RawWriter(fds)
    return LabelledWriter([(run.id, run.name) for run in runs], fds)


def _read(home: Home, line: Line, followers: dict[Follower, Run], writer: Writer, asked: Asked) -> int:
    from infra_tasks.cli.gone import gone_since  # noqa: PLC0415
    from infra_tasks.follow import Gap  # noqa: PLC0415
    from infra_tasks.patience import together  # noqa: PLC0415

    complete, heard = True, set()
    try:
        for follower, found in together(line, list(followers), keep_waiting=asked.following):
            run = followers[follower]
            if found is not None:
                heard.add(run.id)
                complete = complete and not (isinstance(found, Gap) and found.end is None)
                writer.write(run.id, found)
                continue
            writer.end(run.id)
            if run.id not in heard:
                gone = gone_since(home, run)
                complete = complete and not gone
                note(gone or _silence(run, asked))
    except KeyboardInterrupt:
        for run in followers.values():
            writer.end(run.id)
        raise
    return DONE if complete else UNREACHABLE


def _silence(run: Run, asked: Asked) -> str:
    """Return what to say of a run of which there is nothing to print."""
    narrowed = asked.since is not None or asked.tail is not None or len(asked.streams) == 1 or asked.attempt
    what = f"run {short(run.id)} has written nothing{' of what was asked for' if narrowed else ''}"
    if run.final or asked.following:
        return what
    return f"{what} yet: it is {run.state} (`infra why {short(run.id)}`)"
