"""Run a project's setup command in a release: once per release and node, under a limit, logged."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from infra_tasks.errors import ReleaseDamaged, ReleaseError, SetupFailed
from infra_tasks.releases import setup_guard
from infra_tasks.releases.layout import OPEN_FOLDER, SEALED_FOLDER
from infra_tasks.releases.locks import AT_ONCE, EXCLUSIVE, held, held_while
from infra_tasks.releases.mend import mend
from infra_tasks.releases.removing import remove_tree
from infra_tasks.releases.setup_record import SetupRecord, forget, record, recorded
from infra_tasks.releases.snapshot import recall
from infra_tasks.releases.trouble import said_of
from infra_tasks.releases.verify import inspect, make_right

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from infra_tasks.model.manifest import Manifest
    from infra_tasks.releases.layout import Release, Shelf
    from infra_tasks.releases.supply import Carrier

LIMIT_S = 1800.0
GRACE_S = 5.0
# How often whoever waits for a setup looks whether it is still wanted.
LOOK_EVERY_S = 0.2
# What a failure shows of the output.
TAIL_BYTES = 4000
TAIL_LINES = 20
# No exit code: the setup was not wanted any more.
STOPPED = -1


def run_setup(
    release: Release,
    command: str | Sequence[str] | None,
    *,
    limit_s: float = LIMIT_S,
    env: Mapping[str, str] | None = None,
    carrier: Carrier | None = None,
    wanted: Callable[[], bool] | None = None,
) -> Release:
    """Return the release with its setup done: before, by somebody else meanwhile, or now.

    A string is a line for /bin/sh, a list is an argv. It runs in the release with `env` as its whole environment (None:
    ours). What it adds belongs to the release from then on; what it changes of the code is put back as it was recorded.
    Call it before `hold`. It is ended when it is not `wanted` any more. Raises SetupFailed with the last lines; the
    next call tries again.
    """
    if not command:
        return release
    shelf, digest = release.shelf, release.digest
    words = command if isinstance(command, str) else list(command)
    if _is_done(shelf, digest, words):
        return release
    what = f"the setup of {release.project} cannot run"
    with held_while(wanted, shelf.work(digest)) as work, said_of(what, shelf.root):
        if work is None:
            raise SetupFailed(f"the setup of {release.project} is not wanted any more")
        if _is_done(shelf, digest, words):
            return release
        with held(shelf.use(digest), EXCLUSIVE | AT_ONCE) as alone:
            if alone is None:
                raise SetupFailed(
                    f"the setup of {release.project} is another one than was done for the release {digest[:12]}, and "
                    "something still runs there; wait for it, or change the project so that it becomes a new release"
                )
        _Setup(shelf, digest, words, carrier, wanted).run(work, limit_s, env)
    return release


def _is_done(shelf: Shelf, digest: str, command: str | list[str]) -> bool:
    done = recorded(shelf, digest)
    return done is not None and done.command == command


class _Setup:
    """One try to set a release up. Nobody else builds, mends or runs in it: we hold the work lock."""

    def __init__(
        self,
        shelf: Shelf,
        digest: str,
        command: str | list[str],
        carrier: Carrier | None,
        wanted: Callable[[], bool] | None,
    ) -> None:
        self._shelf = shelf
        self._digest = digest
        self._command = command
        self._carrier = carrier
        self._wanted = wanted
        self._tree = shelf.tree(digest)
        self._log = shelf.setup_log(digest)

    def run(self, work: int, limit_s: float, env: Mapping[str, str] | None) -> None:
        """Start from the bare release, run the command, keep what it made; raises SetupFailed."""
        forget(self._shelf, self._digest)
        make_right(self._shelf, self._digest, self._carrier)
        manifest = recall(self._shelf, self._digest)
        if manifest is None:
            raise ReleaseDamaged(f"the manifest of the release {self._digest[:12]} is lost; dispatch again")
        self._set_folders(manifest, OPEN_FOLDER)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            code = self._guarded(work, limit_s, env, log)
            if code == 0:
                self._accept(manifest, log)
        if code != 0:
            self._give_up(manifest, code, limit_s)

    def _guarded(self, work: int, limit_s: float, env: Mapping[str, str] | None, log: IO[bytes]) -> int:
        argv = ["/bin/sh", "-c", self._command] if isinstance(self._command, str) else self._command
        guard = [sys.executable, "-I", "-S", str(Path(setup_guard.__file__)), str(limit_s), str(GRACE_S)]
        process = subprocess.Popen(
            [*guard, *argv],
            cwd=self._tree,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(work,),
        )
        while self._wanted is None or self._wanted():
            with suppress(subprocess.TimeoutExpired):
                return process.wait(LOOK_EVERY_S)
        process.terminate()
        process.wait()
        return STOPPED

    def _accept(self, manifest: Manifest, log: IO[bytes]) -> None:
        """Take what was added as products, put back what was changed."""
        found = inspect(self._shelf, manifest)
        folders = manifest.folders()
        changed = [path for path in (*found.missing, *found.wrong) if path and path not in folders]
        if changed:
            log.write(f"infra: the setup changed {', '.join(map(repr, changed[:20]))}; put back as recorded\n".encode())
        record(self._shelf, self._digest, SetupRecord(self._command, found.extra))
        try:
            mend(self._shelf, manifest, [*found.missing, *found.wrong], [], self._carrier)
            left = inspect(self._shelf, manifest)
        except ReleaseError as error:
            forget(self._shelf, self._digest)
            raise SetupFailed(f"the setup changed {changed[0]!r}, which could not be put back: {error}") from error
        if left.damage():
            forget(self._shelf, self._digest)
            raise SetupFailed(
                f"the setup still changes the release after it ended: {left.damage()[0]}; see {self._log}"
            )

    def _give_up(self, manifest: Manifest, code: int, limit_s: float) -> None:
        """Leave nothing of a failed try behind."""
        for path in inspect(self._shelf, manifest).extra:
            remove_tree(self._shelf, self._tree / path)
        self._set_folders(manifest, SEALED_FOLDER)
        shown = self._command if isinstance(self._command, str) else " ".join(self._command)
        why = {setup_guard.LIMIT_EXIT: f"passed its limit of {limit_s:g} s", STOPPED: "was stopped"}.get(
            code, f"ended with {code}"
        )
        raise SetupFailed(
            f"the setup of {self._shelf.project} ({shown}) {why}. "
            f"Its last lines (all in {self._log}):\n{_tail(self._log)}"
        )

    def _set_folders(self, manifest: Manifest, mode: int) -> None:
        for folder in ("", *manifest.folders()):
            place = self._tree / folder
            if place.is_dir() and not place.is_symlink() and stat.S_IMODE(place.stat().st_mode) != mode:
                place.chmod(mode)


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-TAIL_LINES:])
