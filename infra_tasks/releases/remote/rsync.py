"""rsync over the system's ssh: command lines, a run under a deadline, and what its errors mean.

Only options that GNU rsync 3 and Apple's openrsync (protocol 29) both know. `--ignore-times`: what we ask for is to be
sent, whatever size and time say. Remote paths never stand on the command line, where versions differ in how they quote
them: the far end changes into the folder first, and everything is relative to it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from threading import Event, Thread
from typing import IO, TYPE_CHECKING

from infra_tasks.errors import (
    HostKeyRefused,
    NodeUnreachable,
    ReleaseError,
    SourceChanging,
    SourceUnreadable,
    TransferBroken,
)
from infra_tasks.releases.remote.halves import halves
from infra_tasks.releases.remote.known_hosts import host_name
from infra_tasks.releases.remote.peer import shell_path
from infra_tasks.releases.trouble import OPEN_FILES_CURE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from infra_tasks.releases.remote.peer import Peer

# A transfer that is slower than this on the whole is given up.
SLOWEST_BYTES_PER_S = 64 * 1024
AT_LEAST_S = 300.0
ENDS_WITHIN_S = 10.0
SAYS_WITHIN_S = 5.0
LOOK_EVERY_S = 0.5
SHOWN_LINES = 6
_LINE_BREAK = re.compile(r"[\r\n]")
_ITEM = re.compile(rb"^[<>c]f\S* (.*)$")
_OCTAL = re.compile(rb"\\#([0-7]{3})")


@dataclass(frozen=True)
class Carry:
    """Files on their way: `paths` below `here` on this node and `there` on the peer. `size_bytes` of all of them."""

    peer: Peer
    here: Path
    there: str
    paths: Sequence[str]
    size_bytes: int


def version_line() -> str | None:
    """Return the first line the rsync on PATH says of itself, None if there is none."""
    try:
        done = subprocess.run(
            ["rsync", "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SAYS_WITHIN_S,
            check=False,
        )
    except OSError:
        return None
    except subprocess.TimeoutExpired:
        return f"(says nothing within {SAYS_WITHIN_S:g} s)"
    return (done.stdout or done.stderr).partition("\n")[0].strip() or "(says nothing)"


def push_line(carry: Carry, ssh_config: Path, *, told: bool = False) -> list[str]:
    """Return the command line that sends files from here; `told`: name each one when it is sent."""
    return [*_common(carry, ssh_config, told=told), f"{os.fspath(carry.here)}/", f"{carry.peer.target}:."]


def pull_line(carry: Carry, ssh_config: Path, *, told: bool = False) -> list[str]:
    """Return the command line that brings files here."""
    return [*_common(carry, ssh_config, told=told), f"{carry.peer.target}:.", f"{os.fspath(carry.here)}/"]


def _common(carry: Carry, ssh_config: Path, *, told: bool) -> list[str]:
    # A line break in a name would be two names in a list of lines.
    breaks = any(_LINE_BREAK.search(path) for path in carry.paths)
    return [
        "rsync",
        "--ignore-times",
        *(["--itemize-changes"] if told else []),
        *(["--from0"] if breaks else []),
        "--files-from=-",
        "-e",
        # The key is looked for under the name it was accepted for, whatever HostName the user's options put there.
        f"ssh -F {os.fspath(ssh_config)} -p {carry.peer.address.port} -o HostKeyAlias={host_name(carry.peer.address)}",
        f"--rsync-path=cd {shell_path(carry.there)} && rsync",
    ]


def names(paths: Sequence[str]) -> bytes:
    """Return the list for --files-from. Each begins with "./": then '#', ';' and '-' mean nothing."""
    end = b"\0" if any(_LINE_BREAK.search(path) for path in paths) else b"\n"
    return b"".join(b"./" + os.fsencode(path) + end for path in paths)


def deadline_s(size_bytes: int) -> float:
    """Return how long a transfer may take."""
    return AT_LEAST_S + size_bytes / SLOWEST_BYTES_PER_S


def run(
    line: Sequence[str],
    carry: Carry,
    sent: Callable[[str], None] | None = None,
    wanted: Callable[[], bool] | None = None,
) -> None:
    """Carry; `sent` hears each path. Ends when it is not `wanted` any more.

    Raises the kinds of ReleaseError of `meaning`, in rsync's own words.
    """
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as listed:
        listed.write(names(carry.paths))
        listed.seek(0)
        try:
            process = subprocess.Popen(
                line,
                stdin=listed,
                stdout=subprocess.PIPE if sent else subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise ReleaseError("there is no rsync on this node: install it (apt install rsync, or brew)") from error
        minder = _Minder(process, deadline_s(carry.size_bytes), wanted)
        code = _wait(process, minder, sent)
        said.seek(0)
        words = said.read().decode(errors="replace")
    if code != 0:
        raise meaning(code, words, carry)


def _wait(process: subprocess.Popen[bytes], minder: _Minder, sent: Callable[[str], None] | None) -> int | None:
    """Return the exit code, None if it was ended for want of time or of anybody who wants it."""
    minder.start()
    try:
        listening = _listening(process.stdout, sent) if sent and process.stdout else None
        code = process.wait()
        if listening:
            listening.join(ENDS_WITHIN_S)  # what is said last has been heard when this returns
    except BaseException:
        minder.end()
        process.wait(ENDS_WITHIN_S)
        raise
    finally:
        minder.over.set()
    return None if minder.ended else code


class _Minder(Thread):
    """Ends a transfer that takes too long, or that nobody wants.

    A thread of its own: waiting for a process with a timeout polls, and would add its pauses to each short transfer.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], within_s: float, wanted: Callable[[], bool] | None = None
    ) -> None:
        super().__init__(name="minder", daemon=True)
        self.over = Event()
        self.ended = False
        self._process = process
        self._until = time.monotonic() + within_s
        self._wanted = wanted or (lambda: True)

    def run(self) -> None:
        """Look now and then until it is over."""
        while not self.over.wait(LOOK_EVERY_S):
            if time.monotonic() > self._until or not self._wanted():
                self.end()
                return

    def end(self) -> None:
        """Kill it, with the ssh it started."""
        self.ended = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _listening(lines: IO[bytes], sent: Callable[[str], None]) -> Thread:
    thread = Thread(target=_listen, args=(lines, sent), name="listening", daemon=True)
    thread.start()
    return thread


def _listen(lines: IO[bytes], sent: Callable[[str], None]) -> None:
    with lines:
        for line in lines:
            if item := _ITEM.match(line.rstrip(b"\n")):
                sent(os.fsdecode(_OCTAL.sub(lambda found: bytes([int(found[1], 8)]), item[1])).removeprefix("./"))


def drop_halves(carry: Carry) -> None:
    """Remove what a killed rsync left in our tree of files that were asked for."""
    for _, half in halves(carry.here, carry.paths):
        half.unlink()


def meaning(code: int | None, words: str, carry: Carry) -> ReleaseError:
    """Return what the end of rsync means: whose fault it is, in its own words, and what to do."""
    node, said = carry.peer.shown, _short(words)
    if code is None:
        most_s = deadline_s(carry.size_bytes)
        return TransferBroken(f"rsync to or from {node} was ended: after {most_s:.0f} s, or nobody wanted it any more")
    if code < 0:
        return TransferBroken(f"rsync to or from {node} was killed by signal {-code}")
    for kind, codes, signs, sentence in _MEANINGS:
        if code in codes or any(sign in words for sign in signs):
            return kind(sentence.format(node=node, name=carry.peer.name, said=said))
    return TransferBroken(f"rsync to or from {node} ended with {code}: {said}")


_NO_CONNECTION = (
    "Connection refused",
    "Connection timed out",
    "Operation timed out",
    "No route to host",
    "Network is unreachable",
    "Could not resolve hostname",
    "Permission denied (",
    "kex_exchange_identification",
    "Connection reset by",
)
# The first line that fits: an error of this kind, for these exit codes or these words, says this sentence.
_MEANINGS: tuple[tuple[type[ReleaseError], set[int], tuple[str, ...], str], ...] = (
    (
        HostKeyRefused,
        set(),
        ("REMOTE HOST IDENTIFICATION HAS CHANGED",),
        "THE HOST KEY OF {node} HAS CHANGED: {said}; if the machine was set up anew: infra key accept {name}",
    ),
    (
        HostKeyRefused,
        set(),
        ("Host key verification failed",),
        "the host key of {node} is refused: {said}; accept it with: infra key accept {name}",
    ),
    (
        ReleaseError,
        set(),
        ("No space left on device", "Disk quota exceeded"),
        "the disk is full: {said}; free some space, or prune releases: infra release prune",
    ),
    (ReleaseError, set(), ("Read-only file system",), "the node's folder must be writable: {said}"),
    (
        ReleaseError,
        set(),
        ("File name too long",),
        "a name is too long for a disk it goes to: {said}; shorten it, or leave it out (.infraignore)",
    ),
    (ReleaseError, set(), ("Too many open files",), f"to or from {{node}}: {{said}}; {OPEN_FILES_CURE}"),
    (
        ReleaseError,
        {127},
        ("rsync: not found", "rsync: command not found", "command not found: rsync"),
        "{node} has no rsync: install it there (apt install rsync, or brew); it said: {said}",
    ),
    (
        SourceUnreadable,
        set(),
        ("Permission denied (13)", "Operation not permitted (1)", "Input/output error (5)"),
        "not all could be read or written: {said}; mend that, or leave it out (.infraignore)",
    ),
    (SourceChanging, {23, 24}, (), "files went away while they were sent: {said}; take a new snapshot"),
    # ssh also ends with 255 when a session on a living connection was killed: only its own words tell the two apart.
    (NodeUnreachable, set(), _NO_CONNECTION, "{node} cannot be reached over ssh: {said}"),
)


def _short(words: str) -> str:
    """Return the lines that say something, in the middle none: what failed stands first, what came of it last."""
    lines = [line.strip() for line in words.splitlines() if line.strip("@ \t")]
    if len(lines) > SHOWN_LINES:
        lines = [*lines[: SHOWN_LINES // 2], "...", *lines[-SHOWN_LINES // 2 :]]
    return " | ".join(lines) or "(it said nothing)"
