"""`infra open`: opens the window (Flower) in the browser, logged in."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import open_fleet, open_home
from infra_tasks.cli.here import Here
from infra_tasks.cli.printing import print_facts, print_json
from infra_tasks.cli.terminal import ChangingLine, note
from infra_tasks.errors import FleetUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra_tasks.cli.manner import Manner
    from infra_tasks.settings import Home

# A role that the watcher is just bringing up is waited for.
PATIENCE_S = 20.0
LOOK_EVERY_S = 0.1
EXAMPLES = """
infra open
infra open --print
infra open --print --password
"""


@make("open", EXAMPLES)
@click.option("--print", "only_print", is_flag=True, help="Print where it is and where its password is; open nothing.")
@click.option("--password", "with_password", is_flag=True, help="Print the password as well.")
@click.pass_obj
def command(manner: Manner, /, *, only_print: bool, with_password: bool) -> None:
    """Open the window, Flower, in the browser: workers, what they do, what they did.

    The browser is logged in by a key that works once, within a minute. Without a browser the address is printed.
    """
    home = open_home()
    port = _port(home)
    opened = not only_print and _is_opened(home, port)
    if not only_print and not opened:
        note("no browser could be opened here")
    facts = _facts(home, port, with_password=with_password)
    if manner.json:
        print_json({**facts, "opened": opened})
    elif opened and not with_password:
        click.echo(f"{facts['url']} is open in the browser")
    else:
        _print(facts, port)


def _port(home: Home) -> int:
    """Return where this node's Flower listens. Raises FleetUnreachable with what to do when it does not."""
    from infra_tasks.web.listening import is_listening  # noqa: PLC0415

    if not home.nodes_json.exists():
        open_fleet(home)  # says what to do
    here, deadline = Here(home), time.monotonic() + PATIENCE_S
    with ChangingLine() as line:
        while True:
            port = here.port("flower")
            if port and _role(here).get("pid") and is_listening(port):
                return port
            if here.watcher() is None or time.monotonic() > deadline:
                raise _explained(here)
            line.show("waiting for Flower ...")
            time.sleep(LOOK_EVERY_S)


def _role(here: Here) -> dict[str, Any]:
    return next((role for role in here.roles() if role["name"] == "flower"), {})


def _explained(here: Here) -> FleetUnreachable:
    if here.watcher() is None:
        return FleetUnreachable(
            f"this node is not up (no watcher runs for {here.home.root}), so it has no Flower.\n"
            "Start it with `infra up --detach`."
        )
    state = _role(here).get("state") or "not there"
    log = here.home.logs / "flower.log"
    return FleetUnreachable(f"this node is up, but its Flower does not answer (its role is {state}).\nIts log: {log}")


def _is_opened(home: Home, port: int) -> bool:
    """Have a browser come in with a key; say whether there is one."""
    import webbrowser  # noqa: PLC0415

    from infra_tasks.settings import has_browser  # noqa: PLC0415
    from infra_tasks.web.doorkey import DOOR, new_key  # noqa: PLC0415

    if not has_browser():
        return False
    with _saying_nothing_on_stdout():
        return webbrowser.open(f"{_url(port)}{DOOR}?key={new_key(home, time.time())}")


@contextmanager
def _saying_nothing_on_stdout() -> Iterator[None]:
    """Browsers chat, and what stands on stdout is the answer of this command: they get stderr for both."""
    sys.stdout.flush()
    ours = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(ours, 1)
        os.close(ours)


def _facts(home: Home, port: int, *, with_password: bool) -> dict[str, Any]:
    from infra_tasks.web.admission import USER  # noqa: PLC0415

    file = home.secrets / "flower.password"
    facts = {"url": _url(port), "user": USER, "password_file": str(file)}
    return {**facts, "password": file.read_text().strip()} if with_password else facts


def _url(port: int) -> str:
    from infra_tasks.web.listening import LOOPBACK  # noqa: PLC0415

    return f"http://{LOOPBACK}:{port}"


def _print(facts: dict[str, Any], port: int) -> None:
    print_facts(
        [
            ("Flower", facts["url"]),
            ("user", facts["user"]),
            ("password", facts.get("password") or f"in {facts['password_file']}"),
            ("from afar", f"ssh -L {port}:127.0.0.1:{port} THIS-MACHINE, and the same address there"),
        ]
    )
