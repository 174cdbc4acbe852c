"""A Python caller for tests: a process of its own in a node's environment that carries out functions of the tests.

`caller(do, *args)` sends the source of `do`, calls it there with JSON arguments and returns what it returned.
"""

from __future__ import annotations

import inspect
import json
import os
import select
import subprocess
import sys
import textwrap
import time
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class CallerRaised(Exception):
    """What the function raised over there: `kind` (its class), `said` (its text), `result` (of a failed run)."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__(answer["trace"])
        self.kind: str = answer["kind"]
        self.said: str = answer["said"]
        self.result: dict[str, Any] = answer["result"]


class Caller:
    """One process; imports are paid once."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], env=dict(env), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._rest = b""
        self.pid = self._process.pid

    def __call__(self, do: Callable[..., Any], *args: Any, within_s: float = 240) -> Any:
        """Return what `do(*args)` returns over there. Raises CallerRaised."""
        asked = {"source": textwrap.dedent(inspect.getsource(do)), "name": do.__name__, "args": args}
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        answer = json.loads(self._line(do.__name__, time.monotonic() + within_s))
        if "kind" in answer:
            raise CallerRaised(answer)
        return answer["value"]

    def fails(self, do: Callable[..., Any], *args: Any, within_s: float = 240) -> CallerRaised:
        """Return what `do(*args)` raises over there; fail if it does not."""
        try:
            value = self(do, *args, within_s=within_s)
        except CallerRaised as raised:
            return raised
        raise AssertionError(f"{do.__name__}{args} raised nothing but returned {value!r}")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def _line(self, name: str, deadline: float) -> bytes:
        while b"\n" not in self._rest:
            assert time.monotonic() < deadline, f"{name} has not answered in time"
            if select.select([self._process.stdout], [], [], 0.5)[0]:
                data = os.read(self._process.stdout.fileno(), 1 << 20)
                assert data, f"the caller died in {name}"
                self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line


def serve() -> None:
    """Be the process: one line asks, one line answers."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            known: dict[str, Any] = {}
            exec(asked["source"], known)
            answer = {"value": known[asked["name"]](*asked["args"])}
        except Exception as error:  # noqa: BLE001  everything is told
            answer = {
                "kind": type(error).__name__,
                "said": str(error),
                "result": getattr(error, "result", None) or {},
                "trace": traceback.format_exc(),
            }
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    serve()
