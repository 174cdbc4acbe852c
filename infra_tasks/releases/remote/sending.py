"""Send another node what it asks for: a small change in a message, many small files in packs, others one by one."""

from __future__ import annotations

from base64 import b64encode
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import TYPE_CHECKING

from infra_tasks.errors import ReleaseError, SourceUnreadable
from infra_tasks.model.weight import weight_of
from infra_tasks.releases import packing
from infra_tasks.releases.remote import rsync
from infra_tasks.releases.remote.rsync import Carry
from infra_tasks.releases.remote.tally import Tally
from infra_tasks.releases.together import shared_pack
from infra_tasks.releases.trouble import said_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from infra_tasks.model.manifest import Entry, Manifest
    from infra_tasks.model.weight import Weight
    from infra_tasks.releases.layout import Shelf
    from infra_tasks.releases.remote.peer import Peer
    from infra_tasks.releases.remote.ssh_files import SshFiles
    from infra_tasks.releases.remote.talk import Message
    from infra_tasks.releases.remote.tally import Progress

# While one rsync begins, another one sends: neither the link nor a processor waits.
AT_ONCE = 2


class Sending:
    """Answers what the far end asks to be brought."""

    def __init__(
        self,
        peer: Peer,
        files: SshFiles,
        shelf: Shelf,
        manifest: Manifest,
        tree: Path,
        progress: Callable[[Progress], None] | None,
        weighed: Callable[[Weight], object] | None,
    ) -> None:
        self._peer = peer
        self._files = files
        self._shelf = shelf
        self._manifest = manifest
        self._tree = tree
        self._progress = progress
        self._weighed = weighed
        self._told: Tally | None = None
        self._in_vain = False

    def bring(self, wanted: Message) -> Message:
        """Send what is asked for, as it is in our tree now; return what the far end is told of it.

        What the manifest does not name is never sent.
        """
        if not self._tree.is_dir():
            raise SourceUnreadable(f"the source {self._tree} is not there any more")
        asked = dict.fromkeys(wanted["paths"])
        asked.update((entry.path, entry) for entry in self._manifest.files() if entry.path in asked)
        entries = [entry for entry in asked.values() if entry]
        if self._weighed:
            self._weighed(weight_of(entries))
        self._told = Tally({entry.path: entry.size for entry in entries}, self._progress) if self._progress else None
        try:
            return self._bring(entries, wanted)
        except ReleaseError as error:
            if self._tree.is_dir():
                raise
            raise SourceUnreadable(f"the source {self._tree} went away while it was sent") from error

    def _bring(self, entries: list[Entry], wanted: Message) -> Message:
        told: Message = {}
        if wanted["inline"]:
            told = {"content": b64encode(b"".join(packing.contents(self._tree, entries))).decode()}
        else:
            self._send(entries, wanted)
        if self._told:
            self._told.all_are_there()
        return told

    def _send(self, entries: list[Entry], wanted: Message) -> None:
        packs, loose = packing.plan(entries, wanted["pack_bytes"]) if wanted["packs"] else packing.Plan([], entries)
        if packs:
            self._send_packs(packs, wanted["packs"])
        if loose:
            self._carry(self._tree, wanted["tree"], [entry.path for entry in loose], loose, self._told)

    def heard(self, message: Message) -> None:
        """Hear how much of a large file is there."""
        if self._told and "half" in message:
            self._told.half_is_there(str(message["of"]), int(message["half"]))

    def _send_packs(self, packs: Sequence[Sequence[Entry]], there: str) -> None:
        """Make one pack after the other, and send each while the next ones are made."""
        self._in_vain = False
        with (
            said_of("what is sent cannot be packed", self._shelf.releases),
            ThreadPoolExecutor(AT_ONCE) as pool,
        ):
            under_way: set[Future[None]] = set()
            try:
                for number, entries in enumerate(packs):
                    kept = ExitStack()
                    place = kept.enter_context(shared_pack(self._tree, entries, number, self._shelf.releases))
                    under_way.add(pool.submit(self._send_pack, kept, place, there, entries))
                    if len(under_way) > AT_ONCE:
                        under_way = _some_done(under_way)
                while under_way:
                    under_way = _some_done(under_way)
            except BaseException:
                self._in_vain = True
                raise

    def _send_pack(self, kept: ExitStack, place: Path, there: str, entries: Sequence[Entry]) -> None:
        with kept:
            if self._in_vain:
                return
            self._carry(place.parent, there, [place.name], entries)
            if self._told:
                self._told.are_there(entries)

    def _carry(
        self,
        here: Path,
        there: str,
        paths: Sequence[str],
        entries: Sequence[Entry],
        told: Callable[[str], None] | None = None,
    ) -> None:
        carry = Carry(self._peer, here, there, paths, sum(entry.size for entry in entries))
        line = rsync.push_line(carry, self._files.client_config(), told=bool(told))
        rsync.run(line, carry, told, wanted=lambda: not self._in_vain)


def _some_done(under_way: set[Future[None]]) -> set[Future[None]]:
    """Wait until some are done, raise what one of them raised, and return the others."""
    done, left = wait(under_way, return_when=FIRST_COMPLETED)
    for each in done:
        each.result()
    return left
