"""The shape of a golden set changes with what is written, and with nothing else."""

from __future__ import annotations

import base64
import json
import shutil
from typing import TYPE_CHECKING

import pytest
from golden_node import SETS, versions
from golden_shape import changes, shapes

if TYPE_CHECKING:
    from pathlib import Path

SET = SETS / versions()[-1]


def changed(folder: Path, name: str, change) -> list[str]:
    """Return what is said of a copy of the newest set in which one document was changed."""
    shutil.copytree(SET, folder)
    said = json.loads((folder / name).read_text())
    change(said)
    (folder / name).write_text(json.dumps(said))
    return changes(shapes(SET), shapes(folder))


def test_other_values_are_no_change(tmp_path: Path):
    def other(said):
        said["infra:run:golden-queued"]["value"]["submitted_at"] = "1.5"
        said["infra:node:n1"]["value"]["boot_id"] = "another one"

    assert changed(tmp_path / "set", "redis.json", other) == []


def _more_in_a_field(said):
    fields = said["infra:run:golden-full"]["value"]
    fields["result"] = json.dumps(json.loads(fields["result"]) | {"colour": "red"})


def _another_body(said):
    hints = said["node.n1"]["value"]
    hints[0] = json.dumps(json.loads(hints[0]) | {"body": base64.b64encode(b'[[1], {}, {"chain": 3}]').decode()})


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("redis.json", _more_in_a_field, "infra:run:golden-full value result > colour (text)"),
        ("redis.json", lambda said: said["infra:run:golden-again"]["value"].pop("claim"), "golden-again value claim"),
        ("redis.json", _another_body, "node.n1 value"),
        ("home/runs/golden-ended/1/exit.json", lambda said: said.update(exit_code="4"), "exit_code: was number, is"),
        ("home/runs/golden-ended/1/exit.json", lambda said: said.update(more=None), "is new: home/runs"),
    ],
)
def test_another_key_or_kind_anywhere_is_said(tmp_path: Path, name: str, change, said: str):
    (news,) = changed(tmp_path / "set", name, change)
    assert said in news
