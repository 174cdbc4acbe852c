"""The pure parts of the command line: spans, exit codes, views of a run, names, tables."""

from __future__ import annotations

import json

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_tasks.cli import exit_codes, params, printing, run_view, sizes, spans
from infra_tasks.cli.manner import Manner
from infra_tasks.cli.nodes_file import default_name
from infra_tasks.ledger.nodes import NodeSeen
from infra_tasks.ledger.records import Event, Run
from infra_tasks.model.fleet import new_fleet, parse_fleet
from infra_tasks.model.outcome import result_of
from infra_tasks.model.run import RESULT_KEYS, Reason, State

UUID = "3fa2c1d0-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("2d", 172800),
        ("1m30", 90),
        (" 5M ", 300),
    ],
)
def test_spans_are_read_as_people_write_them(text, seconds):
    assert spans.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", " ", "s", "10x", "m10", "-5", "1h-5m", "0", "0s", "1e3", "nan", "inf", "1 h"])
def test_what_is_no_span_is_refused_with_what_is_allowed(text):
    with pytest.raises(ValueError, match="found"):
        spans.seconds(text)


@given(st.floats(0, 10_000_000))
def test_a_span_in_words_is_short_and_close(span_s):
    said = spans.words(span_s)
    assert len(said) <= 8
    if span_s >= 10:
        assert abs(spans.seconds(said) - span_s) <= max(1.0, span_s / 24)


@pytest.mark.parametrize(
    ("state", "reason", "exit_record", "code"),
    [
        (State.SUCCESS, None, {"exit_code": 0}, 0),
        (State.FAILURE, Reason.EXIT_CODE, {"exit_code": 7}, 7),
        (State.FAILURE, Reason.SIGNAL, {"signal": 9}, 137),
        (State.FAILURE, Reason.TIMEOUT, {"signal": 15}, 124),
        (State.FAILURE, Reason.TIMEOUT, {"exit_code": 0}, 124),
        (State.REVOKED, None, {"signal": 15}, 130),
        (State.REVOKED, None, {}, 130),
        (State.FAILURE, Reason.NODE_LOST, {}, 1),
        (State.FAILURE, Reason.SYNC_FAILED, {}, 1),
        (State.FAILURE, Reason.START_FAILED, {"exit_code": None}, 1),
        (State.FAILURE, Reason.EXPIRED, {}, 1),
    ],
)
def test_infra_run_ends_with_the_code_of_its_command_or_the_agreed_one(state, reason, exit_record, code):
    assert exit_codes.of_result(result_of({"id": "r"}, state, reason, exit_record)) == code


def test_random_ids_are_shortened_and_chosen_ones_are_not():
    assert run_view.short(UUID) == "3fa2c1d0"
    assert run_view.short("nightly-2026-11-24") == "nightly-2026-11-24"


def run_of(state="STARTED", **fields):
    return Run(
        UUID,
        {"state": state, "spec": '{"command":["echo","a b"],"name":"n"}', "timeout_s": "60", "name": "n", **fields},
    )


def seen(name, silent_s):
    return NodeSeen(name, {"seen_at": "1000.0"}, 0, silent_s)


def test_a_started_pinned_run_of_a_silent_node_is_shown_unreachable():
    silent = run_view.silent_nodes([seen("n1", 999), seen("n2", 1)])
    assert silent == {"n1": 1000.0}
    assert run_view.shown_state(run_of(node="n1", claim_node="n1"), silent) == "UNREACHABLE"
    assert run_view.shown_state(run_of(node="n2", claim_node="n2"), silent) == "STARTED"
    assert run_view.shown_state(run_of(node="", claim_node="n1"), silent) == "STARTED", "a pool run has a lease instead"
    assert run_view.shown_state(run_of("SUCCESS", node="n1", claim_node="n1"), silent) == "SUCCESS"
    assert run_view.as_json(run_of(node="n1", claim_node="n1"), silent)["unreachable_since"] == 1000.0
    assert run_view.as_json(run_of(node="n2", claim_node="n2"), silent)["unreachable_since"] is None
    assert run_view.row(run_of(node="n1", claim_node="n1"), silent, 1300.0)[2] == "n1 (silent 5m)"


def test_a_run_that_goes_on_has_every_key_of_a_result():
    events = [Event(5.0, "QUEUED", "STARTED", "worker", "claimed", "1:c")]
    said = run_view.as_json(run_of(claim_node="n1", attempt="1", submitted_at="4.0"), {}, events)
    assert set(RESULT_KEYS) <= set(said)
    assert (said["id"], said["state"], said["node"], said["attempt"]) == (UUID, "STARTED", "n1", 1)
    assert (said["submitted_at"], said["started_at"], said["exit_code"]) == (4.0, 5.0, None)
    assert said["command"] == ["echo", "a b"]
    assert said["events"][0].keys() == {"moment", "from", "to", "actor", "cause", "token"}
    json.dumps(said)


def test_a_final_run_says_what_its_result_says():
    result = result_of({"id": UUID, "node": "n1", "attempt": 2}, State.FAILURE, Reason.EXIT_CODE, {"exit_code": 3})
    said = run_view.as_json(run_of("FAILURE", result=json.dumps(result), attempt="2"), {})
    assert {key: said[key] for key in RESULT_KEYS} == result
    assert "events" not in said


def test_a_command_is_shown_as_it_could_be_typed():
    assert run_view.command_text(run_of()) == "echo 'a b'"
    assert run_view.command_text(Run(UUID, {"spec": '{"command":"a |\\n  b"}'})) == "a | b"


@given(st.text(max_size=80))
def test_a_node_name_made_from_any_hostname_is_one_that_nodes_json_takes(hostname):
    parse_fleet(json.dumps(new_fleet("home", default_name(hostname))))


@pytest.mark.parametrize(
    ("hostname", "name"),
    [("Marks-MacBook-Pro.local", "marks-macbook-pro"), ("büro_2.lan", "b-ro-2"), ("-", "node"), ("漢字", "node")],
)
def test_a_hostname_is_cleaned(hostname, name):
    assert default_name(hostname) == name


def test_a_variable_is_given_or_handed_on(monkeypatch):
    monkeypatch.setenv("HERE", "a=b")
    assert params.variable("A=x=y") == ("A", "x=y")
    assert params.variable("A=") == ("A", "")
    assert params.variable("HERE") == ("HERE", "a=b")
    monkeypatch.delenv("HERE")
    with pytest.raises(click.BadParameter, match="HERE=VALUE"):
        params.variable("HERE")


def test_a_project_is_a_name_and_a_folder_that_is_there(tmp_path):
    assert params.project(f"hello={tmp_path}") == ("hello", tmp_path.resolve())
    (tmp_path / "file").touch()
    for wrong, said in [("hello", "NAME=PATH"), ("=x", "NAME=PATH"), (f"a={tmp_path}/no", "not there"),
                        (f"a={tmp_path}/file", "no folder")]:  # fmt: skip
        with pytest.raises(click.BadParameter, match=said):
            params.project(wrong)


def test_only_what_stands_before_the_command_is_ours():
    assert Manner.asked_for(["run", "--json", "--", "x"]) == Manner(json=True)
    assert Manner.asked_for(["run", "--", "x", "--json", "--debug"]) == Manner()


def test_a_table_that_is_too_wide_cuts_its_flexible_column_only(capsys, monkeypatch):
    monkeypatch.setattr(printing, "width", lambda: 30)
    printing.print_table(("RUN", "WHAT"), [("12345678", "漢字" * 20), ("1", "short")], flexible=1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "RUN       WHAT"
    assert lines[1].startswith("12345678  漢字")
    assert lines[1].endswith("…")
    assert lines[2] == "1         short"
    from rich.cells import cell_len

    assert max(cell_len(line) for line in lines) <= 30


def test_sizes_are_for_people():
    assert [printing.size(each) for each in (None, 0, 512, 9 * 1024 * 1024, 3 * 1024**3)] == [
        "",
        "",
        "512 B",
        "9.0 MiB",
        "3.0 GiB",
    ]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1048576", 1 << 20),
        ("512M", 512 << 20),
        ("2G", 2 << 30),
        ("1.5GiB", 3 << 29),
        ("64 kb", 64 << 10),
        ("1t", 1 << 40),
    ],
)
def test_sizes_are_read_as_people_write_them(text, size):
    assert sizes.size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "G", "2X", "-1M", "0", "1e9", "2 G B", "1.2.3M", "9" * 400])
def test_what_is_no_size_is_refused_with_what_was_found(text):
    with pytest.raises(ValueError, match="found"):
        sizes.size_bytes(text)
