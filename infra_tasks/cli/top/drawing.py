"""How `infra top` looks: lines for a terminal of a size. Nothing is asked and nothing is decided here."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from infra_tasks.cli import run_view, spans
from infra_tasks.cli.printing import table_lines
from infra_tasks.cli.terminal import colour, cut, styled
from infra_tasks.cli.top.model import Mode, Row, View, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra_tasks.cli.lines import OutputLine
    from infra_tasks.cli.nodes_view import NodeView
    from infra_tasks.cli.top.looking import Snapshot

# From so many columns on there is room for all of a table.
WIDE = 100
NARROW = 60
KEYS = {
    Mode.LIST: "q quit  j/k move  s sort  / filter  l logs  c cancel",
    Mode.LOGS: "q quit  Esc back  j/k scroll  End follow  c cancel",
    Mode.FILTER: "Enter keep  Esc drop",
}


@dataclass(frozen=True)
class Scene:
    """All that is drawn. `elapsed_s`: since the snapshot; `silence`: that the fleet does not answer."""

    view: View
    seen: Snapshot | None
    columns: int
    rows: int
    elapsed_s: float = 0.0
    silence: str = ""
    message: str = ""
    log: Sequence[OutputLine] = field(default_factory=list)
    log_over: bool = False


def page_of(rows: int, nodes: int) -> int:
    """Return how many runs have room below the nodes, and above the keys."""
    return max(1, rows - 4 - _node_rows(rows, nodes))


def log_page_of(rows: int) -> int:
    """Return how many lines of output have room."""
    return max(1, rows - 2)


def lines_of(scene: Scene) -> list[str]:
    """Return the lines, as many as there are rows: the last one says what keys do."""
    body = _logs(scene) if scene.view.logs else _list(scene)
    room = max(0, scene.rows - 1)
    return [*body[:room], *[""] * (room - len(body)), _last_line(scene)][: scene.rows]


def plain_lines(seen: Snapshot, columns: int) -> list[str]:
    """Return all there is, once, for a pipe or a file."""
    everything = Scene(View(), seen, columns, rows=4 + 3 * len(seen.nodes) + len(seen.rows))
    more = [f"and {seen.not_shown:,} more that wait"] if seen.not_shown else []
    return [*_list(everything), *more]


def _list(scene: Scene) -> list[str]:
    if scene.seen is None:
        return [_head(scene)]
    lines = [_head(scene), *_nodes(scene, scene.seen.nodes), ""]
    return lines + _runs(scene, scene.seen)


def _head(scene: Scene) -> str:
    if scene.silence:
        return styled(cut(scene.silence, scene.columns), fg="red")
    if scene.seen is None:
        return styled("looking...", dim=True)
    counts = ", ".join(f"{count:,} {state}" for state, count in scene.seen.counts.items() if count)
    at = time.strftime("%H:%M:%S", time.localtime(scene.seen.now))
    return f"{styled(scene.seen.fleet, bold=True)}  {at}  {counts or 'no runs yet'}"


def _node_rows(rows: int, nodes: int) -> int:
    return min(nodes + 1, max(2, rows // 3))


def _nodes(scene: Scene, nodes: Sequence[NodeView]) -> list[str]:
    wide = scene.columns >= WIDE
    headings = ("NODE", "STATE", "SLOTS", "LOAD", *(("DISK", "MEMORY") if wide else ()), "HOW IT IS")
    table = []
    for node in nodes:
        name, state, slots, load, disk, memory, *_, words = node.row()
        table.append((name, state, slots, load, *((disk, memory) if wide else ()), words))
    lines = table_lines(headings, table, flexible=len(headings) - 1, columns=scene.columns)
    room = _node_rows(scene.rows, len(nodes))
    if len(lines) <= room:
        return lines
    return [*lines[: room - 1], styled(f"and {len(lines) - room + 1} more nodes: `infra nodes`", dim=True)]


def _runs(scene: Scene, seen: Snapshot) -> list[str]:
    shown = visible(seen.rows, scene.view)
    page = page_of(scene.rows, len(seen.nodes))
    first = _first(scene.view.position, len(shown), page)
    part = shown[first : first + page]
    if not part:
        return [styled("no live run" + (" fits the filter" if scene.view.wanted else ""), dim=True)]
    now = seen.now + scene.elapsed_s
    headings, table = _table(part, now, scene)
    head, *lines = table_lines(headings, table, flexible=len(headings) - 1, columns=scene.columns)
    return [head, *(_marked(line, row, scene) for line, row in zip(lines, part, strict=True))]


def _table(rows: Sequence[Row], now: float, scene: Scene) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    wide, narrow = scene.columns >= WIDE, scene.columns < NARROW
    headings = ("RUN", "STATE", *(() if narrow else ("NODE",)), "FOR", *(("PROJECT",) if wide else ()), "WHAT")
    table = [
        (
            run_view.short(row.id),
            row.state,
            *(() if narrow else (row.node,)),
            spans.words(max(0.0, now - row.since)) if row.since else "",
            *((row.project,) if wide else ()),
            f"(asked to stop) {row.what}" if row.asked else row.what,
        )
        for row in rows
    ]
    return headings, table


def _marked(line: str, row: Row, scene: Scene) -> str:
    if row.id != scene.view.selected:
        return line
    text = click.unstyle(line)
    return styled(text.ljust(scene.columns), reverse=True) if colour() is None else f"> {text}"


def _first(position: int, count: int, page: int) -> int:
    """Return the first row that is shown: the selected one is in the middle, where there is something above it."""
    return max(0, min(position - page // 2, count - page))


def _logs(scene: Scene) -> list[str]:
    page, count = log_page_of(scene.rows), len(scene.log)
    back = min(scene.view.back, max(0, count - page))
    part = scene.log[max(0, count - page - back) : count - back]
    where = f"{back:,} lines above the end" if back else ("all of it" if scene.log_over else "following")
    run = next((row for row in scene.seen.rows if row.id == scene.view.logs), None) if scene.seen else None
    head = f"{run_view.short(scene.view.logs or '')}  {run.state if run else 'ended'}  {where}"
    if scene.silence:
        head += f"  {scene.silence}"
    return [
        styled(cut(head, scene.columns), bold=True),
        *([_output(line) for line in part] or [styled("no output yet", dim=True)]),
    ]


def _output(line: OutputLine) -> str:
    if line.stream == "stderr":
        return styled(line.text, fg="yellow")
    return line.text if line.stream else styled(line.text, dim=True)


def _last_line(scene: Scene) -> str:
    view = scene.view
    if view.mode is Mode.CONFIRM:
        return styled(f"cancel run {run_view.short(view.asked or '')}? y/n", bold=True)
    if view.mode is Mode.FILTER:
        return f"filter: {view.draft}_   {styled(KEYS[view.mode], dim=True)}"
    if scene.message:
        return styled(scene.message, bold=True)
    said = KEYS[view.mode]
    if view.mode is Mode.LIST:
        more = scene.seen.not_shown if scene.seen else 0
        said += f"   sorted by {view.sort}" + (f", filter: {view.filter}" if view.filter else "")
        said += f", {more:,} more wait" if more else ""
    return styled(said, dim=True)
