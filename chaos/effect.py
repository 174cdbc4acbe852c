"""The command of every run of a storm: notes in a file that it began, that it lives, and that it came to its end.

Takes: the file, seconds per attempt ("3,0": the last goes for all later ones), exit codes per attempt, and habits:
`kill-parent` (kill -9 what started it, its shim, in its first attempt), `deaf` (to SIGTERM), `child` (has a child in a
session of its own), `held` (its first attempt waits for the strike, the second one for the end of it).
Where it has a release, it notes the digest of the tree it finds. Uses nothing of the product: it must note the truth
whatever is broken. Who it is stands in its environment.
"""

import json
import os
import signal
import sys
import time

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests"))  # noqa: PTH100, PTH118, PTH120
from tree_digest import digest_of

SIGN_OF_LIFE_EVERY_S = 0.2
CLOCK = time.CLOCK_MONOTONIC if sys.platform == "darwin" else time.CLOCK_BOOTTIME

file, spans, codes = sys.argv[1], sys.argv[2].split(","), sys.argv[3].split(",")
habits = sys.argv[4:]
attempt = int(os.environ["INFRA_ATTEMPT"])


def now() -> float:
    """Return the moment on the clock of the machine."""
    return time.clock_gettime(CLOCK)


def note(what: str, **more: object) -> None:
    """One write to a file opened for appending: the notes of several commands never mix."""
    said = {
        "what": what,
        "run": os.environ["INFRA_RUN"],
        "attempt": attempt,
        "token": os.environ["INFRA_TOKEN"],
        "node": os.environ["INFRA_NODE"],
        "at": now(),
        "pid": os.getpid(),
        **more,
    }
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(fd, (json.dumps(said) + "\n").encode())
    os.close(fd)


def of_this_attempt(words: list[str]) -> str:
    """Return what is said for this attempt."""
    return words[min(attempt, len(words)) - 1]


if "deaf" in habits:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
parent = os.getppid()
release = os.environ.get("INFRA_RELEASE", "")
note("start", release=release, tree=digest_of(".") if release else "")
is_child = "child" in habits and os.fork() == 0
if is_child:
    os.setsid()
if "kill-parent" in habits and attempt == 1:
    os.kill(parent, signal.SIGKILL)
print("said by", os.environ["INFRA_RUN"], flush=True)
while "held" in habits and not os.path.exists(f"{file}.{'struck' if attempt == 1 else 'healed'}"):  # noqa: PTH110
    time.sleep(SIGN_OF_LIFE_EVERY_S)
    note("alive")
until = now() + float(of_this_attempt(spans))
while (left := until - now()) > 0:
    time.sleep(min(left, SIGN_OF_LIFE_EVERY_S))
    if now() < until:  # a child that wakes up late says nothing behind the end of its parent
        note("alive")
if not is_child:
    note("end", code=int(of_this_attempt(codes)))
sys.exit(int(of_this_attempt(codes)))
