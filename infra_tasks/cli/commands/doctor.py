"""`infra doctor`: looks for what one would trip over, and says the cure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import open_home
from infra_tasks.cli.exit_codes import DONE, FAILED
from infra_tasks.cli.names import check_name
from infra_tasks.cli.path_text import path_text
from infra_tasks.cli.printing import heading, print_json
from infra_tasks.cli.terminal import ChangingLine, colour, styled, width
from infra_tasks.cli.wrapping import wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra_tasks.cli.doctor.finding import Finding
    from infra_tasks.cli.manner import Manner
    from infra_tasks.settings import Home

EXAMPLES = """
infra doctor
infra doctor --node mac-2
infra doctor --json
"""
SHADES = {"ok": "green", "warning": "yellow", "bad": "red"}
FLEET = "fleet"
COLUMN, CHECK_COLUMN, BELOW = 9, 19, 4
NARROW = 70


@make("doctor", EXAMPLES)
@click.option("--node", help="Only this node, and the fleet's Redis.")
@click.pass_obj
def command(manner: Manner, /, *, node: str | None) -> int:
    """Look for what one would trip over, on this machine and on every node, and say the cure for each.

    Python, rsync, ssh and host keys, Redis (version, persistence, memory, rights), clocks, disks, file limits,
    versions, roles, folders, secrets, and the service that starts this node. Nothing is changed.

    Exit code 0: all is well, or there are only warnings. 1: something is bad.
    """
    findings = _examine(open_home(), node)
    if manner.json:
        print_json({"ok": not _bad(findings), "findings": [each.as_json() for each in findings]})
    else:
        _print(findings)
    return FAILED if _bad(findings) else DONE


def _examine(home: Home, node: str | None) -> list[Finding]:
    from infra_tasks.cli.doctor import fleet_file  # noqa: PLC0415
    from infra_tasks.cli.doctor.examination import lookups  # noqa: PLC0415
    from infra_tasks.cli.doctor.lookups import look_all  # noqa: PLC0415

    fleet, findings = fleet_file.read(home)
    if fleet is not None:
        check_name("node", node, fleet.nodes)
    with ChangingLine() as line:
        return findings + look_all(
            lookups(home, fleet, node), lambda waits: line.show(f"looking at {', '.join(waits)}")
        )


def _bad(findings: Sequence[Finding]) -> int:
    return sum(each.level == "bad" for each in findings)


def _print(findings: Sequence[Finding]) -> None:
    """Print them by node, each with its cure below it."""
    for node in dict.fromkeys(each.node for each in findings):
        heading(node or FLEET)
        for each in findings:
            if each.node == node:
                _print_one(each)
    counts = [(sum(each.level == level for each in findings), level) for level in ("bad", "warning", "ok")]
    said = ", ".join(
        f"{count} {level}{'s' if level == 'warning' and count > 1 else ''}" for count, level in counts if count
    )
    click.echo(f"\n{said}")


def _print_one(finding: Finding) -> None:
    """Print level, check and what was found beside each other, or, where the terminal is narrow, below each other."""
    level, check = styled(finding.level.value.ljust(COLUMN), fg=SHADES[finding.level]), finding.check
    narrow = width() < NARROW
    beside = BELOW if narrow else COLUMN + CHECK_COLUMN
    found, cure = _lines(finding.found, beside), _lines(f"do: {finding.cure}", beside) if finding.cure else []
    if narrow:
        click.echo(f"{level}{check}", color=colour())
    else:
        click.echo(f"{level}{check.ljust(CHECK_COLUMN)}{found.pop(0)}", color=colour())
    for line in found:
        click.echo(" " * beside + line)
    for line in cure:
        click.echo(styled(" " * beside + line, bold=True), color=colour())


def _lines(text: str, beside: int) -> list[str]:
    """Return the lines of a text; what is no plain sign in it is spelt out."""
    columns = width() - beside
    return [part for line in text.splitlines() or [""] for part in wrapped(path_text(line.strip()), columns)]
