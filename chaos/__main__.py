"""Storms over a real fleet: `python -m chaos [--bed NAME] [--nemesis N...] [--kind NAME...] [--seed N] [--runs N]`.

With nothing said: the long form, every nemesis alone and all of them mixed. Prints the seed, every strike, and what
broke. Exit code 0: no promise was broken.

`--without GUARD` switches a guard of the product off, in a copy of it: alone, the storm that is sure to miss it comes
down, else those that are asked for. `--with GUARD` is the same storm over the product as it is.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from chaos import beds, compare, forms, guards
from chaos.nemeses import KINDS, kinds
from chaos.storm import DRAIN_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaos.beds.bed import Bed
    from chaos.storm import Report, Storm

TOLD = 40


def main() -> int:
    """Let one storm or all of a form go down; say what came of each."""
    said = _arguments()
    seed = said.seed if said.seed is not None else random.randrange(1_000_000)
    if said.compare:
        return _compare(seed, said)
    drawn = said.form or said.bed or said.nemesis or said.kind
    if (said.without and not drawn) or said.whole:
        reports = [_written(said.without or said.whole, said)]
    else:
        reports = [_storm(form, seed, said) for form in _forms(said)]
    print(json.dumps([_as_dict(one) for one in reports], indent=2) if said.json else "\n\n".join(map(_text, reports)))
    return 0 if all(one.ok for one in reports) else 1


def _compare(seed: int, said: argparse.Namespace) -> int:
    outcomes = compare.compare(said.nemesis or (), seed, said.runs, _tell)
    with_what = compare.measured_with(seed, said.runs, compare.redis_version())
    as_text = f"{compare.as_table(outcomes)}\n\n{with_what}"
    print(json.dumps(compare.as_json(outcomes, with_what), indent=2) if said.json else as_text)
    return 1 if any(one.broken for one in outcomes if one.bed != "plain") else 0


def _forms(said: argparse.Namespace) -> tuple[forms.Form, ...]:
    if said.form or not (said.bed or said.nemesis or said.kind):
        return tuple(one for one in (forms.SHORT if said.form == "short" else forms.LONG) if _has_bed(one))
    bed = said.bed or "one"
    if not kinds(bed, set(said.nemesis or ()), set(said.kind or ())):
        sys.exit(f"nothing that was asked for can strike bed {bed}: give another --bed, or others (docs/chaos.md)")
    return (forms.Form(bed, tuple(said.nemesis or ()), said.runs, said.rate, said.every),)


def _has_bed(form: forms.Form) -> bool:
    if why := beds.why_not(form.bed):
        _tell(f"bed {form.bed} is left out: {why}")
    return not why


def _storm(form: forms.Form, seed: int, said: argparse.Namespace) -> Report:
    return _over(
        form.bed,
        lambda bed: forms.storm(form, bed, seed, names=said.kind or (), within_s=said.within, tell=_tell),
        said,
    )


def _written(guard: str, said: argparse.Namespace) -> Report:
    rest_s = guards.GIVEN_UP_S if said.without else DRAIN_S
    return _over(guards.GUARDS[guard].bed, lambda bed: guards.storm(bed, guard, tell=_tell, rest_s=rest_s), said)


def _over(name: str, storm: Callable[[Bed], Storm], said: argparse.Namespace) -> Report:
    """Let a storm go down over a bed of its own; its folder is kept if something broke."""
    folder = Path(tempfile.mkdtemp(prefix=".infra-chaos-", dir=Path.home()))
    bed = beds.make(name, folder, **({"code": guards.without(said.without, folder / "tree")} if said.without else {}))
    try:
        bed.up()
        report = storm(bed).run()
        if not report.ok and said.logs:
            _tell(bed.logs())
    finally:
        bed.close()
    _tell(_text(report))
    if report.ok:
        shutil.rmtree(folder, ignore_errors=True)
    return report


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--form", choices=("short", "long"), help="a whole form; long if nothing else is said")
    parser.add_argument("--compare", action="store_true", help="the same storms over plain Celery and over us: a table")
    parser.add_argument("--bed", choices=tuple(beds.BEDS))
    parser.add_argument(
        "--nemesis",
        type=int,
        choices=tuple(forms.NEMESES),
        action="append",
        help="its number (docs/chaos.md); all without it",
    )
    parser.add_argument("--kind", action="append", choices=tuple(KINDS), metavar="KIND", help="one kind of strike")
    parser.add_argument("--seed", type=int, help="the same seed gives the same plan and the same strikes")
    parser.add_argument("--runs", type=int, default=600)
    parser.add_argument("--rate", type=float, default=12.0, help="runs handed in per second")
    parser.add_argument("--every", type=float, default=5.0, help="seconds from strike to strike")
    parser.add_argument("--within", type=float, default=30.0, help="seconds in which every queue must consume again")
    parser.add_argument("--without", metavar="GUARD", choices=tuple(guards.GUARDS), help=", ".join(guards.GUARDS))
    parser.add_argument("--with", dest="whole", metavar="GUARD", choices=tuple(guards.GUARDS), help="see above")
    parser.add_argument("--logs", action="store_true", help="show the logs of a storm that broke something")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _text(report: Report) -> str:
    lines = [f"{one.kind}: {one.what}" for one in report.found[:TOLD]]
    consumed = ", ".join(
        f"{queue} {'never' if took is None else f'{took:.1f} s'}" for queue, took in report.consumed_after_s.items()
    )
    missed = f" ({len(report.missed)} missed)" if report.missed else ""
    struck = f"{len(report.strikes)}{missed}"
    counts = f"{report.accepted} accepted, {report.states}, {struck} strikes, {report.took_s:.0f} s"
    broken = f"broken: {report.counts()}; see {report.folder}" if report.found else "nothing lost, nothing doubled"
    return "\n".join([*lines, f"seed {report.seed}: {counts}; consumes again after: {consumed}", broken])


def _as_dict(report: Report) -> dict[str, Any]:
    said = {
        "strikes": list(map(str, report.strikes)),
        "missed": list(map(str, report.missed)),
        "found": [one._asdict() for one in report.found],
    }
    return {**vars(report), **said}


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
