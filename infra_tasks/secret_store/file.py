"""The secrets a node keeps itself: one file in its folder, readable by its owner only."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from infra_tasks.errors import SecretUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODE = 0o600
OTHERS = 0o077
# Nobody waits for the writer of a pipe that has the name.
TO_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


class SecretsFile:
    """Names and values, read and written whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, str]:
        """Return all secrets, none when there is no file.

        Raises SecretUnavailable, saying what to do, when others could read or change it, or it is damaged.
        """
        try:
            fd = os.open(self.path, TO_READ)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._refused(error) from error
        try:
            self._check(os.fstat(fd))
            with open(fd, "rb", closefd=False) as file:
                return self._parsed(file.read())
        finally:
            os.close(fd)

    def set(self, name: str, value: str) -> bool:
        """Keep a secret; say whether the name was there before. Raises SecretUnavailable as `read` does; OSError."""
        with self._alone() as kept:
            was_there = name in kept
            self._write({**kept, name: value})
        return was_there

    def remove(self, name: str) -> bool:
        """Forget a secret; say whether it was there. Raises SecretUnavailable as `read` does; OSError."""
        with self._alone() as kept:
            was_there = kept.pop(name, None) is not None
            if was_there:
                self._write(kept)
        return was_there

    @contextmanager
    def _alone(self) -> Iterator[dict[str, str]]:
        """Give what is kept while nobody else changes it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield self.read()
        finally:
            os.close(fd)

    def _write(self, kept: dict[str, str]) -> None:
        """Write beside, then rename. Always the same place: what a killed one left there is not left for good."""
        beside = f"{self.path}.new"
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, MODE)
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                os.fchmod(fd, MODE)
                file.write(json.dumps(kept, indent=2, sort_keys=True) + "\n")
                file.flush()
                os.fsync(fd)
            os.rename(beside, self.path)  # noqa: PTH104
        except BaseException:
            os.unlink(beside)  # noqa: PTH108
            raise

    def _check(self, seen: os.stat_result) -> None:
        mode = stat.S_IMODE(seen.st_mode)
        if not stat.S_ISREG(seen.st_mode):
            raise SecretUnavailable(f"{self.path} is no file; it holds the secrets of this node")
        if seen.st_uid != os.geteuid():
            raise SecretUnavailable(
                f"{self.path} belongs to another user (uid {seen.st_uid}); it holds the secrets of this node: "
                f"sudo chown {os.geteuid()} '{self.path}'"
            )
        if mode & OTHERS:
            raise SecretUnavailable(
                f"{self.path} has mode {mode:04o}, so others can get at the secrets in it: chmod 600 '{self.path}' "
                "(and change those that are worth it)"
            )

    def _refused(self, error: OSError) -> SecretUnavailable:
        if self.path.is_symlink():
            return SecretUnavailable(
                f"{self.path} is a link to {self.path.readlink()}; secrets are only read from a file that stands "
                "there itself: move it here, or use nodes.<node>.secret_command"
            )
        return SecretUnavailable(f"{self.path} cannot be read: {error.strerror}")

    def _parsed(self, data: bytes) -> dict[str, str]:
        """Return what the file says; an error never quotes it."""
        try:
            said: Any = json.loads(data)
        except ValueError as error:
            line = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
            raise SecretUnavailable(f'{self.path} is no JSON{line}; allowed: {{"name": "value", ...}}') from None
        wrong = [] if isinstance(said, dict) else [""]
        wrong += [name for name, value in said.items() if not isinstance(value, str)] if isinstance(said, dict) else []
        if wrong:
            where = f": the value of {wrong[0]!r} is no text" if wrong[0] else ""
            raise SecretUnavailable(f'{self.path} has another form{where}; allowed: {{"name": "value", ...}}')
        return dict(said)
