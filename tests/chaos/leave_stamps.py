"""The command of the kill tests: says in a file when it started and ended, as which attempt of which run.

Takes: the file, seconds to run, exit code. Uses nothing of the project: it must leave its stamps whatever is broken.
"""

import os
import sys
import time

file, seconds, code = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])


def stamp(what: str) -> None:
    """One write to a file opened for appending: stamps of several commands never mix."""
    words = (what, os.environ["INFRA_RUN"], os.environ["INFRA_ATTEMPT"], str(time.monotonic()), str(os.getpid()))
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(fd, (" ".join(words) + "\n").encode())
    os.close(fd)


stamp("start")
print("said by", os.environ["INFRA_RUN"], flush=True)  # noqa: T201  its output is looked for in the result
time.sleep(seconds)
stamp("end")
sys.exit(code)
