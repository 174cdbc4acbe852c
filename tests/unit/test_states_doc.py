"""docs/states.md says what the table of moves says: no move more, none less, and every state and reason."""

from __future__ import annotations

import re
from pathlib import Path

from infra_tasks.model.run import FINAL, MOVES, Reason, State, is_final
from infra_tasks.model.spec import RETRYABLE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "states.md").read_text(encoding="utf-8")
ALL = {(str(before), str(after)) for before, afters in MOVES.items() for after in afters}


def rows(heading: str) -> list[list[str]]:
    """Return the table under a heading, without its head."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_diagram_shows_every_move_and_no_other() -> None:
    drawn = re.findall(r"^    (\S+) --> (\S+)$", PAGE, re.MULTILINE)
    assert len(drawn) == len(set(drawn))
    assert {move for move in drawn if "[*]" not in move} == ALL
    assert {after for before, after in drawn if before == "[*]"} == {"PENDING", "QUEUED"}
    assert {before for before, after in drawn if after == "[*]"} == FINAL


def test_every_move_has_somebody_who_may_write_it() -> None:
    told = [row[0].split(" -> ") for row in rows("Who may write which move") if not row[0].startswith("(new)")]
    assert len(told) == len(ALL)
    assert {(before, after) for before, after in told} == ALL


def test_the_scripts_it_names_are_there() -> None:
    named = {name for row in rows("Who may write which move") for name in row[2].split(", ")}
    assert named <= {path.stem for path in (ROOT / "infra_tasks" / "ledger" / "lua").glob("*.lua")}


def test_every_state_and_reason_is_explained() -> None:
    assert [row[0] for row in rows("What they mean for a user")] == [str(state) for state in State]
    assert [row[0] for row in rows("Why a run is FAILURE")] == [str(reason) for reason in Reason]
    assert {row[0] for row in rows("Why a run is FAILURE") if row[2] == "yes"} == set(RETRYABLE)


def test_a_final_state_has_no_way_out_and_every_other_has_one_to_each_end_it_needs() -> None:
    for state in State:
        assert bool(MOVES[state]) is not is_final(state)
        if not is_final(state):
            assert {State.FAILURE, State.REVOKED} <= MOVES[state], f"{state} cannot be ended"
