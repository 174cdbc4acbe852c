"""One file that holds a backup: a tar in one zstd frame, its manifest in front, the digest of each member in it.

`tar --zstd -tf FILE` lists it. It is read in one go and member by member, never by what a name in it says: only names a
backup writes are taken, and who unpacks chooses where.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import zstandard

from infra_tasks.errors import BackupFailed, BadBackup
from infra_tasks.model.backup import MANIFEST, Manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from typing_extensions import Buffer

    from infra_tasks.backup.members import Source
    from infra_tasks.model.backup import Member

PIECE_BYTES = 1 << 20
LARGEST_MANIFEST_BYTES = 256 << 20
# How every zstd frame begins.
MAGIC = b"\x28\xb5\x2f\xfd"
ANOTHER_COPY = "Copy it again from where it was made - both must be of one size (ls -l) - or take an older backup"
# The copy of the ledger is packed already: more effort takes five times as long and saves nothing.
LEVEL = 1


def write(file: IO[bytes], manifest: Manifest, sources: Sequence[Source], tell: Callable[[int], object]) -> None:
    """Write an archive; `tell` hears how many bytes are done. Raises OSError; BackupFailed when a file changed."""
    packer = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).stream_writer(file, closefd=False)
    with packer, tarfile.open(mode="w|", fileobj=packer, format=tarfile.PAX_FORMAT) as tar:
        text = manifest.text()
        tar.addfile(_info(MANIFEST, len(text), manifest.made_at), io.BytesIO(text))
        done = 0
        for source in sources:
            member = source.member
            read = _Pieces(source.pieces(), done, tell)
            info = _info(member.name, member.size_bytes, member.modified_at, member.mode)
            tar.addfile(info, io.BufferedReader(read, PIECE_BYTES))
            if read.sha.hexdigest() != member.sha256:
                raise BackupFailed(f"{member.name} changed while it was read; try again")
            done += member.size_bytes


def _info(name: str, size_bytes: int, modified_at: float, mode: int = 0o600) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size_bytes, modified_at, mode
    return info


class _Pieces(io.RawIOBase):
    """Pieces as a file that is read, with the digest of all that was taken from them."""

    def __init__(self, pieces: Iterator[bytes], done: int, tell: Callable[[int], object]) -> None:
        self._pieces, self._done, self._tell = pieces, done, tell
        self._rest = memoryview(b"")
        self.sha = hashlib.sha256()

    def readable(self) -> bool:
        """It is read only."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill the buffer with what comes next; 0 at the end."""
        if not self._rest:
            piece = next(self._pieces, b"")
            self.sha.update(piece)
            self._done += len(piece)
            self._tell(self._done)
            self._rest = memoryview(piece)
        room = memoryview(buffer).cast("B")
        size = min(len(room), len(self._rest))
        room[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


class Archive:
    """An archive that is there. Every method raises BadBackup when it is not one, and OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def manifest(self) -> Manifest:
        """Return what it says it holds."""
        with self._opened() as tar:
            return self._manifest(tar)

    def each(self) -> Iterator[tuple[Member, Iterator[bytes]]]:
        """Give each member with its bytes, which must all be taken; their digest is looked at then."""
        with self._opened() as tar:
            manifest = self._manifest(tar)
            missing = {member.name: member for member in manifest.members}
            while (info := tar.next()) is not None:
                member = missing.pop(info.name, None)
                if member is None or not info.isreg() or info.size != member.size_bytes:
                    raise self._bad(f"{info.name!r} in it is not what its manifest says")
                yield member, self._pieces(tar, info, member)
            if missing:
                raise self._bad(
                    f"it ends early: {len(missing):,} of its files are missing ({next(iter(missing))}, ...)"
                )

    def verify(self, tell: Callable[[int], object]) -> Manifest:
        """Read it to its end and return what it holds; `tell` hears how many bytes are done."""
        done = 0
        for _, pieces in self.each():
            for piece in pieces:
                done += len(piece)
                tell(done)
        return self.manifest()

    @contextmanager
    def _opened(self) -> Iterator[tarfile.TarFile]:
        with self.path.open("rb") as file:
            unpacker = zstandard.ZstdDecompressor().stream_reader(file, closefd=False)
            try:
                with unpacker, tarfile.open(mode="r|", fileobj=unpacker) as tar:
                    yield tar
                    while unpacker.read(PIECE_BYTES):  # to the frame's own checksum
                        pass
            except (tarfile.TarError, zstandard.ZstdError, EOFError) as error:
                raise self._broken(error) from error

    def _manifest(self, tar: tarfile.TarFile) -> Manifest:
        info = tar.next()
        file = tar.extractfile(info) if info is not None and info.isreg() and info.name == MANIFEST else None
        if file is None or info is None or info.size > LARGEST_MANIFEST_BYTES:
            raise self._bad("no manifest stands in front")
        text = file.read()
        if len(text) != info.size:
            raise EOFError
        try:
            return Manifest.parsed(text)
        except ValueError as error:
            raise self._bad(str(error)) from error

    def _pieces(self, tar: tarfile.TarFile, info: tarfile.TarInfo, member: Member) -> Iterator[bytes]:
        file = tar.extractfile(info)
        assert file is not None
        sha, left = hashlib.sha256(), member.size_bytes
        while left and (piece := file.read(min(PIECE_BYTES, left))):
            sha.update(piece)
            left -= len(piece)
            yield piece
        if left:
            raise EOFError
        if sha.hexdigest() != member.sha256:
            raise self._bad(f"the digest of {member.name} is not the one its manifest says")

    def _broken(self, error: Exception) -> BadBackup:
        """Say in words what is wrong with a file that could not be read to its end: it is looked through once more."""
        size_bytes, packed = self.path.stat().st_size, zstandard.ZstdDecompressor().decompressobj()
        if not size_bytes:
            return self._bad("it is empty (0 bytes)", ANOTHER_COPY)
        with self.path.open("rb") as file:
            if not MAGIC.startswith(begin := file.read(len(MAGIC))):
                return self._bad(f"it begins with {begin!r}, as no backup does: it is another file, or damaged")
            file.seek(0)
            try:
                while not packed.eof and (piece := file.read(PIECE_BYTES)):
                    packed.decompress(piece)
            except zstandard.ZstdError as damage:
                return self._bad(f"it is damaged, within its first {file.tell():,} of {size_bytes:,} bytes ({damage})")
        if not packed.eof:
            return self._bad(f"it is cut off: it ends after {size_bytes:,} bytes, in the middle", ANOTHER_COPY)
        return self._bad(f"what is packed in it is no backup ({str(error) or 'it ends early'})")

    def _bad(self, what: str, cure: str = "Take another copy of it, or an older backup") -> BadBackup:
        return BadBackup(f"{self.path} cannot be used: {what}.\nNothing was changed. {cure}")
