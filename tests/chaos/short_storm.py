"""A storm of the short form over a bed of its own. What must never be is asserted, and no short time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos import beds, forms

if TYPE_CHECKING:
    from pathlib import Path

SEED = 20261129
"""The same runs and the same strikes every time: `python -m chaos --form short --seed` plays them again."""
FORMS = {form.bed: form for form in forms.SHORT}


def assert_nothing_breaks(bed_name: str, folder: Path) -> None:
    """Let it go down; say the seed, the strikes, and how soon every queue consumed again."""
    bed = beds.make(bed_name, folder)
    try:
        bed.up()
        report = forms.storm(FORMS[bed_name], bed, SEED, tell=print).run()
        print(report.states, report.consumed_after_s, *report.found, bed.logs(), sep="\n")  # noqa: T201  shown when a test fails
        assert report.found == [], f"seed {SEED}: {report.counts()}"
        assert report.accepted >= FORMS[bed_name].runs
    finally:
        bed.close()
