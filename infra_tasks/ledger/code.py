"""Code on the nodes as the ledger knows it: what each node holds, what should be there, and how it got there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from infra_tasks.errors import SafeMode
from infra_tasks.model.amounts import transfer_in_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from infra_tasks.ledger.scripts import Scripts

# Entries of the sync log that are kept.
SYNCS_KEPT = 1000
# Runs one script call looks at: a few milliseconds, so that nobody else waits long for Redis.
RUNS_A_CALL = 2500

Why = Literal["dispatch", "pull", "check", "sync"]
Said = Literal["brought", "mended", "held", "failed", "found right"]


@dataclass(frozen=True)
class SyncEntry:
    """One line of the sync log: what it took to have a release right on a node.

    `node` has it now (or not: `failed`), `source` is the node it came from, "" when nothing had to come. `files` and
    `size_bytes` were sent, `shared_files` came from releases that were there. `at` (wall seconds) is Redis' to say.
    """

    project: str
    release: str
    node: str
    why: Why
    said: Said
    source: str = ""
    files: int = 0
    size_bytes: int = 0
    shared_files: int = 0
    duration_s: float = 0.0
    error: str | None = None
    at: float = 0.0

    def words(self) -> str:
        """Return what was brought, for the story of a run: files, bytes, seconds."""
        way = f"from {self.source} to {self.node}"
        return transfer_in_words(self.files, self.size_bytes, self.shared_files, way, self.duration_s)


@dataclass(frozen=True)
class HeldRelease:
    """A release on a node. Moments are wall seconds of the node, `files` and `size_bytes` those of its manifest."""

    digest: str
    project: str
    built_at: float
    used_at: float
    files: int
    size_bytes: int
    in_use: bool


class Code:
    """The releases of the fleet. Every call raises FleetUnreachable when Redis does not answer."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._redis = scripts.client
        self._key = scripts.key

    def note_sync(self, entry: SyncEntry, *, patience_s: float = 10.0) -> None:
        """Add a line to the sync log."""
        said = asdict(entry)
        del said["at"]
        self._scripts.call(
            "note_sync", patience_s=patience_s, entry=json.dumps(said), most=SYNCS_KEPT, nonce=uuid4().hex
        )

    def syncs(self, limit: int = 50, project: str | None = None, node: str | None = None) -> list[SyncEntry]:
        """Return the newest lines of the sync log, newest first; only those of a project or node if one is given."""
        last = SYNCS_KEPT - 1 if project or node else limit - 1
        if limit < 1:
            return []
        texts = self._scripts.persistently(lambda: self._redis.lrange(self._key("syncs"), 0, last))
        entries = (_entry(text) for text in texts)
        fitting = [one for one in entries if project in {None, one.project} and node in {None, one.node}]
        return fitting[:limit]

    def publish_releases(self, node: str, held: Sequence[HeldRelease], *, patience_s: float = 10.0) -> None:
        """Say what a node holds: all of it, in place of what was said before."""
        self._scripts.call(
            "publish_releases", patience_s=patience_s, node=node, held=json.dumps([asdict(one) for one in held])
        )

    def releases(self) -> dict[str, list[HeldRelease]]:
        """Return what each node holds, as it said last."""
        said = self._scripts.persistently(lambda: self._redis.hgetall(self._key("held")))
        return {
            node: [HeldRelease(**_known(HeldRelease, one)) for one in json.loads(said[node])] for node in sorted(said)
        }

    def holders(self, project: str, digest: str) -> list[str]:
        """Return the nodes that said they hold a release, by name."""
        key = self._key("holders", project, digest)
        return list(self._scripts.persistently(lambda: sorted(self._redis.smembers(key))))

    def expect(self, project: str, node: str, digest: str | None, *, patience_s: float = 10.0) -> None:
        """Note which release of a project should be on a node from now on; None: none should."""
        field = f"{project} {node}"
        if digest is None:
            self._scripts.persistently(lambda: self._redis.hdel(self._key("expected"), field), patience_s)
        else:
            self._scripts.persistently(lambda: self._redis.hset(self._key("expected"), field, digest), patience_s)

    def expected(self) -> dict[tuple[str, str], str]:
        """Return which release should be where: (project, node) -> digest."""
        said = self._scripts.persistently(lambda: self._redis.hgetall(self._key("expected")))
        found = {}
        for field, digest in said.items():
            project, node = field.split(" ")
            found[project, node] = digest
        return found

    def may_ask_for_check(self, node: str, every_s: float) -> bool:
        """Say whether a node's check may be asked for; not again within `every_s` seconds then, whoever asks."""
        key, mine = self._key("check", node), uuid4().hex

        def claim() -> bool:
            return bool(self._redis.set(key, mine, nx=True, ex=int(every_s)) or self._redis.get(key) == mine)

        return bool(self._scripts.persistently(claim))

    def wanted(self) -> set[tuple[str, str]]:
        """Return (project, digest) of every run that is not final, or is still to be followed: these must stay.

        Raises SafeMode while the ledger may have forgotten runs: what it says then is no reason to remove anything.
        """
        return {(project, digest) for project, digest in self._wanted()}

    def _wanted(self) -> Iterator[tuple[str, str]]:
        upto = None
        while upto != 0:
            said = self._scripts.call("wanted", upto=upto, most=RUNS_A_CALL)
            if said["said"] == "safe":
                raise SafeMode("the ledger is in safe mode: which releases its runs need is not known for sure")
            for project, digests in said["wanted"].items():
                for digest in digests:
                    yield project, digest
            upto = said["upto"]


def _entry(text: str) -> SyncEntry:
    at, _, said = text.partition(" ")
    return replace(SyncEntry(**_known(SyncEntry, json.loads(said))), at=float(at))


def _known(kind: type[SyncEntry | HeldRelease], said: dict[str, Any]) -> dict[str, Any]:
    """Pass over what a node of a newer version says beyond what is known here."""
    names = {each.name for each in fields(kind)}
    return {name: value for name, value in said.items() if name in names}
