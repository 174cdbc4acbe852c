"""Say hello from wherever the fleet put us: `python3 hello.py [NAME]`."""

import os
import platform
import sys
import time
from pathlib import Path

from greeting import greet, wave


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "world"
    print(greet(name), flush=True)
    print(f"  here    {Path.cwd()}")
    print(f"  python  {platform.python_version()} ({sys.executable})")
    for word in ("run", "attempt", "node", "release"):
        told = os.environ.get(f"INFRA_{word.upper()}")
        if told:
            print(f"  {word:7} {told}")
    # One line each third of a second: they show up where you watch while we are still at it.
    for step in range(1, 7):
        time.sleep(1 / 3)
        print(f"  {wave(step)}", flush=True)
    print(f"Bye, {name}.")


if __name__ == "__main__":
    main()
