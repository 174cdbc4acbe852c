"""A spec: what is right is kept exactly, what is wrong is refused with its name and the nearest known word."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_tasks.errors import BadSpec
from infra_tasks.model.run import retry_delay_s
from infra_tasks.model.secret_ref import SecretRef
from infra_tasks.model.spec import MAX_ARG_BYTES, RETRYABLE, RunSpec

FULL: dict[str, Any] = {
    "command": ["python", "träin.py", "☃"],
    "project": "trainer",
    "labels": ["gpu", "big"],
    "env": {"A": "1", "_b": "ü", "TOKEN": {"secret": "api.key-2"}},
    "timeout_s": 60,
    "grace_s": 0,
    "retries": 3,
    "retry_backoff_s": 1.5,
    "retry_on": ["timeout", "exit_code"],
    "idempotency_key": "k ü",
    "expires_s": 10,
    "outputs": ["out/*.csv", "**/*.log"],
    "name": "night run",
    "lost_after_s": 200.5,
    "stop_after_s": 100,
}


def test_every_field_comes_back_as_it_was_given() -> None:
    spec = RunSpec.of(FULL)
    again = RunSpec.recorded(spec.to_json())
    assert again == spec
    assert again.to_json() == spec.to_json()
    assert again.labels == {"gpu", "big"}
    assert again.retry_on == ("exit_code", "timeout")


def test_the_text_does_not_depend_on_the_order_things_were_said_in() -> None:
    turned = {name: FULL[name] for name in reversed(FULL)}
    turned |= {
        "labels": ("big", "gpu"),
        "env": {"TOKEN": {"secret": "api.key-2"}, "_b": "ü", "A": "1"},
        "retry_on": {"exit_code", "timeout"},
    }
    assert RunSpec.of(turned).to_json() == RunSpec.of(FULL).to_json()


def test_what_is_not_said_is_not_written() -> None:
    assert RunSpec.of({"command": "true"}).to_json() == '{"command":"true"}'


def test_what_json_gives_is_accepted() -> None:
    assert RunSpec.of(json.loads(json.dumps(FULL))) == RunSpec.of(FULL)


@pytest.mark.parametrize("labels", [["a", "b"], ("a", "b"), {"a", "b"}, frozenset({"a", "b"})])
def test_labels_are_any_collection_of_words(labels: Any) -> None:
    assert RunSpec.of({"command": ["x"], "labels": labels}).labels == {"a", "b"}


def test_a_command_is_argv_or_a_line_for_the_shell() -> None:
    assert RunSpec.of({"command": ("a", "b")}).argv == ["a", "b"]
    assert RunSpec.of({"command": "a | b"}).argv == ["/bin/sh", "-c", "a | b"]


def wrong(**said: Any) -> str:
    with pytest.raises(BadSpec) as caught:
        RunSpec.of({"command": ["true"], **said})
    return str(caught.value)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"comand": "x"}, "did you mean 'command'?"),
        ({"timeout": 5}, "did you mean 'timeout_s'?"),
        ({"label": ["x"]}, "did you mean 'labels'?"),
        ({"command": []}, "command"),
        ({"command": ""}, "command"),
        ({"command": "  "}, "command"),
        ({"command": [""]}, "command"),
        ({"command": None}, "command"),
        ({"command": 5}, "command"),
        ({"command": ["a", 5]}, "command[1]"),
        ({"command": ["a", None]}, "command[1]"),
        ({"command": {"a": 1}}, "command"),
        ({"command": ["a\0b"]}, "NUL"),
        ({"command": "a\0b"}, "NUL"),
        ({"command": ["\ud800"]}, "command"),
        ({"command": ["x" * (MAX_ARG_BYTES + 1)]}, "longer than"),
        ({"project": ""}, "project"),
        ({"project": "../x"}, "project"),
        ({"project": "a\n"}, "project"),
        ({"project": 5}, "project"),
        ({"node": "a b"}, "node"),
        ({"node": "x" * 64}, "node"),
        ({"labels": "gpu"}, "labels"),
        ({"labels": ["a b"]}, "labels"),
        ({"labels": [5]}, "labels"),
        ({"labels": 5}, "labels"),
        ({"labels": {"gpu": True}}, "labels"),
        ({"env": ["A=1"]}, "env"),
        ({"env": {"A": 1}}, "env"),
        ({"env": {"1A": "x"}}, "'1A'"),
        ({"env": {"A=B": "x"}}, "'A=B'"),
        ({"env": {"": "x"}}, "''"),
        ({"env": {"A": "\0"}}, "NUL"),
        ({"env": {"A": "\udc80"}}, "env"),
        ({"env": {"INFRA_RUN": "x"}}, "INFRA_"),
        ({"env": {"A": "x" * MAX_ARG_BYTES}}, "longer than"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": -1}, "timeout_s"),
        ({"timeout_s": 7201}, "timeout_s"),
        ({"timeout_s": math.nan}, "timeout_s"),
        ({"timeout_s": math.inf}, "timeout_s"),
        ({"timeout_s": True}, "timeout_s"),
        ({"timeout_s": "60"}, "timeout_s"),
        ({"timeout_s": 10**400}, "timeout_s"),
        ({"timeout_s": None}, "timeout_s"),
        ({"grace_s": -0.1}, "grace_s"),
        ({"grace_s": 601}, "grace_s"),
        ({"retries": -1}, "retries"),
        ({"retries": 101}, "retries"),
        ({"retries": 1.5}, "retries"),
        ({"retries": True}, "retries"),
        ({"retries": "1"}, "retries"),
        ({"retry_backoff_s": 86401}, "retry_backoff_s"),
        ({"retry_on": "timeout"}, "retry_on"),
        ({"retry_on": ["time_out"]}, "did you mean 'timeout'?"),
        ({"retry_on": ["expired"]}, "retry_on"),
        ({"retry_on": [["timeout"]]}, "retry_on"),
        ({"retry_on": 5}, "retry_on"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "x" * 257}, "idempotency_key"),
        ({"idempotency_key": 5}, "idempotency_key"),
        ({"expires_s": 0}, "expires_s"),
        ({"expires_s": 1e12}, "expires_s"),
        ({"outputs": "x"}, "a list of patterns"),
        ({"outputs": ["/x"]}, "outputs[0]"),
        ({"outputs": ["~/x"]}, "outputs[0]"),
        ({"outputs": ["a", "a/../b"]}, "outputs[1]"),
        ({"outputs": [""]}, "outputs[0]"),
        ({"outputs": ["  "]}, "outputs[0]"),
        ({"outputs": ["a\0"]}, "NUL"),
        ({"outputs": ["\ud800"]}, "outputs[0]"),
        ({"outputs": [5]}, "outputs[0]"),
        ({"outputs": ["x" * 1025]}, "outputs[0]"),
        ({"outputs": [str(n) for n in range(101)]}, "at most 100"),
        ({"outputs": {"a": "b"}}, "outputs"),
        ({"notify": "me"}, "not yet"),
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "\x1b[31m"}, "name"),
        ({"lost_after_s": 80}, "lost_after_s"),
        ({"lost_after_s": 1e9}, "lost_after_s"),
        ({"stop_after_s": 110}, "stop_after_s"),
        ({"grace_s": 100}, "grace_s"),
        ({5: "x"}, "names"),
    ],
)
def test_what_is_wrong_is_refused_by_name(said: dict[Any, Any], told: str) -> None:
    with pytest.raises(BadSpec) as caught:
        RunSpec.of({"command": ["true"], **said})
    assert told in str(caught.value), str(caught.value)


@pytest.mark.parametrize("given", [None, "true", ["true"], 5, {}])
def test_what_is_no_spec_is_refused(given: Any) -> None:
    with pytest.raises(BadSpec, match="command"):
        RunSpec.of(given)


def test_all_that_is_wrong_is_said_at_once() -> None:
    said = wrong(timeout_s=-1, retries="x", nod="a")
    assert all(name in said for name in ("timeout_s", "retries", "did you mean 'node'?"))


def test_no_message_shows_the_value_of_a_variable() -> None:
    assert "hunter2" not in wrong(env={"PASSWORD": "hunter2\0"})
    assert "hunter2" not in wrong(env={"1PASSWORD": "hunter2"})


@pytest.mark.parametrize("nothing", [None, [], ()])
def test_outputs_and_notify_may_be_said_to_be_nothing(nothing: Any) -> None:
    spec = RunSpec.of({"command": "x", "outputs": nothing, "notify": None})
    assert spec.outputs is None
    assert spec.to_json() == '{"command":"x"}'


def test_a_secret_is_said_by_its_name_and_only_the_name_is_kept() -> None:
    spec = RunSpec.of({"command": "true", "env": {"TOKEN": {"secret": "api"}, "A": "1", "B": SecretRef(secret="b")}})
    assert spec.secrets == {"TOKEN": "api", "B": "b"}
    assert spec.to_json() == '{"command":"true","env":{"A":"1","B":{"secret":"b"},"TOKEN":{"secret":"api"}}}'


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"secrt": "api"}, "env.A.secrt: unknown; did you mean 'secret'?"),
        ({"secret": "no name"}, "env.A.secret: found (hidden); allowed: letters, digits and . _ -"),
        ({"secret": "api", "default": "x"}, "env.A.default: unknown (known: secret)"),
        ({}, "env.A.secret: missing"),
        (3, 'env.A: found 3; allowed: a text or {"secret": its name}'),
        ([], "env.A: found an empty list"),
    ],
)
def test_what_is_no_secret_by_name_is_refused(said: Any, told: str) -> None:
    with pytest.raises(BadSpec) as refused:
        RunSpec.of({"command": "true", "env": {"A": said}})
    assert told in str(refused.value)


def test_outputs_are_said_once_each_in_the_order_they_were_given() -> None:
    spec = RunSpec.of({"command": "x", "outputs": ("b", "a/**", "b")})
    assert spec.outputs == ("b", "a/**")
    assert spec.to_json() == '{"command":"x","outputs":["b","a/**"]}'


def test_a_pinned_run_has_no_lease_to_fit_into() -> None:
    assert RunSpec.of({"command": "x", "node": "a", "grace_s": 300}).grace_s == 300


def test_the_spans_of_a_lease_are_checked_with_what_the_fleet_says() -> None:
    said = {"command": "x", "lost_after_s": 50}
    assert RunSpec.of(said, {"stop_after_s": 20.0, "grace_s": 10.0}).lost_after_s == 50
    with pytest.raises(BadSpec, match="stop_after_s 60"):
        RunSpec.of(said)
    with pytest.raises(BadSpec, match="lost_after_s 40"):
        RunSpec.of(RunSpec(command="x", grace_s=30), {"stop_after_s": 10.0, "lost_after_s": 40.0})


def test_a_spec_is_frozen() -> None:
    with pytest.raises(Exception, match="frozen"):
        RunSpec(command="x").name = "y"  # type: ignore[misc]


def test_a_spec_that_is_too_large_is_refused() -> None:
    with pytest.raises(BadSpec, match="bytes"):
        RunSpec.of({"command": ["x" * 100_000] * 11}).to_json()


def test_a_backoff_doubles_up_to_an_hour_whatever_the_count() -> None:
    assert [retry_delay_s(5, n) for n in range(3)] == [5, 10, 20]
    assert retry_delay_s(5, 5000) == 3600
    assert retry_delay_s(0, 50) == 0


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@given(
    command=st.lists(texts, min_size=1, max_size=4).filter(lambda words: words[0].strip()) | texts.filter(str.strip),
    env=st.dictionaries(st.from_regex(r"[A-H_][A-Z0-9_]{0,5}", fullmatch=True), texts, max_size=3),
    key=st.none() | texts.filter(bool),
    retry_on=st.lists(st.sampled_from([str(reason) for reason in RETRYABLE])),
    expires_s=st.none() | st.floats(0.001, 1e6) | st.integers(1, 10**6),
)
def test_any_right_spec_survives_its_way_through_json(**said: Any) -> None:
    said["idempotency_key"] = said.pop("key")
    spec = RunSpec.of(said)
    assert RunSpec.recorded(spec.to_json()) == spec
    assert json.loads(spec.to_json()) == json.loads(RunSpec.recorded(spec.to_json()).to_json())


def test_only_code_can_be_copied_for_one_run() -> None:
    assert RunSpec.of({"command": "x", "project": "p", "private": True}).private
    with pytest.raises(BadSpec, match="only a run with a 'project'"):
        RunSpec.of({"command": "x", "private": True})
    with pytest.raises(BadSpec, match="private: found 1"):
        RunSpec.of({"command": "x", "project": "p", "private": 1})
