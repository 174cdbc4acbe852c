"""A web service that starts runs and answers at once with their ids. Any framework does it the same way.

    python examples/web_handler.py 8080
    curl -X POST localhost:8080/greetings -d '{"name": "Ada"}'     {"id": "3fa2c1..."}
    curl localhost:8080/runs/3fa2c1...                            {"state": "SUCCESS", ...}

Visitors say what is greeted, never what is run: a command made of their words would be theirs. A list is passed to the
program as it is, no shell reads it.
"""

import json
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import infra_tasks
from infra_tasks import BadInput, FleetUnreachable, RunSpec, UnknownRun, run_spec

LONGEST_BODY_BYTES = 10_000


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.answers(self.greet)

    def do_GET(self) -> None:
        self.answers(self.look)

    def greet(self) -> tuple[HTTPStatus, dict[str, Any]]:
        if self.path != "/greetings":
            return HTTPStatus.NOT_FOUND, {"error": "POST /greetings"}
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), LONGEST_BODY_BYTES))
        name = json.loads(body)["name"]
        result = run_spec.delay(RunSpec(command=["echo", f"Hello, {name}!"], name="greeting", timeout_s=60))
        return HTTPStatus.ACCEPTED, {"id": result.id}

    def look(self) -> tuple[HTTPStatus, dict[str, Any]]:
        run = infra_tasks.get(self.path.removeprefix("/runs/"))
        return HTTPStatus.OK, {"state": run.state, "said": run.stdout_tail, "took_s": run.duration_s}

    def answers(self, ask: Any) -> None:
        try:
            status, said = ask()
        except UnknownRun as error:
            status, said = HTTPStatus.NOT_FOUND, {"error": str(error)}
        except (BadInput, ValueError, KeyError, TypeError) as error:
            status, said = HTTPStatus.BAD_REQUEST, {"error": str(error)}
        except FleetUnreachable as error:
            status, said = HTTPStatus.SERVICE_UNAVAILABLE, {"error": str(error)}
        text = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
