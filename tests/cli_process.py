"""The `infra` command as a real process: through pipes, or on a pseudo-terminal as a person has it."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from typing import NamedTuple

INFRA = (sys.executable, "-m", "infra_tasks.cli")
# Makes its stdin the terminal of its own session and becomes the command. A program, because forking ourselves -
# `pty.fork`, or a `preexec_fn` - is a warning since Python 3.12 where there are threads, and pytest-xdist has some.
# Tests in the background of a shell have Ctrl-C ignored: here it is heard.
TAKE_TERMINAL = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class Done(NamedTuple):
    code: int
    out: str
    err: str


def environment(home, **more):
    """Return an environment without what would change the command's look."""
    kept = {name: text for name, text in os.environ.items() if name not in {"NO_COLOR", "COLUMNS", "LINES"}}
    return {**kept, "TERM": "xterm", "INFRA_HOME": str(home), **more}


def infra(home, *arguments, within_s=240, **env):
    """Run one command line through pipes."""
    done = subprocess.run(
        [*INFRA, *arguments], env=environment(home, **env), stdin=subprocess.DEVNULL, capture_output=True,
        timeout=within_s, check=False,
    )  # fmt: skip
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def at_a_terminal(command, terminal, **more):
    """Start a command in a session of its own, whose terminal is the one that `terminal` is open on."""
    streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal, **more}
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", TAKE_TERMINAL, *command], start_new_session=True, **streams
    )


class Terminal:
    """`infra`, or another program, on a pseudo-terminal: `seen` is what the person sees so far."""

    def __init__(self, home, *arguments, columns=100, program=INFRA, **env):
        self.seen = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a character may come in two pieces
        self._fd, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        self.process = at_a_terminal([*program, *arguments], theirs, env=environment(home, **env))
        os.close(theirs)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self._fd)

    def types(self, text):
        os.write(self._fd, text.encode())

    def shows(self, text, within_s=240):
        """Wait until the person sees `text`."""
        deadline = time.monotonic() + within_s
        while text not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} not within {within_s} s; seen: {self.seen!r}"
            self._read(0.2)
        return True

    def ends(self, within_s=240):
        """Wait for the end; return the exit code."""
        deadline = time.monotonic() + within_s
        while self._read(0.2):
            assert time.monotonic() < deadline, f"no end within {within_s} s; seen: {self.seen!r}"
        return self.process.wait()

    def _read(self, wait_s):
        if not select.select([self._fd], [], [], wait_s)[0]:
            return True
        try:
            data = os.read(self._fd, 65536)
        except OSError:
            return False
        self.seen += self._decoder.decode(data)
        return bool(data)
