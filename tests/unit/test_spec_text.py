"""Specs in texts of JSON and YAML: what is meant is understood, and every mistake is told with its place."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_tasks.errors import BadSpec
from infra_tasks.model.json_places import json_places
from infra_tasks.model.placed import place_of
from infra_tasks.model.spec import RunSpec
from infra_tasks.model.spec_text import MOST_TOLD, form_of, made_of, specs_in
from infra_tasks.model.yaml_text import DEEPEST, budget_for, plain, yaml_documents

LINES = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufeff\x85\u2028\u2029"), max_size=20
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(allow_nan=False, allow_infinity=False) | LINES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(LINES, inner, max_size=4),
    max_leaves=15,
)
# Where Python's json sees the mistake in `{"command": "a",}`: since 3.13 at the comma.
SEEN_AT = 16 if sys.version_info >= (3, 13) else 17


def told(text, form="yaml", name="s.yaml"):
    """Return the lines of what is wrong with a text."""
    with pytest.raises(BadSpec) as raised:
        made_of(specs_in(text, form, name), lambda each: RunSpec.of(each.value))
    return str(raised.value).splitlines()


def values(text, form="yaml"):
    return [each.value for each in specs_in(text, form)]


def test_a_spec_is_the_same_from_a_dict_from_json_and_from_yaml():
    said = {"command": ["python", "train.py"], "labels": ["gpu"], "env": {"SEED": "7"}, "timeout_s": 600}
    yaml = "command: [python, train.py]\nlabels: [gpu]\nenv:\n  SEED: '7'\ntimeout_s: 600\n"
    assert RunSpec.from_dict(said) == RunSpec.from_json(json.dumps(said)) == RunSpec.from_yaml(yaml)
    assert RunSpec.from_json(b'\xef\xbb\xbf{"command":\r\n"true"}\r\n') == RunSpec.from_yaml(
        "\ufeffcommand: 'true'\r\n"
    )


def test_words_of_yaml_1_1_stay_the_texts_they_are():
    words = ["on", "off", "yes", "No", "y", "12:30:45", "007", "0x1f", "1_000", "2026-01-02", "=", ".inf", "1."]
    assert values(f"command: [{', '.join(words)}]") == [{"command": words}]


def test_numbers_true_false_and_null_are_as_in_json():
    assert values("a: 1\nb: -1.5e3\nc: true\nd: False\ne: null\nf: ~\ng:\nh: '1'\n8080: x") == [
        {"a": 1, "b": -1500.0, "c": True, "d": False, "e": None, "f": None, "g": None, "h": "1", "8080": "x"}
    ]


@given(JSON)
def test_json_is_read_the_same_by_both(value):
    text = json.dumps(value, ensure_ascii=False, indent=1)
    read = yaml_documents(text)
    assert [plain(each, budget_for(text)) for each in read] == ([] if value is None else [value])


@given(JSON)
def test_every_part_of_a_json_text_is_found_at_its_place(value):
    text = " \n" + json.dumps(value, indent=1)
    waiting = [((), json_places(text, 2), value)]
    while waiting:
        path, written, meant = waiting.pop()
        line, column = place_of(json_places(text, 2), path)
        rest = "\n".join(text.split("\n")[line - 1 :])[column - 1 :]
        assert json.JSONDecoder().raw_decode(rest)[0] == meant
        inside = meant.items() if isinstance(meant, dict) else enumerate(meant) if isinstance(meant, list) else ()
        waiting += [((*path, key), written.value[key], each) for key, each in inside]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ('[{"command": "a"}, {"command": "b"}]', "json"),
        ('{"runs": [{"command": "a"}, {"command": "b"}]}', "json"),
        ('{"command": "a"}\n{"command": "b"}\n\n', "json"),
        ("- command: a\n- command: b\n", "yaml"),
        ("runs:\n- command: a\n- command: b\n", "yaml"),
        ("---\ncommand: a\n---\ncommand: b\n---\n", "yaml"),
        ("- &a {command: a}\n- <<: *a\n  command: b\n", "yaml"),
    ],
)
def test_many_specs_are_a_list_under_runs_or_one_behind_the_other(text, form):
    assert values(text, form) == [{"command": "a"}, {"command": "b"}]


def test_what_several_specs_share_is_merged_and_what_is_said_counts():
    text = "- &base\n  command: a\n  retries: 2\n- <<: [{retries: 5, name: x}, *base]\n  command: b\n"
    assert values(text)[1] == {"command": "b", "retries": 5, "name": "x"}


def test_a_schema_for_the_editor_is_no_field():
    assert values('{"$schema": "./spec.json", "command": "a"}', "json") == [{"command": "a"}]
    assert values('{"$schema": "x", "runs": [{"command": "a"}]}', "json") == [{"command": "a"}]


@pytest.mark.parametrize(
    ("name", "text", "form"),
    [("a.json", "", "json"), ("A.YML", "{", "yaml"), ("a.jsonl", "", "json"), ("x", " [1]", "json"),
     ("x", "\ufeff{}", "json"), ("x", "command: a", "yaml"), ("x", b"- a", "yaml")],
)  # fmt: skip
def test_the_form_is_told_by_the_name_or_else_by_the_first_sign(name, text, form):
    assert form_of(name, text) == form


def test_all_mistakes_are_told_at_once_each_with_its_place_and_the_nearest_word():
    text = "- comand: [a]\n  timeout_s: soon\n- command: b\n  env:\n    A: 7\n  retry_on: [exitcode]\n"
    lines = told(text)
    assert lines[0] == "s.yaml has 5 mistakes:"
    assert lines[1].startswith("s.yaml:1:3: spec 1: comand: unknown; did you mean 'command'?")
    assert lines[2].startswith("s.yaml:1:3: spec 1: command: missing")
    assert lines[3].startswith('s.yaml:2:14: spec 1: timeout_s: found "soon"; allowed: a number')
    assert (
        lines[4] == 's.yaml:5:8: spec 2: env.A: found 7; allowed: a text or {"secret": its name} ("7" in quotes is one)'
    )
    assert lines[5].startswith("s.yaml:6:13: spec 2: retry_on: 'exitcode'; did you mean 'exit_code'?")


def test_a_mistake_in_json_has_its_place_too():
    text = '{"command": "a"}\n{"command": "b",\n  "env": {"A": 7},\n  "lables": []}\n'
    lines = told(text, "json", "s.jsonl")
    assert lines[1].startswith("s.jsonl:3:16: spec 2: env.A: found 7")
    assert lines[2].startswith("s.jsonl:4:3: spec 2: lables: unknown; did you mean 'labels'?")


def test_a_thousand_mistakes_are_told_up_to_a_bound():
    lines = told("- command: 5\n" * 1000)
    assert lines[0] == "s.yaml has 1000 mistakes:"
    assert len(lines) == MOST_TOLD + 2
    assert lines[-1] == f"and {1000 - MOST_TOLD} more"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("command: a\nname: x\ncommand: b", 's.yaml:3:1: "command": written more than once (first in line 1)'),
        ("command: !!python/object/apply:os.system [ls]", "the tag !!python/object/apply:os.system means nothing here"),
        ("command: !file x", "the tag !file means nothing here"),
        ("retries: !!int two", 's.yaml:1:10: "two" is tagged !!int, and is no whole number'),
        ("retries: !!int true", "and is no whole number"),
        ("command: *base", "*base: no &base stands before it"),
        ("a: &a [*a]", "*a: no &a stands before it"),
        ("\tcommand: a", "a tab cannot indent YAML"),
        ("command: a: b", "s.yaml:1:11: a ': ' where none can be"),
        ("command: [a", "s.yaml:1:12: "),
        ("command: @x", "must be quoted"),
        ('command: "\\q"', "a backslash is written"),
        ("command: a\nname: \x1b[31m", "s.yaml:2:7: the control character U+001B"),
        ("name: \x00", "U+0000"),
        ("[" * (DEEPEST + 2) + "]" * (DEEPEST + 2), f"nested deeper than {DEEPEST} levels"),
        ("? [a]\n: b", "a name must be a text"),
        ("- <<: 5\n  command: a", "<< takes an object"),
        (f"retries: {'9' * 5000}", "thousands of digits"),
        (b"command: \xff", "line 1 is not UTF-8 text"),
        ("command: a".encode("utf-16"), "save the file as UTF-8"),
        ("", "holds no spec"),
        ("---\n---\n", "holds no spec"),
        ("[]", "holds no spec"),
        ("5", "a spec is"),
        ("- command: a\n- true", "s.yaml:2:3: spec 2: a spec is"),
        ("runs: {command: a}", "runs: found an object; a list of specs is wanted"),
        ("runs: []\ncommands: a", "s.yaml:2:1: commands: stands beside 'runs'"),
    ],
)
def test_yaml_that_cannot_be_meant_is_refused_in_plain_words(text, said):
    assert said in "\n".join(told(text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"command": "a",\n "command": "b"}', "s.json:2:2: command: written more than once; say it once"),
        ('{"command": "a",}', f"line 1, column {SEEN_AT}"),
        ('{"command": "a"} x', "line 1, column 18"),
        ('{"timeout_s": NaN}', "NaN is not a JSON number"),
        ("[" * 100_000, "nested too deep"),
        (" ", "holds no spec"),
    ],
)
def test_json_that_cannot_be_meant_is_refused_in_plain_words(text, said):
    assert said in "\n".join(told(text, "json", "s.json"))


def test_aliases_that_explode_are_refused_before_they_do():
    layers = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert "its aliases make far too much" in "\n".join(told("\n".join(["l0: &l0 [x]", *layers])))
    deep = [f"l{n}: &l{n} [*l{n - 1}]" for n in range(1, 3000)]
    assert "its aliases make far too much" in "\n".join(told("\n".join(["l0: &l0 [x]", *deep])))


def test_a_mistake_in_what_an_alias_brings_is_told_where_it_is_written():
    lines = told("- {env: &e {B: x, A: 7}, command: a}\n- {env: *e, command: b}")
    assert [line.split(": found")[0] for line in lines[1:]] == [
        "s.yaml:1:22: spec 1: env.A",
        "s.yaml:1:22: spec 2: env.A",
    ]


def test_one_spec_is_wanted_where_one_is_made():
    with pytest.raises(BadSpec, match="holds 2 specs, and one is wanted"):
        RunSpec.from_yaml("- command: a\n- command: b")
    with pytest.raises(BadSpec, match=r"line 1, column 1: comand: unknown"):
        RunSpec.from_yaml("comand: a")
