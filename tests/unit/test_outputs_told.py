"""What a result and the command line say of outputs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from infra_tasks.cli import outputs_view
from infra_tasks.cli.printing import print_json
from infra_tasks.outputs import shelf
from infra_tasks.outputs.telling import MOST_LISTED, MOST_LISTED_BYTES, told
from infra_tasks.settings import Home

FILE = {"path": "a", "size_bytes": 2048, "sha256": "0" * 64}


def listed(*files: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"node": "n1", "attempt": 1, "files": list(files), "missing": [], "left_out": [], "error": None, **more}


def outputs(*files: dict[str, Any], brought: bool = True, error: str | None = None, **more: Any) -> dict[str, Any]:
    return told(listed(*files, **more), home="n2", folder="/x/outputs", brought=brought, error=error)


def test_a_result_lists_what_it_can_hold_and_counts_all():
    many = [{**FILE, "path": f"f{n}"} for n in range(MOST_LISTED + 5)]
    said = outputs(*many)
    assert (len(said["files"]), said["count"], said["size_bytes"]) == (MOST_LISTED, len(many), 2048 * len(many))
    long = [{**FILE, "path": f"{n:04}" + "ü" * 200} for n in range(MOST_LISTED)]
    said = outputs(*long)
    assert 0 < len(said["files"]) < MOST_LISTED
    assert said["files"] == long[: len(said["files"])]
    assert len(json.dumps(said["files"])) <= 1.1 * MOST_LISTED_BYTES
    assert said["count"] == MOST_LISTED


def test_what_went_wrong_first_is_said():
    assert outputs(error="too late")["error"] == "too late"
    assert (
        told(listed(error="disk full"), home="n1", folder="", brought=False, error="too late")["error"] == "disk full"
    )


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (outputs(FILE), "1 file, 2.0 KiB in /x/outputs on n2"),
        (outputs(FILE, FILE, brought=False), "2 files, 4.0 KiB on n1, not on n2 yet"),
        (outputs({**FILE, "size_bytes": 0}), "1 file, 0 B in /x/outputs on n2"),
        (outputs(), "no file in /x/outputs on n2"),
    ],
)
def test_a_person_reads_how_many_there_are_and_where(said: dict[str, Any], words: str):
    assert outputs_view.words(said) == words


def test_a_person_reads_what_is_missing_left_out_or_wrong_on_one_line_each():
    assert outputs_view.facts(None) == []
    left_out = [{"path": "two\nlines", "why": "is a pipe, no file"}]
    said = dict(outputs_view.facts(outputs(missing=[*"abcdefg"], left_out=left_out, error="disk full")))
    assert said["missing"] == "a, b, c, d, e, and 2 more"
    assert said["left out"] == '"two\\nlines" (is a pipe, no file)'
    assert said["trouble"] == "disk full"
    assert dict(outputs_view.facts(outputs()))["missing"] is None


def test_outputs_that_came_after_the_end_of_the_run_are_shown_as_brought(tmp_path):
    home, late = Home(tmp_path), outputs(FILE, brought=False, error="too late")
    assert shelf.as_of_now(home, "r1", 2, late) == late
    (tmp_path / "runs" / "r1" / "2" / "outputs").mkdir(parents=True)
    shelf.place(home, "r1", tmp_path / "runs" / "r1" / "2" / "outputs", listed(FILE, attempt=2))
    assert shelf.as_of_now(home, "r1", 3, late) == late
    now = shelf.as_of_now(home, "r1", 2, late)
    assert now is not None
    assert (now["brought"], now["folder"], now["error"]) == (True, str(tmp_path / "runs" / "r1" / "outputs"), None)
    assert shelf.as_of_now(home, "r1", 2, None) is None


def test_names_that_are_no_text_can_be_printed_as_json(capsys):
    print_json({"path": "\udcff", "name": "ü"})
    assert json.loads(capsys.readouterr().out) == {"path": "\udcff", "name": "ü"}
    print_json({"name": "ü"})
    assert "ü" in capsys.readouterr().out


def test_the_page_about_outputs_has_every_key_of_the_result():
    page = (Path(__file__).parent.parent.parent / "docs" / "outputs.md").read_text()
    table = page.partition("| key of `outputs` | is |")[2]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(outputs(FILE))
