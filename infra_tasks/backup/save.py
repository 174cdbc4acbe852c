"""Makes a backup: a copy of the ledger by Redis itself, then the node's own files, in one archive beside its name.

The order is what makes it whole: what ended before the copy was begun is in the copy, the rest is on the disk still.
A backup that was killed leaves no file with its name; what else it left, the next one removes.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING
from uuid import uuid4

import infra_tasks
from infra_tasks.backup import members
from infra_tasks.backup.archive import Archive, write
from infra_tasks.errors import BackupFailed, BadInput
from infra_tasks.ledger.saving import COPY
from infra_tasks.model.amounts import bytes_in_words
from infra_tasks.model.backup import LEDGER, LedgerCopy, Manifest, file_name
from infra_tasks.model.broker_url import EMBEDDED
from infra_tasks.runner.attempt import read_json, sync_file, sync_folder, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from infra_tasks.backup.members import Source
    from infra_tasks.ledger import Ledger
    from infra_tasks.ledger.saving import Begun
    from infra_tasks.node import ThisNode
    from infra_tasks.settings import Home

    Tell = Callable[[str], object]

LOOK_EVERY_S = 0.05
# What a backup leaves on the disk that Redis writes to.
ROOM_LEFT_BYTES = 64 << 20
UNFINISHED = ".backup.json"
BESIDE = ".part"


@dataclass(frozen=True)
class Made:
    """A backup that was made and read back."""

    path: Path
    size_bytes: int
    manifest: Manifest


def save(me: ThisNode, wanted: Path | None, ledger: Ledger | None, *, actor: str, tell: Tell) -> Made:
    """Make a backup of this node; of its ledger, too, where that is given (the node's own Redis).

    `wanted`: its name, or a folder; None for the current one. Raises BadInput for a name that is taken, BackupFailed,
    FleetUnreachable, OSError; nothing with that name is there then.
    """
    target = _target(me, wanted)
    if me.home.restoring_json.exists():
        raise BackupFailed(
            f"a backup was being put into {me.home.root} and that did not end: half of it is no backup. "
            "`infra restore FILE` undoes that half and begins anew"
        )
    with _alone(me.home), _beside(me.home, target) as (file, beside):
        try:
            begun = _copied(me, ledger, actor, tell) if ledger else None
            sources = _read(me.home, begun, tell)
            manifest = _manifest(me, begun, sources)
            if ledger and beside.stat().st_dev == me.home.redis.stat().st_dev:
                _require_room(beside.parent, manifest.size_bytes, "the backup")
            write(file, manifest, sources, lambda done: tell(f"writing: {_share(done, manifest)}"))
        finally:
            if ledger:
                (me.home.redis / COPY).unlink(missing_ok=True)
        file.flush()
        sync_file(file.fileno())
        Archive(beside).verify(lambda done: tell(f"reading it back: {_share(done, manifest)}"))
        _name(beside, target)
        return Made(target, target.stat().st_size, manifest)


def _target(me: ThisNode, wanted: Path | None) -> Path:
    path = (wanted or Path()).expanduser().absolute()
    if path.is_dir():
        path /= file_name(me.fleet.name, me.name, time.time())
    if os.path.lexists(path):
        raise BadInput(f"{path} is there already: a backup overwrites nothing. Give another name, or a folder")
    if not path.parent.is_dir():
        raise BadInput(f"{path.parent} is no folder: make it first (mkdir -p '{path.parent}')")
    return path


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """One backup of a node at a time; the next one removes what one that was killed has left."""
    fd = os.open(home.root / ".backup.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupFailed(f"another backup of {home.root} is being made: wait until it is done") from None
        _remove_leftovers(home)
        yield
    finally:
        os.close(fd)


def _remove_leftovers(home: Home) -> None:
    said = read_json(os.fspath(home.root / UNFINISHED)) or {}
    beside = Path(str(said.get("beside") or ""))
    with suppress(OSError):
        if beside.name.startswith(".") and beside.name.endswith(BESIDE):
            beside.unlink()
    (home.root / UNFINISHED).unlink(missing_ok=True)


@contextmanager
def _beside(home: Home, target: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """Give the file an archive is written to before it gets its name; gone at the end, whatever happens."""
    beside = target.with_name(f".{target.name}{BESIDE}")
    try:
        write_json(os.fspath(home.root), UNFINISHED, {"beside": os.fspath(beside)})
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            os.fchmod(fd, 0o600)
            yield file, beside
    except OSError as error:
        where = error.filename or target.parent
        raise BackupFailed(
            f"the backup could not be written: {where}: {error.strerror or error}. "
            f"Nothing is left of it; give a name in a folder with room that you may write to"
        ) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
            (home.root / UNFINISHED).unlink(missing_ok=True)


def _copied(me: ThisNode, ledger: Ledger, actor: str, tell: Tell) -> Begun:
    """Have Redis write its copy, and wait for it."""
    saving = ledger.saving
    while True:
        while saving.is_busy():
            tell("Redis is saving something else: waiting for that")
            time.sleep(LOOK_EVERY_S)
        _remove_copies(me.home)
        _require_room(me.home.redis, saving.needs_bytes(), "the copy that Redis writes first")
        begun = saving.begin(me.name, actor, uuid4().hex)
        if begun:
            break
    while not saving.is_done():
        tell("Redis writes its copy of the ledger")
        time.sleep(LOOK_EVERY_S)
    if not (me.home.redis / COPY).is_file():
        raise BackupFailed(f"Redis says that its copy is written, but {me.home.redis / COPY} is not there")
    return begun


def _require_room(folder: Path, size_bytes: int, what: str) -> None:
    """Raise BackupFailed where the disk would be full: a Redis that cannot write its own file any more ends."""
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    if free < size_bytes + ROOM_LEFT_BYTES:
        raise BackupFailed(
            f"the disk of {folder} has {bytes_in_words(free)} left; {what} may take {bytes_in_words(size_bytes)}, and "
            f"{bytes_in_words(ROOM_LEFT_BYTES)} must stay, or Redis could write nothing more. Make room there, or give "
            "a FILE on another disk"
        )


def _remove_copies(home: Home) -> None:
    """Remove copies that backups before left, also half ones of a Redis that was killed: nothing is saving now."""
    for path in (home.redis / COPY, *home.redis.glob("temp-*.rdb")):
        path.unlink(missing_ok=True)


def _read(home: Home, begun: Begun | None, tell: Tell) -> list[Source]:
    try:
        return list(_sources(home, begun, tell))
    except OSError as error:
        raise BackupFailed(
            f"{error.filename} cannot be read: {error.strerror or error}. A backup without it would not be whole"
        ) from error


def _sources(home: Home, begun: Begun | None, tell: Tell) -> Iterator[Source]:
    """Give all members; those of the node are read after the copy was made."""
    if begun:
        yield members.of_file(LEDGER, home.redis / COPY)
    yield from members.of_node(home, begun.at if begun else time.time(), tell)


def _manifest(me: ThisNode, begun: Begun | None, sources: list[Source]) -> Manifest:
    copied = None
    if begun:
        copied = LedgerCopy(begun.redis_version, begun.server, begun.counts, begun.submitted, begun.safe)
    manifest = Manifest(
        begun.at if begun else time.time(), infra_tasks.__version__, me.fleet.name, me.name, me.uuid, copied
    )
    manifest = replace(manifest, members=tuple(source.member for source in sources))
    manifest.check()
    return manifest


def _share(done: int, manifest: Manifest) -> str:
    return f"{done * 100 // max(1, manifest.size_bytes)}%"


def _name(beside: Path, target: Path) -> None:
    """Give the archive its name, if nobody took it meanwhile."""
    try:
        os.link(beside, target)
    except FileExistsError:
        raise BadInput(
            f"{target} is there already: a backup overwrites nothing. Give another name, or a folder"
        ) from None
    except OSError:  # a disk without second names
        beside.rename(target)
    sync_folder(os.fspath(target.parent))


def holds_ledger(me: ThisNode) -> bool:
    """Say whether the ledger is in this node's own Redis, and so in its backup."""
    return me.fleet.broker == EMBEDDED
