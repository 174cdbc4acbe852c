"""What `infra sync --dry-run` tells: what would go, what stays here and why, and whether that can be meant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra_tasks import releases
from infra_tasks.cli.path_text import path_text, utf8_text
from infra_tasks.cli.printing import heading, print_table
from infra_tasks.cli.terminal import colour
from infra_tasks.model.amounts import bytes_in_words, files_in_words
from infra_tasks.model.weight import MANY_BYTES, MANY_FILES, largest_folders, weight_of
from infra_tasks.releases.layout import Shelf

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from infra_tasks.model.manifest import Entry, Manifest
    from infra_tasks.model.weight import Folder, Weight
    from infra_tasks.node import ThisNode
    from infra_tasks.releases import LeftOut
    from infra_tasks.releases.remote.foresee import Foreseen


@dataclass(frozen=True)
class Plan:
    """A release that would be made of a project now. `nodes`: what those that were asked about lack of it."""

    project: str
    manifest: Manifest
    left_out: list[LeftOut]
    nodes: dict[str, Foreseen]

    @property
    def weight(self) -> Weight:
        """All that goes."""
        return weight_of(self.manifest.entries)

    def as_json(self) -> dict[str, Any]:
        """Return all of it."""
        entries, weight = self.manifest.entries, self.weight
        return {
            "project": self.project,
            "release": self.manifest.digest,
            "files": weight.files,
            "size_bytes": weight.size_bytes,
            "goes": [{"path": utf8_text(entry.path), "size_bytes": entry.size} for entry in entries],
            "left_out": [{"path": utf8_text(each.path), "reason": utf8_text(each.reason)} for each in self.left_out],
            "heavy": weight.is_heavy,
            "largest_folders": [_folder_json(folder) for folder in largest_folders(entries)],
            "nodes": [_node_json(node, seen) for node, seen in self.nodes.items()],
        }


def plan(me: ThisNode, project: str, ask: Sequence[str]) -> Plan:
    """Look what would go, and what the nodes of `ask` lack. Raises SourceUnreadable, NodeUnreachable ..."""
    known = me.fleet.projects[project]
    source = releases.Source(Path(known.source).expanduser(), tuple(known.exclude))
    manifest = releases.snapshot(me.home, project, source).manifest
    left_out = sorted(releases.left_out(me.home, project, source))
    shelf = Shelf(me.home, project)
    return Plan(project, manifest, left_out, {node: _foreseen(me, node, shelf, manifest) for node in ask})


def _foreseen(me: ThisNode, node: str, shelf: Shelf, manifest: Manifest) -> Foreseen:
    from infra_tasks.releases.remote.foresee import foresee, foresee_here  # noqa: PLC0415

    if node == me.name:
        return foresee_here(shelf, manifest)
    from infra_tasks.releases.remote.lines import lines_of  # noqa: PLC0415
    from infra_tasks.releases.remote.peer import peer_of  # noqa: PLC0415

    with lines_of(me.home).to(peer_of(me.fleet, node)) as line:
        return foresee(line, shelf, manifest)


def print_plan(found: Plan) -> None:
    """Print it for people: the lists first, what they come to at the end."""
    heading("Would go")
    _print_entries(found.manifest.entries)
    if found.left_out:
        heading("Stays here")
        rows = [(path_text(each.path), path_text(each.reason)) for each in found.left_out]
        print_table(("WHAT", "WHY"), rows, flexible=1, wrap=True)
    weight = found.weight
    click.echo(f"\n{_amount(weight)} would go as release {found.manifest.digest[:12]}; left out: {len(found.left_out)}")
    for node, seen in found.nodes.items():
        click.echo(f"{node}: {_lack_words(seen)}")
    if weight.is_heavy:
        click.echo(click.style(_warning(found), fg="yellow"), err=True, color=colour())


def _print_entries(entries: Iterable[Entry]) -> None:
    lines = [f"{bytes_in_words(entry.size):>10}  {path_text(entry.path)}{_arrow(entry)}" for entry in entries]
    click.echo("\n".join(lines))


def _arrow(entry: Entry) -> str:
    return f" -> {path_text(entry.target)}" if entry.kind == "link" else ""


def _lack_words(seen: Foreseen) -> str:
    if seen.held:
        return "holds it already, nothing would be sent"
    most = "at most " if seen.at_most else ""
    return f"{most}{_amount(weight_of(seen.lacking))} would be sent, the rest is there"


def _warning(found: Plan) -> str:
    largest = largest_folders(found.manifest.entries)
    folders = [f"{path_text(folder.path)} ({_amount(folder.weight)})" for folder in largest]
    return (
        f"that is a lot: more than {MANY_FILES:,} files or {MANY_BYTES // 10**9} GB\n"
        f"  largest folders: {', '.join(folders) or 'none; it all lies at the top'}\n"
        "  leave out what is not needed: .gitignore, .infraignore, or `exclude` of the project in nodes.json"
    )


def _amount(weight: Weight) -> str:
    return f"{files_in_words(weight.files)}, {bytes_in_words(weight.size_bytes)}"


def _folder_json(folder: Folder) -> dict[str, Any]:
    return {"path": utf8_text(folder.path), **folder.weight._asdict()}


def _node_json(node: str, seen: Foreseen) -> dict[str, Any]:
    return {"node": node, "held": seen.held, "at_most": seen.at_most, **weight_of(seen.lacking)._asdict()}
