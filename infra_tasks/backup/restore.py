"""Puts a backup back: into an empty folder, or the same node's, while nothing of that node lives.

Everything is read and its digests are looked at before anything is touched; then it is unpacked beside, and moved into
place all or none. What the node itself wrote of its runs stays: it is newer, and what the ledger has forgotten is taken
from there when the node is up again (safe mode).
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from infra_tasks import roles
from infra_tasks.backup import moves
from infra_tasks.backup.archive import Archive
from infra_tasks.errors import AlreadyRunning, BackupFailed, BadBackup, BadFleet, BadInput
from infra_tasks.model import backup as rules
from infra_tasks.model.backup import LEDGER, Manifest, Target
from infra_tasks.model.sketch import local_node
from infra_tasks.runner.attempt import sync_file, sync_folder, write_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from infra_tasks.model.backup import Member
    from infra_tasks.settings import Home

    Tell = Callable[[str], object]

STAGED = ".restore"
ASIDE = "before-restore-"
AOF = "appendonly.aof"
# What a folder may hold that is no node's yet: what we ourselves leave, logs of a start that was refused, and the
# nodes.json of the backup's fleet.
OWN = (STAGED, "restoring.json", "watcher.lock", "roles", "logs", "nodes.json", "nodes.accepted.json")


@dataclass(frozen=True)
class Restored:
    """What was put back. `aside`: where the old state is, if there was one. `notes`: what a person should know."""

    manifest: Manifest
    aside: Path | None
    notes: tuple[str, ...]


@contextmanager
def restoring(home: Home, path: Path, tell: Tell) -> Iterator[Restoration]:
    """Give a backup that was read whole and may be put into this folder, which nobody starts meanwhile.

    Raises BadBackup, BadInput, AlreadyRunning, BackupFailed, OSError: nothing was changed then. What a restore that was
    killed had begun is undone first, whatever becomes of this one.
    """
    archive, manifest = Archive(path), None
    if not home.root.is_dir():
        manifest = _verified(archive, tell)  # no folder is made for a file that is none
        home.root.mkdir(mode=0o700, parents=True)
        with suppress(OSError):  # a folder one may write to and not read
            sync_folder(os.fspath(home.root.parent))
    with _nobody_lives(home):
        moves.undo(home)
        _remove(home.root / STAGED)
        manifest = manifest or _verified(archive, tell)
        wrong = rules.complaint(manifest, _target(home, path))
        if wrong:
            raise BadBackup(wrong)
        yield Restoration(home, archive, manifest, is_new=not home.node_json.exists())


def _verified(archive: Archive, tell: Tell) -> Manifest:
    if not archive.path.is_file():
        raise BadInput(f"{archive.path} is {'no file' if archive.path.exists() else 'not there'}; give a backup's name")
    whole = archive.manifest()
    return archive.verify(lambda done: tell(f"reading it: {done * 100 // max(1, whole.size_bytes)}%"))


@contextmanager
def _nobody_lives(home: Home) -> Iterator[None]:
    """Hold the watcher's own lock: while it is held, the node cannot be started."""
    lock = home.root / "watcher.lock"
    is_new = not lock.exists()
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(
                f"node {home.root} is up (or just being restored): stop it first with `infra down --keep` "
                "(commands go on, and are taken over afterwards), then restore again"
            ) from None
        living = [path.stem for path in sorted(home.roles.glob("*.lock")) if roles.living(path) is not None]
        if living:
            raise AlreadyRunning(
                f"{', '.join(living)} of {home.root} still live{'s' if len(living) == 1 else ''}, without a watcher: "
                "`infra up --detach` takes them over, `infra down --keep` stops them; then restore again"
            )
        yield
    finally:
        if is_new and not home.node_json.exists():  # it has not become a node
            lock.unlink()
        os.close(fd)


def _target(home: Home, archive: Path) -> Target:
    said = roles.read(home.node_json)
    strange = tuple(
        sorted(
            path.name
            for path in home.root.iterdir()
            if path.name not in OWN and not path.name.startswith(ASIDE) and path.absolute() != archive.absolute()
        )
    )
    fleet = roles.read(home.nodes_json).get("fleet")
    uuid, node = said.get("uuid"), said.get("name")
    return Target(str(home.root), node, uuid, fleet if isinstance(fleet, str) else None, strange)


class Restoration:
    """One backup and one folder it may be put into."""

    def __init__(self, home: Home, archive: Archive, manifest: Manifest, *, is_new: bool) -> None:
        self.home = home
        self.manifest = manifest
        self.is_new = is_new
        self._archive = archive

    def put(self, now: float, tell: Tell) -> Restored:
        """Put it in place. `now`: wall seconds. Raises BackupFailed; the folder is as it was then."""
        aside = self._aside(now)
        try:
            names = self._unpack(tell)
            planned = moves.planned(self.home, names, staged=STAGED, aside=aside)
            moves.put(self.home, planned)
        except OSError as error:
            raise BackupFailed(
                f"the backup could not be put back: {error.filename or self.home.root}: {error.strerror or error}. "
                f"{self.home.root} is as it was; it needs room for {self.manifest.size_bytes:,} bytes"
            ) from error
        finally:
            with suppress(OSError):
                _remove(self.home.root / STAGED)
        kept = self.home.root / aside
        return Restored(self.manifest, kept if kept.exists() else None, tuple(self._notes(now)))

    def _aside(self, now: float) -> str:
        """Return a name nothing has."""
        name = f"{ASIDE}{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}"
        names = (name, *(f"{name}-{number}" for number in range(2, 1000)))
        return next(each for each in names if not os.path.lexists(self.home.root / each))

    def _unpack(self, tell: Tell) -> list[str]:
        """Unpack what is wanted into the staging folder; return what of it goes to its place."""
        staged = self.home.root / STAGED
        staged.mkdir(mode=0o700)
        if self._archive.manifest() != self.manifest:
            raise BadBackup(f"{self._archive.path} became another file meanwhile. Nothing was changed")
        wanted, told = self._wanted(), _Told(self.manifest, tell)
        for member, pieces in self._archive.each():
            target = wanted.get(member.name)
            if target is None:
                told.take(pieces, None)
                continue
            with _writer(staged / target, member) as file:
                told.take(pieces, file.fileno())
        self._note(staged)
        for folder, _, _ in os.walk(staged):
            sync_folder(folder)
        return self._places(wanted)

    def _wanted(self) -> dict[str, str]:
        """Return which members are unpacked, and under which name."""
        names = [member.name for member in self.manifest.members]
        missing = {self._unit(name): not os.path.lexists(self.home.root / self._unit(name)) for name in names}
        replaced = set(rules.replaces(names))
        chosen = {name: name for name in names if name.split("/")[0] in replaced or missing[self._unit(name)]}
        if not self.is_new:  # what was to be fetched has been, or is noted still
            chosen = {name: to for name, to in chosen.items() if not name.startswith("fetch/")}
        chosen = {name: to for name, to in chosen.items() if not name.startswith("live/") or self._ends(name, chosen)}
        return {name: f"redis/{AOF}" if name == LEDGER else to for name, to in chosen.items()}

    @staticmethod
    def _unit(name: str) -> str:
        """Return what of a member's place is there or not, as a whole: an attempt's folder, or the file itself."""
        parts = name.split("/")
        return "/".join(parts[:3]) if parts[0] == "runs" else name

    @staticmethod
    def _ends(name: str, chosen: dict[str, str]) -> bool:
        """An attempt is entered as unreported only with its folder."""
        run, _, attempt = name.removeprefix("live/").rpartition("@")
        return f"runs/{run}/{attempt}/exit.json" in chosen

    def _places(self, wanted: dict[str, str]) -> list[str]:
        replaced = rules.replaces(member.name for member in self.manifest.members)
        added = {self._unit(to) for to in wanted.values() if to.split("/")[0] not in replaced}
        return [*replaced, *sorted(added), *([self.home.restored_json.name] if self.is_new else [])]

    def _note(self, staged: Path) -> None:
        """Say which Redis wrote the copy: an older one refuses to start on it, in words. And what is not here."""
        if self.manifest.ledger is not None:
            version = [int(part) for part in self.manifest.ledger.redis_version.split(".")[:3]]
            _write(staged / "redis" / "server.json", {"version": version, "path": "a backup"})
        if self.is_new:
            _write(staged / self.home.restored_json.name, {"made_at": self.manifest.made_at})

    def _notes(self, now: float) -> Iterator[str]:
        from infra_tasks.ledger.connect import fleet_of  # noqa: PLC0415  pydantic

        try:
            fleet = fleet_of(self.home)
        except BadFleet as error:  # the backup is in its place all the same
            yield f"mend nodes.json before `infra up`: {error}"
            return
        yield from rules.doubts(
            self.manifest, now=now, keep_runs_days=float(fleet.limits.keep_runs_days), is_new=self.is_new
        )
        here = local_node(fleet.nodes, self.home.root.resolve(), lambda text: Path(text).expanduser().resolve())
        if here != self.manifest.node:
            yield (
                f"nodes.json says another root for {self.manifest.node} than {self.home.root}: mend "
                f"nodes.{self.manifest.node}.root there before `infra up`"
            )


class _Told:
    """Takes pieces and tells how far it is."""

    def __init__(self, manifest: Manifest, tell: Tell) -> None:
        self._of, self._done, self._tell = max(1, manifest.size_bytes), 0, tell

    def take(self, pieces: Iterator[bytes], fd: int | None) -> None:
        """Write pieces to `fd`, if one is given."""
        for piece in pieces:
            if fd is not None:
                write_all(fd, piece)
            self._done += len(piece)
            self._tell(f"unpacking: {self._done * 100 // self._of}%")


@contextmanager
def _writer(path: Path, member: Member | None) -> Iterator[IO[bytes]]:
    """Give a new file; on the disk, with its mode and time, at the end."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = 0o600 | ((member.mode if member else 0) & 0o700)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb", buffering=0) as file:
        yield file
        if member:
            os.utime(fd, (member.modified_at, member.modified_at))
        sync_file(fd)


def _write(path: Path, said: dict[str, Any]) -> None:
    with _writer(path, None) as file:
        write_all(file.fileno(), json.dumps(said).encode())


def _remove(path: Path) -> None:
    if os.path.lexists(path):
        shutil.rmtree(path)
