"""The command of the kill tests: says in a file when it started and ended, as which attempt of which run.

Takes: the file, how long to run (seconds per attempt, "60,60,0": the last goes for all later ones), exit code, and
"child" to have a child in a session of its own that stays for ten minutes, "deaf" to ignore SIGTERM (both do),
"until:FILE" to run on until that file is there.
Uses nothing of the project: it must leave its stamps whatever is broken.
"""

import os
import signal
import sys
import time
from pathlib import Path

CHILD_STAYS_S = 600
LOOK_EVERY_S = 0.05

file, spans, code = sys.argv[1], [float(one) for one in sys.argv[2].split(",")], int(sys.argv[3])
attempt = int(os.environ["INFRA_ATTEMPT"])


def stamp(what: str) -> None:
    """One write to a file opened for appending: stamps of several commands never mix."""
    words = (what, os.environ["INFRA_RUN"], str(attempt), str(time.monotonic()), str(os.getpid()))
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(fd, (" ".join(words) + "\n").encode())
    os.close(fd)


def stay_in_a_session_of_its_own() -> None:
    if os.fork() == 0:
        os.setsid()
        stamp("child")
        time.sleep(CHILD_STAYS_S)
        os._exit(0)


if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
span = spans[min(attempt, len(spans)) - 1]
if "child" in sys.argv and span:
    stay_in_a_session_of_its_own()
stamp("start")
print("said by", os.environ["INFRA_RUN"], flush=True)  # noqa: T201  its output is looked for in the result
time.sleep(span)
for awaited in [Path(word.removeprefix("until:")) for word in sys.argv if word.startswith("until:")]:
    while not awaited.exists():
        time.sleep(LOOK_EVERY_S)
stamp("end")
sys.exit(code)
