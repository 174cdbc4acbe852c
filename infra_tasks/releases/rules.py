"""Rules that leave paths out: .gitignore, .infraignore and a project's `exclude`, all in gitignore syntax."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pathspec import GitIgnoreSpec

from infra_tasks.errors import SourceUnreadable
from infra_tasks.releases.trouble import unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

OWN_RULES = ".infraignore"
GIT_RULES = ".gitignore"


class Verdict(NamedTuple):
    """A rule spoke about a path: is it left out, and which rule said so."""

    out: bool
    reason: str


class Rules:
    """The lines of one file (or of `exclude`), asked about paths relative to the folder they lie in."""

    def __init__(self, label: str, lines: Sequence[str], base: str = "") -> None:
        self._label = label
        self._lines = lines
        self._base = base
        try:
            self._spec = GitIgnoreSpec.from_lines(line or "#" for line in lines)  # empty ones would not be counted
        except ValueError as error:
            line = next(number for number, line in enumerate(lines, 1) if _is_no_rule(line))
            raise SourceUnreadable(f"{label}:{line}: {error}; the rules are those of .gitignore") from error

    def verdict(self, path: str) -> Verdict | None:
        """Return what the last matching rule says of a path ("/" at its end for a folder), None if none matches."""
        found = self._spec.check_file(path[len(self._base) :])
        if found.include is None or found.index is None:
            return None
        return Verdict(found.include, f"{self._label}:{found.index + 1}: {self._lines[found.index].strip()}")

    @property
    def words(self) -> tuple[str, ...]:
        """All that decides: the same words give the same verdicts."""
        return (self._label, *self._lines)

    @property
    def empty(self) -> bool:
        """No rule at all: nothing to ask."""
        return not any(pattern.include is not None for pattern in self._spec.patterns)


def read_rules(folder: Path, name: str, base: str = "") -> Rules | None:
    """Read the rules of one file, None if it is not there or says nothing."""
    try:
        data = (folder / name).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise unreadable(f"{folder / name}", error) from error
    if b"\0" in data:
        raise SourceUnreadable(f"{folder / name} is no UTF-8 text, so its rules mean nothing: save it as UTF-8")
    rules = Rules(base + name, _lines(data), base)
    return None if rules.empty else rules


def _is_no_rule(line: str) -> bool:
    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return True
    return False


def _lines(data: bytes) -> list[str]:
    """Return lines as git splits them: at newlines alone, without the mark and the carriage returns of Windows."""
    text = data.decode("utf-8-sig", errors="surrogateescape")
    return [line.removesuffix("\r") for line in text.split("\n")]


def narrowing(folder: Path, exclude: Sequence[str]) -> list[Rules]:
    """Return what leaves paths out beyond git's rules: `.infraignore` at the top of the source, and `exclude`."""
    own = read_rules(folder, OWN_RULES)
    given = Rules("exclude in nodes.json", list(exclude))
    return [rules for rules in (own, given) if rules is not None and not rules.empty]


def first_out(rules: Iterable[Rules], path: str) -> str | None:
    """Return why any of several independent sets of rules leaves a path out, None if none does."""
    for each in rules:
        verdict = each.verdict(path)
        if verdict is not None and verdict.out:
            return verdict.reason
    return None


def last_word(nested: Sequence[Rules], path: str) -> Verdict | None:
    """Return what the deepest of nested rules that has an opinion says."""
    for rules in reversed(nested):
        verdict = rules.verdict(path)
        if verdict is not None:
            return verdict
    return None
