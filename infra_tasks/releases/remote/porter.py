"""The porter: what answers on a node when another one calls over ssh. Ends with the connection.

It does nothing that the node could not do itself: it opens the door (`ensure_release`) and asks the caller for the
files that are missing here.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import sys
import time
from base64 import b64decode
from contextlib import nullcontext, suppress
from dataclasses import asdict
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

import infra_tasks
from infra_tasks import settings
from infra_tasks.errors import BadInput, InfraError, ReleaseError
from infra_tasks.releases import packing
from infra_tasks.releases.arriving import Arriving
from infra_tasks.releases.ensure import ensure_release, is_held
from infra_tasks.releases.layout import Shelf
from infra_tasks.releases.lending import lend, lendable
from infra_tasks.releases.machine import look_at
from infra_tasks.releases.prune import prune_node
from infra_tasks.releases.reading import closing_fd, open_folder
from infra_tasks.releases.remote import parcel
from infra_tasks.releases.remote.halves import halves
from infra_tasks.releases.remote.talk import ALIVE, PROTOCOL, SILENCE_S, Breath, Sender, decode, error_message, error_of
from infra_tasks.releases.snapshot import recall
from infra_tasks.releases.trouble import said_of
from infra_tasks.releases.unpacking import Unpacking, beside

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from infra_tasks.model.manifest import Entry, Manifest
    from infra_tasks.releases.remote.talk import Message
    from infra_tasks.releases.walk import Plain
    from infra_tasks.settings import Home

# A caller that asks for nothing for so long has forgotten us.
FORGOTTEN_S = 900.0
# Who builds or mends a release here may be at it for long: who wants it asks another node, or again.
OFFER_PATIENCE_S = 120.0
READ_BYTES = 1 << 18
# Of larger files it is told how much is there, so often.
LARGE_BYTES = 8 << 20
TELL_EVERY_S = 1.0


class Ended(Exception):
    """The caller hung up, or is out of step: nothing it says can be relied on any more."""


class Wire:
    """Messages over two descriptors."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd = read_fd
        self._rest = b""
        self.send = Sender(lambda line: _write_all(write_fd, line))

    def hear(self, within_s: float) -> Message:
        """Return the next message that says something. Raises Ended; TimeoutError after so much silence."""
        while True:
            message = decode(self._next_line(within_s))
            if "alive" not in message:
                return message

    def _next_line(self, within_s: float) -> bytes:
        pieces = [self._rest]
        while b"\n" not in pieces[-1]:
            if not select.select([self._read_fd], [], [], within_s)[0]:
                self._rest = b"".join(pieces)
                raise TimeoutError
            piece = os.read(self._read_fd, READ_BYTES)
            if not piece:
                raise Ended
            pieces.append(piece)
        line, _, self._rest = b"".join(pieces).partition(b"\n")
        return line


class Caller:
    """A carrier: has the caller bring files here.

    Each gets its name when it is complete, and only once: it may be checked while others come.
    """

    def __init__(self, wire: Wire, manifest: Manifest, pack_bytes: int) -> None:
        self._wire = wire
        self._manifest = manifest
        self._files = sum(1 for _ in manifest.files())
        self._pack_bytes = pack_bytes

    def manifest(self, digest: str) -> Manifest | None:
        """Return the manifest that came with the request."""
        return self._manifest if digest == self._manifest.digest else None

    def bring(self, entries: Sequence[Entry], tree: Path) -> dict[str, Plain]:
        """Ask for the files and wait until they are there; return those that were checked meanwhile."""
        packs, loose = packing.plan(entries, self._pack_bytes)
        large = [entry.path for entry in loose if entry.size >= LARGE_BYTES]
        wanted = {
            "tells": bool(large),
            "tree": os.fspath(tree),
            "paths": [entry.path for entry in entries],
            "packs": os.fspath(beside(tree)) if packs else "",
            "pack_bytes": self._pack_bytes,
            "inline": packing.is_little(entries, self._files),
        }
        if wanted["inline"]:
            return _unpacked(self._ask(wanted), entries, tree)
        telling = Breath(self._wire.send, partial(_half, tree, large), TELL_EVERY_S) if large else nullcontext()
        with Arriving(tree, loose) as arriving, telling:
            if not packs:
                self._ask(wanted)
                return arriving.rows
            with Unpacking(tree, packs) as unpacking:
                self._ask(wanted)
        return arriving.rows | unpacking.rows

    def _ask(self, wanted: Message) -> Message:
        self._wire.send({"bring": wanted})
        try:
            answer = self._wire.hear(SILENCE_S)
        except TimeoutError as error:
            # What it says later would be taken for a request.
            raise Ended(f"who was to bring {len(wanted['paths'])} files said nothing for {SILENCE_S:g} s") from error
        if "failed" in answer:
            raise error_of(answer["failed"])
        if "brought" not in answer:
            raise Ended(f"an answer was expected, not {sorted(answer)}")
        return answer


def _unpacked(answer: Message, entries: Sequence[Entry], tree: Path) -> dict[str, Plain]:
    """Make the files that came in an answer; return their state. Raises NotAsSent when one is not what it should be."""
    content = BytesIO(b64decode(answer["content"]))
    with closing_fd(open_folder(tree)) as top:
        return packing.unpack(content.read, entries, top)


def _half(tree: Path, paths: Sequence[str]) -> Message:
    """Return a sign of life that tells how much is there of the one of these files that is on its way."""
    with suppress(OSError):
        for path, half in halves(tree, paths):
            return {**ALIVE, "half": half.stat().st_size, "of": path}
    return ALIVE


class Porter:
    """Answers the requests of one caller, one after the other."""

    def __init__(self, home: Home, wire: Wire) -> None:
        self._home = home
        self._wire = wire
        self._held: dict[str, int] = {}

    def run(self) -> None:
        """Answer until the caller hangs up."""
        try:
            while True:
                self._answer(self._wire.hear(FORGOTTEN_S))
        except (Ended, TimeoutError, BrokenPipeError):
            return

    def _answer(self, request: Message) -> None:
        if "do" not in request:
            raise Ended(f"a request was expected, not {sorted(request)}")
        do = getattr(self, f"do_{request.pop('do')}", None)
        try:
            if do is None:
                raise ReleaseError("a request that is not understood here: bring both nodes to one version")
            with Breath(self._wire.send), said_of("what was asked of this node cannot be done", self._home.root):
                done = do(**request)
        except InfraError as error:
            self._wire.send({"error": error_message(error)})
        else:
            self._wire.send({"done": done})

    def do_hello(self) -> Message:
        """Say who this is."""
        return {
            "protocol": PROTOCOL,
            "version": infra_tasks.__version__,
            "node": _name_in(self._home),
            "root": os.fspath(self._home.root),
            "rsync": shutil.which("rsync"),
        }

    def do_machine(self) -> Message:
        """Say how this machine is."""
        return asdict(look_at(self._home.root))

    def do_look(self, project: str, digest: str) -> Message:
        """Say whether a release is here and was right when it was last looked at; name others that could be bases."""
        shelf = Shelf(self._home, project)
        held = is_held(shelf, digest)
        return {"held": held, "bases": [] if held else parcel.bases(shelf)}

    def do_ensure(
        self,
        project: str,
        digest: str,
        manifest: Message,
        *,
        patience_s: float | None = None,
        pack_bytes: int = packing.PACK_BYTES,
    ) -> Message:
        """Have a release here, verified; what is missing is asked for."""
        told = parcel.unpack(Shelf(self._home, project), manifest, digest)
        until = None if patience_s is None else time.monotonic() + patience_s
        release = ensure_release(
            self._home,
            project,
            digest,
            carrier=Caller(self._wire, told, pack_bytes),
            wanted=None if until is None else lambda: time.monotonic() < until,
        )
        brought = release.brought
        return {"brought": brought and brought.__dict__, "damaged": list(release.damaged[:5])}

    def do_offer(self, project: str, digest: str, bases: list[str]) -> Message:
        """Have a release here so that the caller can fetch from it, and keep it while he is connected."""
        source = _source_here(self._home, project)
        release = lendable(self._home, project, digest, source=source, patience_s=OFFER_PATIENCE_S)
        if digest not in self._held:
            self._held[digest] = lend(release)
        shelf = release.shelf
        manifest = recall(shelf, digest)
        if manifest is None:
            raise ReleaseError(f"the manifest of the release {digest[:12]} was lost here")
        packed = parcel.pack(shelf, manifest, bases)
        return {"tree": os.fspath(release.path), "manifest": packed, "damaged": list(release.damaged)}

    def do_let_go(self, digest: str) -> Message:
        """Keep an offered release no longer."""
        fd = self._held.pop(digest, None)
        if fd is not None:
            os.close(fd)
        return {}

    def do_prune(
        self, *, project: str | None, keep: int, needed: list[list[str]], unused_for_s: float, dry_run: bool
    ) -> Message:
        """Remove releases nobody needs; the caller knows from the ledger what is needed."""
        pairs = {(of, digest) for of, digest in needed}
        gone = prune_node(self._home, project, keep, needed=pairs, unused_for_s=unused_for_s, dry_run=dry_run)
        return {"gone": gone}


def _source_here(home: Home, project: str) -> Any:
    """Return the project's source, if it is on this node."""
    from infra_tasks.releases.source import source_of  # noqa: PLC0415  models take long to import, most calls need none

    try:
        return source_of(home, project)
    except BadInput:
        return None


def _name_in(home: Home) -> str | None:
    try:
        return str(json.loads(home.node_json.read_text())["name"])
    except (OSError, ValueError, KeyError):
        return None


def _write_all(fd: int, line: bytes) -> None:
    rest = memoryview(line)
    while rest:
        rest = rest[os.write(fd, rest) :]


def main() -> int:
    """Answer on stdin and stdout; what anybody prints goes to stderr."""
    write_fd = os.dup(1)
    os.dup2(2, 1)
    Porter(settings.home(), Wire(os.dup(0), write_fd)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
