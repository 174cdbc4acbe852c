"""A caller as users write it: submits the specs it reads, says their ids, then waits for every result.

Prints `ready`, one id per line as soon as it is accepted, then one result per line, in order. A spec that nobody took
for want of a fleet (a Redis that is killed may take its time on a busy machine) is submitted again, as the same run.
"""

import json
import sys
import uuid

from infra_tasks import run_spec
from infra_tasks.errors import FleetUnreachable, RunFailed

PATIENCE_S = 300


def submit(spec):
    """Return its AsyncResult, once it is accepted."""
    run_id = str(uuid.uuid4())
    while True:
        try:
            return run_spec.apply_async((spec,), task_id=run_id)
        except FleetUnreachable as error:
            print(error, file=sys.stderr, flush=True)  # noqa: T201


print("ready", flush=True)  # noqa: T201  what this program is for
accepted = []
for spec in json.load(sys.stdin):
    accepted.append(submit(spec))
    print(accepted[-1].id, flush=True)  # noqa: T201
for result in accepted:
    try:
        said = result.get(timeout=PATIENCE_S)
    except RunFailed as failure:
        said = failure.result
    print(json.dumps(said), flush=True)  # noqa: T201
