"""A carrier that fetches from nodes that hold the release, or have its source: one after the other until one can."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Self

from infra_tasks.errors import BaseLost, NodeUnreachable, ReleaseBusy, ReleaseDamaged, ReleaseError
from infra_tasks.releases.layout import Shelf
from infra_tasks.releases.remote import parcel, rsync
from infra_tasks.releases.remote.rsync import Carry
from infra_tasks.releases.verify import is_damaged

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from infra_tasks.model.manifest import Entry, Manifest
    from infra_tasks.releases.remote.line import Line
    from infra_tasks.releases.remote.lines import Lines
    from infra_tasks.releases.remote.peer import Peer
    from infra_tasks.settings import Home


class PullCarrier:
    """Fetches one release. Nobody is called before something is asked for; use it in a `with` and let go at its end."""

    def __init__(
        self,
        home: Home,
        lines: Callable[[], Lines],
        project: str,
        digest: str,
        peers: Callable[[], Sequence[Peer]],
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        self._shelf = Shelf(home, project)
        self._lines = lines
        self._digest = digest
        self._known_peers = peers
        self._wanted = wanted
        self._peers: list[Peer] | None = None
        self._refused: list[tuple[str, ReleaseError]] = []
        self._stack = ExitStack()
        self._line: Line | None = None
        self._tree = ""
        self._damaged: set[str] = set()
        self._manifest: Manifest | None = None
        self.fetched_from = ""

    def manifest(self, digest: str) -> Manifest | None:
        """Return the manifest, from the first node that can give it."""
        if digest != self._digest:
            return None
        self._offered()
        return self._manifest

    def bring(self, entries: Sequence[Entry], tree: Path) -> Collection[str]:
        """Fetch the files. Raises ReleaseError with what each node said, when none of them can."""
        while True:
            line = self._offered()
            if wrong := [entry.path for entry in entries if is_damaged(entry.path, self._damaged)]:
                self._next(line.peer, ReleaseDamaged(f"{wrong[0]!r} is damaged there, while something runs in it"))
                continue
            size_bytes = sum(entry.size for entry in entries)
            carry = Carry(line.peer, tree, self._tree, [entry.path for entry in entries], size_bytes)
            try:
                with line.breathing():
                    command = rsync.pull_line(carry, self._lines().files.client_config())
                    rsync.run(command, carry, wanted=self._wanted)
            except ReleaseError as error:
                rsync.drop_halves(carry)
                if not self._wanted():
                    raise
                self._next(line.peer, error)
            else:
                self.fetched_from = line.peer.name
                return ()

    def _offered(self) -> Line:
        """Return a line to a node that holds the release for us."""
        if self._line is None and self._peers is None:
            self._peers = list(self._known_peers())
        while self._line is None:
            if not self._peers:
                nobody, self._peers, self._refused = self._nobody(), None, []  # asked again, all are asked again
                raise nobody
            peer = self._peers[0]
            try:
                self._take(self._stack.enter_context(self._lines().to(peer)))
            except ReleaseError as error:
                self._next(peer, error)
        return self._line

    def _take(self, line: Line) -> None:
        offer = partial(line.ask, "offer", project=self._shelf.project, digest=self._digest)
        offered = offer(bases=parcel.bases(self._shelf))
        self._damaged = set(offered.get("damaged", ()))
        self._line, self._tree = line, offered["tree"]  # from now on it is kept for us there, until we let go
        try:
            self._manifest = parcel.unpack(self._shelf, offered["manifest"], self._digest)
        except BaseLost:
            self._manifest = parcel.unpack(self._shelf, offer(bases=[])["manifest"], self._digest)

    def _next(self, peer: Peer, error: ReleaseError) -> None:
        self._refused.append((peer.name, error))
        self._peers = [other for other in self._peers or [] if other != peer]
        self.close()

    def _nobody(self) -> ReleaseError:
        what = f"the release {self._digest[:12]} of {self._shelf.project} is not on this node"
        if not self._refused:
            return ReleaseError(
                f"{what}, and no other node is known to hold it; submit again to run what the source is now"
            )
        said = f"{what}, and nobody could give it:\n" + "\n".join(f"  {name}: {why}" for name, why in self._refused)
        away = any(isinstance(why, (NodeUnreachable, ReleaseBusy)) for _, why in self._refused)
        return NodeUnreachable(said) if away else ReleaseError(said)

    def close(self) -> None:
        """Let go of what was offered, and give the line back."""
        line, self._line = self._line, None
        if line is not None and line.usable:
            try:
                line.ask("let_go", digest=self._digest)
            except ReleaseError:
                line.close()
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
