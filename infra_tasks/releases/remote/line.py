"""A line to another node: one kept ssh connection (Fabric) with a porter at its far end.

Every step has a deadline, and who says nothing for half a minute is gone.
"""

from __future__ import annotations

import logging
import socket
import time
from contextlib import contextmanager, suppress
from threading import Event, Thread, Timer
from typing import TYPE_CHECKING, Any

from paramiko import SSHException

from infra_tasks.errors import NodeUnreachable, ReleaseError
from infra_tasks.releases.remote.connecting import connect, disconnect
from infra_tasks.releases.remote.ssh_files import CONNECT_S
from infra_tasks.releases.remote.talk import PROTOCOL, SILENCE_S, Breath, Sender, decode, error_message, error_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fabric import Connection
    from paramiko import Channel

    from infra_tasks.releases.remote.peer import Peer
    from infra_tasks.releases.remote.ssh_files import SshFiles
    from infra_tasks.releases.remote.talk import Message

# A porter imports what it needs when it starts; the machine may be busy.
START_S = 30.0
PING_S = 5.0
# Who listens while something is brought looks so often whether it is over.
LISTEN_S = 5.0
# A request that takes longer than this in all is given up: a run's own limit is not longer.
LONGEST_S = 7200.0
READ_BYTES = 1 << 18
# No manifest is so long: a million files make a fifth of it.
LONGEST_BYTES = 1 << 30


logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # what it would say comes to us as exceptions


class Line:
    """One connection. Used by one thread at a time; `usable` says whether the next request would be understood.

    `accepted` marks the host keys that were accepted when it was made.
    """

    def __init__(self, files: SshFiles, peer: Peer) -> None:
        self.peer = peer
        self.usable = True
        self.rested_at = time.monotonic()
        self._read = b""
        self.accepted = files.accepted_mark()
        self._connection = connect(files, peer)
        try:
            self._channel = self._start()
            self._send = Sender(self._channel.sendall)
            self.hello = self._greet()
        except BaseException:
            self.close()
            raise

    def ask(
        self,
        do: str,
        *,
        within_s: float = LONGEST_S,
        bring: Callable[[Message], Message] | None = None,
        heard: Callable[[Message], None] | None = None,
        **told: Any,
    ) -> Message:
        """Ask the porter for something and return its answer.

        `bring` is called with what the porter asks to be brought before it can go on, and returns what it is to be told
        of that; `heard` with what it says of that meanwhile, in a thread. Raises the error the porter tells of,
        whatever `bring` raises, NodeUnreachable when it falls silent.
        """
        until = time.monotonic() + within_s
        self._say({"do": do, **told})
        raised: BaseException | None = None
        while True:
            message = self._hear(until)
            if "done" in message:
                return dict(message["done"])
            if "error" in message:
                raise raised or error_of(message["error"])
            if "bring" in message:
                raised = self._bring(bring or self._cannot_bring, message["bring"], heard)

    def breathing(self) -> Breath:
        """Keep the porter from forgetting us while we are busy with something else (in a `with`)."""
        return Breath(self._send)

    def _cannot_bring(self, _wanted: Message) -> Message:
        raise ReleaseError(f"{self.peer.name} asks for files that nobody here can bring")

    def _bring(
        self, bring: Callable[[Message], Message], wanted: Message, heard: Callable[[Message], None] | None
    ) -> BaseException | None:
        """Do what the porter waits for; what goes wrong is told to it, so that it can clean up, and kept for us."""
        try:
            with Breath(self._send), self._listening(heard if wanted.get("tells") else None):
                told = bring(wanted)
        except ReleaseError as error:
            self._say({"failed": error_message(error)})
            return error
        except BaseException:
            self.close()
            raise
        self._say({"brought": True, **told})
        return None

    @contextmanager
    def _listening(self, heard: Callable[[Message], None] | None) -> Iterator[None]:
        """Pass on what the far end says while something is brought."""
        if heard is None:
            yield
            return
        over = Event()
        thread = Thread(target=self._listen, args=(heard, over), name="listening", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _listen(self, heard: Callable[[Message], None], over: Event) -> None:
        """Hear signs of life until it is over. What else comes, and the end, is for who waits for the answer."""
        self._channel.settimeout(LISTEN_S)
        with suppress(OSError, SSHException, ValueError):
            while not over.is_set():
                with suppress(TimeoutError, socket.timeout):  # paramiko's is its own on Python 3.11 and older
                    piece = self._channel.recv(READ_BYTES)
                    self._read = _pass_on(self._read + piece, heard)
                    if not piece:
                        return

    def _say(self, message: Message) -> None:
        try:
            self._send(message)
        except (OSError, SSHException) as error:
            raise self._gone(f"the connection was lost ({error})") from error

    def _hear(self, until: float) -> Message:
        """Return the next message that says something."""
        while True:
            silent_s = min(SILENCE_S, until - time.monotonic())
            if silent_s <= 0:
                raise self._gone("it did not answer in time")
            line = self._next_line(silent_s, until)
            try:
                message = decode(line)
            except ValueError as error:
                said = line[:200].decode(errors="replace").strip()
                raise self._gone(
                    f"it says {said!r}: something there prints when a shell starts; have ~/.bashrc, ~/.zshenv and the "
                    "like print only for people, rsync cannot bear it either"
                ) from error
            if "alive" not in message:
                return message

    def _next_line(self, silent_s: float, until: float) -> bytes:
        self._channel.settimeout(silent_s)
        pieces, size_bytes = [self._read], len(self._read)
        while b"\n" not in pieces[-1]:
            if size_bytes > LONGEST_BYTES or time.monotonic() > until:
                raise self._gone(f"it does not come to an end: {size_bytes} bytes of one message")
            try:
                piece = self._channel.recv(READ_BYTES)
            except (TimeoutError, socket.timeout) as error:  # noqa: UP041  paramiko's is its own on Python 3.11 and older
                raise self._gone(f"it said nothing for {silent_s:.0f} s") from error
            except (OSError, SSHException) as error:
                raise self._gone(f"the connection was lost ({error})") from error
            if not piece:
                raise self._gone(self._last_words())
            pieces.append(piece)
            size_bytes += len(piece)
        line, _, self._read = b"".join(pieces).partition(b"\n")
        return line

    def _last_words(self) -> str:
        """Return why a porter ended: what it wrote to stderr."""
        said = b""
        with suppress(OSError, SSHException):
            self._channel.settimeout(PING_S)
            while piece := self._channel.recv_stderr(READ_BYTES):
                said += piece
        words = " | ".join(said.decode(errors="replace").split("\n")[-4:]).strip(" |")
        return f"its porter ended: {words}" if words else "its porter ended"

    def _gone(self, why: str) -> NodeUnreachable:
        self.close()
        return NodeUnreachable(f"{self.peer.shown}: {why}")

    def _start(self) -> Channel:
        try:
            channel: Channel = self._connection.transport.open_session(timeout=CONNECT_S)
            channel.settimeout(CONNECT_S)
            with _ended_after(CONNECT_S, self._connection):
                channel.exec_command(self.peer.porter)
        except (OSError, SSHException) as error:
            raise NodeUnreachable(f"{self.peer.shown}: no session: {error or type(error).__name__}") from error
        return channel

    def _greet(self) -> Message:
        """Make sure that the right node answers, in a language we speak."""
        try:
            hello = self.ask("hello", within_s=START_S)
        except NodeUnreachable as error:
            raise NodeUnreachable(
                f"{error}\nIs {self.peer.root} on it the folder of a node that was started once? (infra up)"
            ) from error
        if hello["protocol"] != PROTOCOL:
            raise NodeUnreachable(
                f"{self.peer.shown} runs infra_tasks {hello['version']}, which speaks another protocol "
                f"({hello['protocol']}, here {PROTOCOL}): bring both to one version"
            )
        if hello["node"] != self.peer.name:
            raise NodeUnreachable(
                f"{self.peer.shown} says that it is node {hello['node']!r}: mend 'ssh' or 'root' in nodes.json"
            )
        return hello

    def is_open(self) -> bool:
        """Say whether nothing is known that would be against using it."""
        return self.usable and not self._channel.closed and self._connection.transport.is_active()

    def answers(self) -> bool:
        """Say whether the far end is still there; a line that rested may have been cut."""
        try:
            self.ask("hello", within_s=PING_S)
        except ReleaseError:
            return False
        return True

    def close(self) -> None:
        """End it; the porter ends with it."""
        self.usable = False
        disconnect(self._connection)


@contextmanager
def _ended_after(within_s: float, connection: Connection) -> Iterator[None]:
    """End a connection when something on it takes longer: paramiko waits for the answer to exec without end."""
    timer = Timer(within_s, disconnect, (connection,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _pass_on(read: bytes, heard: Callable[[Message], None]) -> bytes:
    """Pass signs of life on; return what was read beyond them. Raises ValueError for what is no message."""
    while b"\n" in read:
        line, _, rest = read.partition(b"\n")
        message = decode(line)
        if "alive" not in message:
            return read
        heard(message)
        read = rest
    return read
