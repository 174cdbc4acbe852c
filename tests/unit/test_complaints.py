"""What pydantic found wrong, as sentences."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from infra_tasks.model.complaints import complaints, found, path_text


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: Annotated[int, Field(ge=1, lt=5)] = 1
    speed: Annotated[float, Field(gt=0)] = 1

    @model_validator(mode="after")
    def _slow_when_large(self):
        if self.size > 3 and self.speed > 10:
            raise ValueError("too large to be fast")
        return self


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    command: list[str] | str = "x"
    colour: Colour = Colour.RED
    mode: Literal["on", "off"] = "on"
    inner: Inner = Inner()
    parts: dict[str, Inner] = {}
    extra: dict[str, int] | list[int] | None = None
    password: int = 0
    tags: frozenset[str] = frozenset()


def said_about(value: object, model: type[BaseModel] = Outer) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(value)
    return [each.said for each in complaints(caught.value, model)]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"inner": {"size": 9}}, "inner.size: found 9; allowed: a whole number at least 1 and below 5"),
        ({"inner": {"speed": -1}}, "inner.speed: found -1; allowed: a number above 0"),
        ({"inner": {"sise": 9}}, "inner.sise: unknown; did you mean 'size'? (known: size, speed)"),
        ({"parts": {"a b": {"size": None}}}, 'parts["a b"].size: found null; allowed: a whole number at least 1'),
        ({"parts": {"p": 3}}, "parts.p: found 3; allowed: an object with size, speed"),
        ({"colour": "green"}, 'colour: found "green"; allowed: "red" or "blue"'),
        ({"mode": 1}, 'mode: found 1; allowed: "on" or "off"'),
        ({"command": 3}, "command: found 3; allowed: a list (each a text) or a text"),
        ({"command": ["a", 3]}, "command[1]: found 3; allowed: a text"),
        ({"extra": {"a": "b"}}, 'extra.a: found "b"; allowed: a whole number'),
        ({"password": "letmein"}, "password: found (hidden); allowed: a whole number"),
        ({"inner": {"size": 4, "speed": 11}}, "inner: too large to be fast"),
        ({"tags": 3}, "tags: found 3; allowed: a list (each a text)"),
        ([], "the whole: found an empty list; allowed: an object with command, colour, mode"),
    ],
)
def test_a_sentence_names_the_place_what_was_found_and_what_is_allowed(value, said):
    assert len(said_about(value)) == 1
    assert said_about(value)[0].startswith(said)


def test_each_wrong_thing_has_its_own_sentence():
    said = said_about({"colour": 1, "inner": {"size": 0, "x": 1}, "mode": None})
    assert [line.partition(":")[0] for line in said] == ["colour", "mode", "inner.size", "inner.x"]


def test_a_path_is_written_as_people_write_it():
    assert path_text(("nodes", "mac-1", "labels", 0)) == "nodes.mac-1.labels[0]"
    assert path_text(("a b", "", "c.d")) == '["a b"][""]["c.d"]'


def test_letters_of_all_languages_stay_readable_and_what_cannot_be_printed_is_escaped():
    assert found("größe 漢字 😀") == '"größe 漢字 😀"'
    assert found('a"\x1b[31m\n\u202e\ud800') == '"a\\"\\u001b[31m\\n\\u202e\\ud800"'
    assert path_text(("nodes", "größe", "slots")) == 'nodes["größe"].slots'


def test_a_login_in_a_url_is_never_shown():
    assert found("redis://me:secret@h:1/0") == '"redis://***@h:1/0"'
    assert "secret" not in found("redis:/me:secret@h")
    assert "secret" not in found("redis://me:p/w@secret@h")
    assert found("me@mac-2.local:22") == '"me@mac-2.local:22"'
    assert "secret" not in found("x" * 30 + "redis://me:" + "secret" * 200 + "@h")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text() | st.integers(), inside, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(Outer.model_fields)) | st.text(), ANYTHING, max_size=4) | ANYTHING)
def test_whatever_is_wrong_is_said_in_short_printable_lines(value):
    said = ["nothing is wrong"]
    try:
        Outer.model_validate(value)
    except ValidationError as error:
        said = [each.said for each in complaints(error, Outer)]
    assert said
    for line in said:
        line.encode("utf-8")
        assert line.isprintable()
        assert len(line) < 600
