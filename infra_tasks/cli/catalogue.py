"""The commands of `infra`, by what they are for, each with the words the help has for it."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One command in the help: `runs`, or `key accept`, a command about a noun. Its code is in `commands/`."""

    name: str
    says: str

    @property
    def module(self) -> str:
        """Where its code is: `runs`, `key_accept`."""
        return f"infra_tasks.cli.commands.{self.name.replace(' ', '_').replace('-', '_')}"


SECTIONS: dict[str, tuple[Entry, ...]] = {
    "Run": (
        Entry("run", "run a command on the fleet and wait for it"),
        Entry("submit", "hand in specs from a file, one or many"),
        Entry("wait", "wait until runs have ended"),
        Entry("cancel", "stop runs"),
        Entry("abandon", "give up a run whose node is silent"),
        Entry("extend", "give a run more time"),
        Entry("retry", "run a finished run once more"),
    ),
    "Look": (
        Entry("status", "tell how this node and the fleet are"),
        Entry("top", "show nodes and live runs as they change"),
        Entry("nodes", "list the nodes: load, room, roles, releases"),
        Entry("runs", "list the newest runs"),
        Entry("show", "tell all about one run"),
        Entry("watch-run", "watch a run to its end, with a bell or a notice"),
        Entry("why", "say why a run waits, or where it went"),
        Entry("logs", "print what runs have written"),
        Entry("open", "open the window (Flower) in the browser"),
    ),
    "Fleet": (
        Entry("init", "make a fleet of this machine, or add projects"),
        Entry("up", "start this node"),
        Entry("down", "stop this node"),
        Entry("node cordon", "place nothing new on a node"),
        Entry("node drain", "place nothing new on a node and wait until it is empty"),
        Entry("node uncordon", "place runs on a node again"),
        Entry("key accept", "trust the host key of a node"),
        Entry("key list", "list the host keys that are trusted"),
        Entry("key forget", "trust the host key of a node no more"),
        Entry("secret set", "keep a secret for runs on this node"),
        Entry("secret list", "list the names of this node's secrets"),
        Entry("secret remove", "forget a secret of this node"),
    ),
    "Operate": (
        Entry("sync", "bring a project's code to nodes"),
        Entry("syncs", "list what was brought where"),
        Entry("releases", "list what code the nodes hold"),
        Entry("release prune", "remove releases nobody needs"),
        Entry("schedule list", "list the schedules: when, next, last run"),
        Entry("schedule add", "run a command again and again"),
        Entry("schedule remove", "take a schedule out"),
        Entry("schedule run-now", "run what a schedule runs, once, now"),
        Entry("schedule pause", "fire nothing of a schedule for now"),
        Entry("schedule resume", "fire a paused schedule again"),
        Entry("config show", "tell every setting and where it comes from"),
        Entry("config check", "tell every mistake in nodes.json"),
        Entry("schema", "print the JSON Schema of specs or of nodes.json"),
        Entry("doctor", "look for what one would trip over, and say the cure"),
        Entry("audit", "account for every run that was ever submitted"),
        Entry("backup", "copy ledger and node into one file"),
        Entry("restore", "put a backup back"),
        Entry("completion", "print what a shell needs to complete infra"),
        Entry("version", "tell the versions of infra and what it stands on"),
    ),
}
BEGINNING = (
    ("infra init", "make a fleet of this machine"),
    ("infra up --detach", "start it"),
    ("infra run -- echo hello", "run a command on it"),
)
ENTRIES = {entry.name: entry for section in SECTIONS.values() for entry in section}
NAMES = tuple(ENTRIES)
