"""`infra status`: how this node and the fleet are."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import click

from infra_tasks import __version__
from infra_tasks.cli import spans
from infra_tasks.cli.command import command as make
from infra_tasks.cli.cordon_words import cordon_words
from infra_tasks.cli.door import open_home
from infra_tasks.cli.exit_codes import DONE, UNREACHABLE
from infra_tasks.cli.here import Here
from infra_tasks.cli.printing import ago, heading, print_facts, print_json, print_table

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner
    from infra_tasks.ledger import Ledger
    from infra_tasks.ledger.nodes import NodeSeen
    from infra_tasks.model.sketch import Sketch
    from infra_tasks.settings import Home

EXAMPLES = """
infra status
infra status --json
"""


@make("status", EXAMPLES)
@click.pass_obj
def command(manner: Manner, /) -> int:
    """Tell how this node is - its roles, its Redis - and what the fleet does.

    Exit code 3 when the fleet's Redis does not answer; what this node's folder tells is told all the same.
    """
    home = open_home()
    status = _status(home)
    if manner.json:
        print_json(status)
    else:
        _print(home, status)
    return DONE if status["broker"]["reachable"] else UNREACHABLE


def _status(home: Home) -> dict[str, Any]:
    from infra_tasks.ledger.glance import glance  # noqa: PLC0415  redis
    from infra_tasks.node import name_here  # noqa: PLC0415

    fleet, here = glance(home), Here(home)
    roles, flower_port = here.roles(), here.port("flower")
    broker, known = _ask_ledger(home, fleet, here)
    return {
        "node": name_here(home, fleet),
        "fleet": fleet.name,
        "version": __version__,
        "home": str(home.root),
        "watcher": here.watcher(),
        "roles": roles,
        "runs": known.get("runs"),
        "nodes": known.get("nodes"),
        "safe_mode": known.get("safe_mode"),
        "broker": broker,
        "flower_url": f"http://127.0.0.1:{flower_port}" if flower_port and _lives(roles, "flower") else None,
    }


def _lives(roles: list[dict[str, Any]], name: str) -> bool:
    return any(role["name"] == name and role["pid"] for role in roles)


def _ask_ledger(home: Home, fleet: Sketch, here: Here) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what `broker` says, and runs, nodes and safe_mode when it answers. Asked once: status never waits."""
    from infra_tasks.errors import FleetUnreachable  # noqa: PLC0415
    from infra_tasks.ledger import open_ledger  # noqa: PLC0415

    broker = {"address": _address(fleet, here), "reachable": False, "error": None}
    try:
        ledger = open_ledger(home)
        try:
            ledger.answers()
            known = _known(ledger)
        finally:
            ledger.close()
    except FleetUnreachable as error:
        return {**broker, "error": str(error)}, {}
    return {**broker, "reachable": True}, known


def _known(ledger: Ledger) -> dict[str, Any]:
    return {
        "runs": ledger.runs.counts(),
        "nodes": [_node(node) for node in ledger.nodes.all()],
        "safe_mode": ledger.nodes.safe_mode(),
    }


def _node(seen: NodeSeen) -> dict[str, Any]:
    return {
        "name": seen.name,
        "reachable": seen.reachable,
        "silent_s": round(seen.silent_s, 1),
        "cordoned": seen.cordoned,
        "cordon_why": seen.fields.get("cordon_why") or seen.fields.get("survivors_why") or None,
        "cordon": cordon_words(seen.fields) or None,
        "slots": int(seen.fields.get("slots") or 0),
        "live": seen.live,
        "version": seen.fields.get("version"),
    }


def _address(fleet: Sketch, here: Here) -> str | None:
    """Return where Redis is, without the login of its URL."""
    if fleet.broker != "embedded":
        return re.sub(r"//\S*@", "//", fleet.broker)
    port = here.port("redis")
    return f"redis://127.0.0.1:{port}/0" if port else None


def _print(home: Home, status: dict[str, Any]) -> None:
    watcher, broker = status["watcher"], status["broker"]
    print_facts(
        [
            ("node", status["node"] or f"(none of nodes.json lives in {home.root})"),
            ("fleet", status["fleet"]),
            ("home", status["home"]),
            ("watcher", _watcher(watcher)),
            ("Redis", f"{broker['address'] or 'never started'}{'' if broker['reachable'] else ' (does not answer)'}"),
            ("Flower", status["flower_url"]),
            ("safe mode", _safe_mode(status["safe_mode"])),
        ]
    )
    _print_roles(status["roles"])
    if broker["reachable"]:
        _print_nodes(status["nodes"])
        counted = [f"{count} {state}" for state, count in status["runs"].items() if count]
        heading("Runs")
        click.echo(", ".join(counted) or "none yet: `infra run -- echo hello`")


def _watcher(watcher: dict[str, Any] | None) -> str:
    if watcher is None:
        return "not running: `infra up --detach`"
    said = f"{watcher['state']}, pid {watcher['pid']}"
    if watcher["version"] in {None, __version__}:
        return said
    return (
        f"{said}, of infra {watcher['version']}; installed is {__version__}: `infra down --keep`, `infra up --detach`"
    )


def _safe_mode(waits_for: list[str] | None) -> str | None:
    if waits_for is None:
        return None
    return f"on: Redis came back with other data; waiting for {', '.join(waits_for) or 'nobody any more'}"


def _print_roles(roles: list[dict[str, Any]]) -> None:
    if roles:
        heading("Roles")
        now = time.time()
        rows = [
            (role["name"], role["state"] or "", str(role["pid"] or ""), _since(role, now), str(role["restarts"]))
            for role in roles
        ]
        print_table(("ROLE", "STATE", "PID", "SINCE", "RESTARTS"), rows, flexible=1)


def _since(role: dict[str, Any], now: float) -> str:
    return spans.words(now - role["since_at"]) if role["since_at"] else ""


def _print_nodes(nodes: list[dict[str, Any]]) -> None:
    if nodes:
        heading("Nodes")
        now = time.time()
        rows = [
            (
                node["name"],
                "cordoned" if node["cordoned"] else ("up" if node["reachable"] else "UNREACHABLE"),
                f"{node['live']} of {node['slots']}",
                ago(now - node["silent_s"], now),
                node["cordon"] or "",
            )
            for node in nodes
        ]
        print_table(("NODE", "STATE", "SLOTS IN USE", "SEEN", ""), rows, flexible=4)
