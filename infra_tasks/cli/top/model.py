"""What the user of `infra top` has chosen, and what a key makes of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# As they go on: what runs is looked at first.
STATE_ORDER = ("UNREACHABLE", "STARTED", "SYNCING", "RETRY", "QUEUED", "PENDING")


class Row(NamedTuple):
    """A live run. `since`: the moment (wall seconds) its command began, or it was submitted."""

    id: str
    state: str
    node: str
    project: str
    what: str
    since: float
    asked: bool = False


class Sort(StrEnum):
    """What rows are sorted by."""

    STATE = "state"
    AGE = "age"
    NODE = "node"
    PROJECT = "project"
    WHAT = "what"


class Mode(Enum):
    """What keys mean now."""

    LIST = "list"
    FILTER = "filter"
    CONFIRM = "confirm"
    LOGS = "logs"


class Act(Enum):
    """What is to be done besides drawing. All but QUIT mean one run."""

    QUIT = "quit"
    CANCEL = "cancel"
    OPEN_LOGS = "open logs"
    CLOSE_LOGS = "close logs"


@dataclass(frozen=True)
class View:
    """`filter` holds while another one is typed into `draft` as well, to come back to it.

    `selected` is a run; `position` is where it stood, for the time when it is gone. `back`: how many lines above the
    last one the logs end; 0 follows them.
    """

    mode: Mode = Mode.LIST
    sort: Sort = Sort.STATE
    filter: str = ""
    draft: str = ""
    selected: str | None = None
    position: int = 0
    logs: str | None = None
    asked: str | None = None
    back: int = 0

    @property
    def wanted(self) -> str:
        """The text that rows are filtered by now."""
        return self.draft if self.mode is Mode.FILTER else self.filter


class Size(NamedTuple):
    """How many rows of the list and lines of logs are shown, and how many lines the logs have."""

    page: int = 10
    log_lines: int = 0


def visible(rows: Sequence[Row], view: View) -> list[Row]:
    """Return the rows that fit the filter - every word of it stands somewhere -, sorted."""
    words = view.wanted.lower().split()
    fitting = [row for row in rows if all(word in _text(row) for word in words)]
    return sorted(fitting, key=_keys[view.sort])


def settled(view: View, shown: Sequence[Row]) -> View:
    """Return the view with its selection on a row that is shown: on the same run, or where it stood."""
    if not shown:
        return replace(view, selected=None, position=0)
    ids = [row.id for row in shown]
    at = ids.index(view.selected) if view.selected in ids else min(view.position, len(ids) - 1)
    return replace(view, selected=ids[at], position=at)


def press(view: View, key: str, rows: Sequence[Row], size: Size) -> tuple[View, Act | None]:
    """Return what a key makes of the view, and what is to be done."""
    if key == "ctrl-c" or (key == "q" and view.mode in {Mode.LIST, Mode.LOGS}):
        return view, Act.QUIT
    view, act = _in_mode[view.mode](view, key, rows, size)
    return settled(view, visible(rows, view)), act


def _in_list(view: View, key: str, rows: Sequence[Row], size: Size) -> tuple[View, Act | None]:
    step = _steps(size.page).get(key)
    if step is not None:
        return _moved(view, step, rows), None
    if key in {"l", "enter"} and view.selected:
        return replace(view, mode=Mode.LOGS, logs=view.selected, back=0), Act.OPEN_LOGS
    if key == "c" and view.selected:
        return replace(view, mode=Mode.CONFIRM, asked=view.selected), None
    choices = {
        "s": replace(view, sort=_after(view.sort)),
        "/": replace(view, mode=Mode.FILTER, draft=view.filter),
        "esc": replace(view, filter=""),
    }
    return choices.get(key, view), None


def _in_filter(view: View, key: str, rows: Sequence[Row], size: Size) -> tuple[View, Act | None]:
    if key == "enter":
        return replace(view, mode=Mode.LIST, filter=view.draft.strip()), None
    if key == "esc":
        return replace(view, mode=Mode.LIST), None
    if key == "backspace":
        return replace(view, draft=view.draft[:-1]), None
    if key == "ctrl-u":
        return replace(view, draft=""), None
    if key in {"up", "down", "pageup", "pagedown"}:
        return _moved(view, _steps(size.page)[key], rows), None
    return (replace(view, draft=view.draft + key) if len(key) == 1 else view), None


def _in_confirm(view: View, key: str, _rows: Sequence[Row], _size: Size) -> tuple[View, Act | None]:
    back = replace(view, mode=Mode.LOGS if view.logs else Mode.LIST)
    return (back, Act.CANCEL) if key in {"y", "Y"} else (replace(back, asked=None), None)


def _in_logs(view: View, key: str, _rows: Sequence[Row], size: Size) -> tuple[View, Act | None]:
    if key in {"esc", "l", "left"}:
        return replace(view, mode=Mode.LIST, logs=None, back=0), Act.CLOSE_LOGS
    if key == "c":
        return replace(view, mode=Mode.CONFIRM, asked=view.logs), None
    if key in {"end", "G"}:
        return replace(view, back=0), None
    step = _steps(size.page).get(key)
    if step is None:
        return view, None
    return replace(view, back=max(0, min(view.back - step, size.log_lines - size.page))), None


def _moved(view: View, step: int, rows: Sequence[Row]) -> View:
    shown = visible(rows, view)
    if not shown:
        return view
    at = max(0, min(settled(view, shown).position + step, len(shown) - 1))
    return replace(view, selected=shown[at].id, position=at)


def _steps(page: int) -> dict[str, int]:
    far = 1_000_000
    return {"down": 1, "j": 1, "up": -1, "k": -1, "pagedown": page, "pageup": -page, "home": -far, "g": -far,
            "end": far, "G": far}  # fmt: skip


def _after(sort: Sort) -> Sort:
    sorts = list(Sort)
    return sorts[(sorts.index(sort) + 1) % len(sorts)]


def _text(row: Row) -> str:
    return f"{row.id} {row.state} {row.node} {row.project} {row.what}".lower()


def _rank(row: Row) -> int:
    return STATE_ORDER.index(row.state) if row.state in STATE_ORDER else len(STATE_ORDER)


_keys: dict[Sort, Callable[[Row], tuple[object, ...]]] = {
    Sort.STATE: lambda row: (_rank(row), row.since, row.id),
    Sort.AGE: lambda row: (row.since, row.id),
    Sort.NODE: lambda row: (row.node == "", row.node, _rank(row), row.since, row.id),
    Sort.PROJECT: lambda row: (row.project == "", row.project, _rank(row), row.since, row.id),
    Sort.WHAT: lambda row: (row.what.lower(), row.id),
}
_in_mode = {Mode.LIST: _in_list, Mode.FILTER: _in_filter, Mode.CONFIRM: _in_confirm, Mode.LOGS: _in_logs}
