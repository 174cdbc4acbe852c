"""What a backup says of itself, and what may be put back where. Pure."""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Of the archive as a whole; one that says more was written by a version that knows more.
FORMAT = 1
MANIFEST = "manifest.json"
LEDGER = "ledger.rdb"
SUFFIX = ".tar.zst"
# An end that was reported so long before the copy of the ledger was begun is in that copy for sure.
SURELY_REPORTED_S = 60.0
DAY_S = 86400.0

# What of a node's folder an archive may hold; everything else in one was not written by a backup.
_FILES = frozenset({MANIFEST, LEDGER, "node.json", "nodes.json", "ports.json", "secrets.json"})
_FOLDERS = frozenset({"secrets", "ssh", "archive", "fetch", "live", "runs"})
_PART = re.compile(r"[A-Za-z0-9_@.:+=,~ -]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Member:
    """One file in an archive. `modified_at`: wall seconds."""

    name: str
    size_bytes: int
    sha256: str
    mode: int = 0o600
    modified_at: float = 0.0


@dataclass(frozen=True)
class LedgerCopy:
    """The copy of the ledger. `server`: the run id of the Redis it came from; `runs`: state -> how many."""

    redis_version: str
    server: str
    runs: Mapping[str, int]
    submitted: int
    safe_mode: bool = False


@dataclass(frozen=True)
class Manifest:
    """What an archive holds. `ledger`: None where the Redis is not the node's own. `made_at`: wall seconds."""

    made_at: float
    version: str
    fleet: str
    node: str
    uuid: str
    ledger: LedgerCopy | None
    members: tuple[Member, ...] = ()
    format: int = FORMAT

    @property
    def size_bytes(self) -> int:
        """All members, unpacked."""
        return sum(member.size_bytes for member in self.members)

    def as_dict(self) -> dict[str, Any]:
        """Return it without its members, for people and programs."""
        said = asdict(self)
        return {**said, "members": len(self.members), "size_bytes": self.size_bytes}

    def text(self) -> bytes:
        """Return what is written in front of the archive."""
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def parsed(cls, text: bytes) -> Self:
        """Return what a text says. Raises ValueError, saying what is wrong with it."""
        said = json.loads(text)
        if not isinstance(said, dict) or not isinstance(said.get("format"), int):
            raise ValueError("its manifest has no format")  # noqa: TRY004  what a text says
        if said["format"] > FORMAT:
            raise ValueError(
                f"it has format {said['format']}, written by infra {said.get('version')}; this infra knows formats up "
                f"to {FORMAT}: restore it with that version or a newer one"
            )
        try:
            members = tuple(Member(**each) for each in said.pop("members"))
            copied = said.pop("ledger")
            made = cls(**said, members=members, ledger=None if copied is None else LedgerCopy(**copied))
        except (TypeError, KeyError) as error:
            raise ValueError(f"its manifest has another form: {error}") from error
        made.check()
        return made

    def check(self) -> None:
        """Raise ValueError for members that no backup writes."""
        names = [member.name for member in self.members]
        if len(set(names)) != len(names):
            raise ValueError("its manifest names a member twice")
        for member in self.members:
            if not is_ours(member.name) or member.name == MANIFEST:
                raise ValueError(f"it holds {member.name!r}, which is no file of a node")
            is_size = isinstance(member.size_bytes, int) and member.size_bytes >= 0
            if not is_size or not _SHA256.fullmatch(str(member.sha256)):
                raise ValueError(f"its manifest says no digest or size of {member.name!r}")
        if (LEDGER in names) != (self.ledger is not None):
            raise ValueError("its manifest and its members disagree on the ledger")


def is_ours(name: str) -> bool:
    """Say whether a backup writes a member of that name: never one that leads out of the folder."""
    first, *more = name.split("/")
    if not more:
        return name in _FILES
    return first in _FOLDERS and all(_PART.fullmatch(part) and part not in {".", ".."} for part in more)


def file_name(fleet: str, node: str, now: float) -> str:
    """Return the name of a backup for which nobody said one. `now`: wall seconds."""
    return f"infra-{fleet}-{node}-{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}{SUFFIX}"


def is_worth_keeping(*, ended: bool, reported_at: float | None, copied_at: float) -> bool:
    """Say whether a copy of the ledger from `copied_at` on may not know of an attempt's end. All: wall seconds."""
    return ended and (reported_at is None or reported_at >= copied_at - SURELY_REPORTED_S)


@dataclass(frozen=True)
class Target:
    """The folder a backup is put into. `strange`: what is in one that is no node's."""

    root: str
    node: str | None = None
    uuid: str | None = None
    fleet: str | None = None
    strange: tuple[str, ...] = ()


def complaint(manifest: Manifest, target: Target) -> str | None:
    """Return why a backup must not be put into a folder; None when it may."""
    whose = f"the backup is of node {manifest.node} of fleet {manifest.fleet} (uuid {manifest.uuid})"
    elsewhere = "Put it into an empty folder: INFRA_HOME=FOLDER infra restore FILE"
    if target.uuid is not None and target.uuid != manifest.uuid:
        return f"{target.root} is node {target.node} (uuid {target.uuid}), but {whose}.\n{elsewhere}"
    if target.fleet is not None and target.fleet != manifest.fleet:
        return f"{target.root} belongs to fleet {target.fleet}, but {whose}.\n{elsewhere}"
    if target.uuid is None and target.strange:
        named = ", ".join(target.strange[:3])
        return (
            f"{target.root} is not empty (it has {named}) and is no node: it cannot be told whose it is.\n{elsewhere}"
        )
    return None


def replaces(names: Iterable[str]) -> list[str]:
    """Return what in a node's folder makes room for an archive with these members; the old ones are kept aside.

    What the node itself wrote of its runs is not among them: it is newer than any backup.
    """
    found = {name.split("/")[0] for name in names}
    return [each for each in ("nodes.json", "node.json", "secrets.json", "secrets", "ssh") if each in found] + (
        ["redis"] if LEDGER in found else []
    )


def doubts(manifest: Manifest, *, now: float, keep_runs_days: float, is_new: bool) -> list[str]:
    """Return what a person has to know of putting this backup back. `is_new`: into an empty folder."""
    said = []
    if manifest.ledger and now - manifest.made_at > keep_runs_days * DAY_S:
        said.append(
            f"the backup is older than limits.keep_runs_days ({keep_runs_days:g}): ends of runs from before that are "
            "no longer on the nodes' disks, and such runs run again"
        )
    if is_new:
        said.append(
            f"this folder becomes node {manifest.node}: the machine that was it before must stay off, or run "
            "`infra down` there and remove its folder"
        )
    return said
