"""Reads YAML as a person means it: numbers, true, false and null as in JSON, everything else is a text.

So `on`, `no`, `12:30` and `007` stay what they are written as (YAML 1.1 makes true, false, 750 and 7 of them). Nothing
said twice, no tags that make objects, no aliases that explode. Every part keeps its place. Pure.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from infra_tasks.model.placed import Place, Written, pointed

if TYPE_CHECKING:
    from collections.abc import Iterator


DEEPEST = 64
# Aliases may make so many times more of a text than is written there, and this much in any case.
GROWTH, SMALL_GROWTH = 10, 100_000
# Up to here a text with a mistake is read again by the slower parser, whose words are better.
READ_AGAIN_CHARACTERS = 200_000

_TAG = "tag:yaml.org,2002:"
_NOT_TEXT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?P<broken>\.[0-9]+)?(?P<power>[eE][-+]?[0-9]+)?")
_WORDS = {word: value for value, words in ((None, ("", "~", "null", "Null", "NULL")),
          (True, ("true", "True", "TRUE")), (False, ("false", "False", "FALSE"))) for word in words}  # fmt: skip
_TAGGED: dict[str, tuple[type | tuple[type, ...], str]] = {
    "int": (int, "no whole number"),
    "float": ((int, float), "no number"),
    "bool": (bool, "neither true nor false"),
    "null": (type(None), "not null"),
}
_HINTS = (
    ("'\\t' that cannot start", "a tab cannot indent YAML; use spaces"),
    ("mapping values are not allowed", "a ': ' where none can be; indent it as its neighbours, or quote the text"),
    ("that cannot start any token", "a text that begins so must be quoted"),
    ("unknown escape character", "in \"...\" a backslash is written \\\\; in '...' it stands for itself"),
    ("expected <block end>", "it is indented otherwise than its neighbours"),
)


class Problem(NamedTuple):
    """Something in the text that cannot be meant."""

    place: Place
    said: str


class NotYaml(ValueError):
    """The text cannot be read; `problems` has all that was found up to there."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(problem.said for problem in problems))
        self.problems = problems


def yaml_documents(text: str) -> list[Written]:
    """Return the documents of a text; empty ones are left out. Raises NotYaml."""
    odd = _NOT_TEXT.search(text)
    if odd:
        raise NotYaml([_odd_character(text, odd)])
    composer = _Composer(_events(text))
    try:
        found = list(composer.documents())
    except _Refused as refused:
        raise NotYaml([*composer.problems, refused.problem]) from None
    if composer.problems:
        raise NotYaml(composer.problems)
    return found


def plain(written: Written, budget: list[int], depth: int = 0) -> Any:
    """Return the value without its places. `budget[0]` goes down; raises NotYaml when aliases have used it up."""
    value = written.value
    budget[0] -= 1 + (len(value) // 16 if isinstance(value, str) else 0)
    if budget[0] < 0 or depth > 2 * DEEPEST:
        raise NotYaml([Problem(written.place, "its aliases make far too much of it; write it out, or less of it")])
    if isinstance(value, dict):
        return {key: plain(each, budget, depth + 1) for key, each in value.items()}
    return [plain(each, budget, depth + 1) for each in value] if isinstance(value, list) else value


def budget_for(text: str) -> list[int]:
    """Return what `plain` may use up for the documents of a text."""
    return [GROWTH * len(text) + SMALL_GROWTH]


class _Refused(Exception):
    """Reading cannot go on."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.said)
        self.problem = problem


class _Composer:
    """Makes values of a parser's events."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._anchors: dict[str, Written] = {}
        self.problems: list[Problem] = []

    def documents(self) -> Iterator[Written]:
        """Give what each document holds."""
        from yaml.events import DocumentStartEvent  # noqa: PLC0415

        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                self._anchors = {}
                found = self._value(next(self._events), 0)
                if found.value is not None:
                    yield found

    def _value(self, event: Any, depth: int) -> Written:
        from yaml.events import AliasEvent, MappingStartEvent, ScalarEvent  # noqa: PLC0415

        place = _place(event.start_mark)
        if depth > DEEPEST:
            raise _Refused(Problem(place, f"nested deeper than {DEEPEST} levels"))
        if isinstance(event, AliasEvent):
            return self._anchored(str(event.anchor), place)
        if isinstance(event, ScalarEvent):
            found = Written(self._scalar(event, place), place)
        elif isinstance(event, MappingStartEvent):
            found = self._mapping(event, place, depth)
        else:
            found = self._list(event, place, depth)
        if event.anchor:  # not before it is whole: what holds itself has no end
            self._anchors[event.anchor] = found
        return found

    def _anchored(self, name: str, place: Place) -> Written:
        found = self._anchors.get(name)
        if found is None:
            known = f" (known: {', '.join(self._anchors)})" if self._anchors else ""
            self.problems.append(Problem(place, f"*{name}: no &{name} stands before it{known}"))
            return Written(None, place)
        return Written(found.value, place, found.keys)

    def _list(self, event: Any, place: Place, depth: int) -> Written:
        from yaml.events import SequenceEndEvent  # noqa: PLC0415

        self._check_tag(event, place, "seq")
        items = []
        while not isinstance(item := next(self._events), SequenceEndEvent):
            items.append(self._value(item, depth + 1))
        return Written(items, place)

    def _mapping(self, event: Any, place: Place, depth: int) -> Written:
        from yaml.events import MappingEndEvent  # noqa: PLC0415

        self._check_tag(event, place, "map")
        members: dict[str, Written] = {}
        keys: dict[str, Place] = {}
        merged: list[Written] = []
        while not isinstance(key_event := next(self._events), MappingEndEvent):
            key, merges = self._key(key_event, depth)
            where = _place(key_event.start_mark)
            value = self._value(next(self._events), depth + 1)
            if merges:
                merged += self._merged(value)
                continue
            if key in members:
                first = keys[key].line
                self.problems.append(Problem(where, f"{_shown(key)}: written more than once (first in line {first})"))
            members[key], keys[key] = value, where
        for each in merged:
            members = {**each.value, **members}
            keys = {**(each.keys or {}), **keys}
        return Written(members, place, keys)

    def _key(self, event: Any, depth: int) -> tuple[str, bool]:
        """Return a key as it is written, and whether it is the << that brings in other mappings."""
        from yaml.events import AliasEvent, ScalarEvent  # noqa: PLC0415

        if isinstance(event, ScalarEvent):
            return str(event.value), event.value == "<<" and event.implicit[0]
        place = _place(event.start_mark)
        value = self._value(event, depth + 1).value
        if isinstance(event, AliasEvent) and isinstance(value, str):
            return value, False
        self.problems.append(Problem(place, "a name must be a text, not a list or an object"))
        return "", False

    def _merged(self, value: Written) -> list[Written]:
        each = value.value if isinstance(value.value, list) else [value]
        if all(isinstance(one.value, dict) for one in each):
            return list(each)
        self.problems.append(Problem(value.place, "<< takes an object or a list of objects"))
        return []

    def _scalar(self, event: Any, place: Place) -> Any:
        text, tag = event.value, event.tag
        if tag in (None, "!"):
            return self._resolved(text, place) if event.implicit[0] and tag is None else text
        kind = tag.removeprefix(_TAG)
        if kind == "str":
            return text
        if kind not in _TAGGED or not tag.startswith(_TAG):
            return self._unknown_tag(tag, place)
        value, (types, found) = self._resolved(text, place), _TAGGED[kind]
        if not isinstance(value, types) or (isinstance(value, bool) and kind != "bool"):
            self.problems.append(Problem(place, f"{_shown(text)} is tagged !!{kind}, and is {found}"))
        return float(value) if kind == "float" and isinstance(value, int) else value

    def _resolved(self, text: str, place: Place) -> Any:
        if text in _WORDS:
            return _WORDS[text]
        number = _NUMBER.fullmatch(text)
        if number is None:
            return text
        try:
            return float(text) if number["broken"] or number["power"] else int(text)
        except ValueError:
            self.problems.append(Problem(place, "a number of thousands of digits"))
            return 0

    def _check_tag(self, event: Any, place: Place, kind: str) -> None:
        if event.tag not in (None, "!", _TAG + kind):
            self._unknown_tag(event.tag, place)

    def _unknown_tag(self, tag: str, place: Place) -> None:
        shown = f"!!{tag.removeprefix(_TAG)}" if tag.startswith(_TAG) else tag
        self.problems.append(Problem(place, f"the tag {shown} means nothing here; leave it out"))


def _events(text: str) -> Iterator[Any]:
    """Give the events of a text, parsed by libyaml where PyYAML was built with it (twenty times as fast)."""
    import yaml  # noqa: PLC0415  only who reads YAML needs it

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        yield from yaml.parse(text, Loader=loader)
    except yaml.YAMLError as error:
        raise _Refused(_syntax(text, _better_told(text, error))) from None


def _better_told(text: str, error: Exception) -> Exception:
    import yaml  # noqa: PLC0415

    if len(text) > READ_AGAIN_CHARACTERS:
        return error
    try:
        for _ in yaml.parse(text, Loader=yaml.SafeLoader):
            pass
    except yaml.YAMLError as better:
        return better
    return error


def _syntax(text: str, error: Exception) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = _place(mark) if mark else Place(1, 1)
    said = str(getattr(error, "problem", None) or error)
    hint = next((words for sign, words in _HINTS if sign in said), "")
    context = getattr(error, "context", None)
    told = hint or (f"{said} {context}" if context else said)
    return Problem(place, f"{told}\n{pointed(text, place)}")


def _odd_character(text: str, odd: re.Match[str]) -> Problem:
    before = text[: odd.start()]
    place = Place(before.count("\n") + 1, odd.start() - (before.rfind("\n") + 1) + 1)
    return Problem(place, f"the control character U+{ord(odd[0]):04X}; in a quoted text write it as an escape")


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)


def _shown(text: str) -> str:
    return json.dumps(text[:60], ensure_ascii=False)
