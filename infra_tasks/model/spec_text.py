"""Specs in a text of JSON or YAML: found one by one, and every mistake in them told with its place.

Many specs are a list, {"runs": [...]}, several documents of YAML, or values of JSON one behind the other (JSON lines).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from infra_tasks.errors import BadSpec
from infra_tasks.model.complaints import Complaint, path_text
from infra_tasks.model.json_places import json_places
from infra_tasks.model.nearest import did_you_mean
from infra_tasks.model.placed import Place, Written, place_of
from infra_tasks.model.strict_json import SCHEMA, TWICE, NotStrictJson, decoded, kind_of, read_values, said_twice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from infra_tasks.model.complaints import Path

Form = Literal["json", "yaml"]
Made = TypeVar("Made")

MOST_TOLD = 20
MANY = "runs"  # the key that holds many specs
ENDINGS: dict[str, Form] = {".json": "json", ".jsonl": "json", ".ndjson": "json", ".yaml": "yaml", ".yml": "yaml"}


class Document:
    """One document of a text: its value, and where each part of it stands."""

    def __init__(self, value: Any, text: str = "", start: int = 0, written: Written | None = None) -> None:
        self.value = value
        self._text, self._start, self._written = text, start, written

    def place(self, problem: Complaint) -> Place:
        """Return the place a complaint is about. JSON is looked through a second time for that."""
        if self._written is None:
            try:
                self._written = json_places(self._text, self._start)
            except RecursionError:
                self._written = Written(None, Place(self._text.count("\n", 0, self._start) + 1, 1))
        return place_of(self._written, problem.path, about_key=problem.about_key)


@dataclass(frozen=True)
class Given:
    """One spec of a text, still unchecked. `number` counts from 1; `name` is the file's, empty if there is none."""

    value: Any
    number: int
    document: Document
    path: Path
    name: str = ""
    is_one_of_many: bool = False

    def told(self, problem: Complaint) -> Told:
        """Return what is wrong, with its place in the text."""
        deeper = problem._replace(path=(*self.path, *problem.path))
        which = f"spec {self.number}: " if self.is_one_of_many else ""
        return Told(self.name, self.document.place(deeper), f"{which}{problem.said}")


class Told(NamedTuple):
    """One mistake and its place."""

    name: str
    place: Place
    said: str

    def words(self) -> str:
        """Return it as a line: `specs.yaml:3:5: ...`, as editors and compilers write places."""
        line, column = self.place
        return f"{f'{self.name}:{line}:{column}' if self.name else f'line {line}, column {column}'}: {self.said}"


def form_of(name: str, text: str | bytes) -> Form:
    """Return what a text is written in, by the name of its file or, where that does not tell, by how it begins."""
    for ending, form in ENDINGS.items():
        if name.lower().endswith(ending):
            return form
    first = decoded_text(text, name).lstrip()[:1]
    return "json" if first in {"{", "["} else "yaml"


def decoded_text(text: str | bytes, name: str = "") -> str:
    """Return the text of a file. Raises BadSpec when it is none."""
    try:
        return decoded(text)
    except NotStrictJson as error:
        raise BadSpec(f"{name or 'the text'}: {error}") from None


def specs_in(text: str | bytes, form: Form, name: str = "") -> list[Given]:
    """Return the specs of a text, unchecked. Raises BadSpec when it cannot be read, or holds none."""
    documents = _documents(decoded_text(text, name), form, name)
    found = [each for document in documents for each in _specs_of(document, name)]
    if not found:
        raise BadSpec(f"{name or 'the text'} holds no spec; a spec is an object with at least 'command'")
    many = len(found) > 1
    return [
        Given(each.value, number, each.document, each.path, name, many) for number, each in enumerate(found, start=1)
    ]


def one_in(text: str | bytes, form: Form) -> Given:
    """Return the one spec of a text. Raises BadSpec for none or many."""
    found = specs_in(text, form)
    if len(found) > 1:
        raise BadSpec(f"the text holds {len(found)} specs, and one is wanted")
    return found[0]


def made_of(given: Iterable[Given], make: Callable[[Given], Made]) -> list[Made]:
    """Return what `make` makes of each spec. Raises one BadSpec with what was wrong with any of them."""
    made, wrong = [], []
    for each in given:
        try:
            made.append(make(each))
        except BadSpec as error:
            wrong += [each.told(one) for one in error.problems or [Complaint((), str(error))]]
    if wrong:
        raise _bad(wrong)
    return made


def _documents(text: str, form: Form, name: str) -> list[Document]:
    return _yaml_documents(text, name) if form == "yaml" else _json_documents(text, name)


def _json_documents(text: str, name: str) -> list[Document]:
    try:
        found = [Document(value, text, start) for start, value in read_values(text)]
    except NotStrictJson as error:
        where = f"{name}: " if name else ""
        raise BadSpec(f"{where}{error}") from None
    twice = [(each, path) for each in found for path in said_twice(each.value)]
    complaints = [(each, Complaint(path, f"{path_text(path)}: {TWICE}", about_key=True)) for each, path in twice]
    if complaints:
        raise _bad([Told(name, each.place(complaint), complaint.said) for each, complaint in complaints])
    return found


def _yaml_documents(text: str, name: str) -> list[Document]:
    from infra_tasks.model.yaml_text import NotYaml, budget_for, plain, yaml_documents  # noqa: PLC0415

    budget = budget_for(text)
    try:
        return [Document(plain(each, budget), written=each) for each in yaml_documents(text)]
    except NotYaml as error:
        raise _bad([Told(name, each.place, each.said) for each in error.problems]) from None


def _specs_of(document: Document, name: str) -> Iterator[Given]:
    """Give what a document holds: a spec, or many in a list or under 'runs'."""
    value = document.value
    path: Path = ()
    if isinstance(value, dict) and MANY in value:
        other = [key for key in value if key not in {MANY, SCHEMA}]
        if other:
            said = f"{other[0]}: stands beside {MANY!r}, which holds all specs{did_you_mean(other[0], [MANY])}"
            raise _bad([Told(name, document.place(Complaint((other[0],), said, about_key=True)), said)])
        value, path = value[MANY], (MANY,)
        if not isinstance(value, list):
            said = f"{MANY}: found {kind_of(value)}; a list of specs is wanted"
            raise _bad([Told(name, document.place(Complaint((MANY,), said)), said)])
    if isinstance(value, list):
        yield from (Given(_bare(each), 0, document, (*path, at)) for at, each in enumerate(value))
    else:
        yield Given(_bare(value), 0, document, path)


def _bare(value: Any) -> Any:
    if isinstance(value, dict) and isinstance(value.get(SCHEMA), str):
        return {key: each for key, each in value.items() if key != SCHEMA}
    return value


def _bad(wrong: Iterable[Told]) -> BadSpec:
    each_once = list(dict.fromkeys(wrong))
    files = list(dict.fromkeys(each.name for each in each_once))
    told = sorted(each_once, key=lambda each: (files.index(each.name), each.place, each.said))
    who = f"{files[0] or 'the text'} has" if len(files) == 1 else f"{len(files)} files have"
    count = "a mistake" if len(told) == 1 else f"{len(told)} mistakes"
    more = [f"and {len(told) - MOST_TOLD} more"] if len(told) > MOST_TOLD else []
    return BadSpec("\n".join([f"{who} {count}:", *(each.words() for each in told[:MOST_TOLD]), *more]))
