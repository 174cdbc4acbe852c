"""A caller as users write it: submits the specs it reads, says their ids, then waits for every result.

Prints `ready`, one id per line as soon as it is accepted, then one result per line, in order.
"""

import json
import sys

from infra_tasks import run_spec
from infra_tasks.errors import RunFailed

PATIENCE_S = 300

print("ready", flush=True)  # noqa: T201  what this program is for
accepted = []
for spec in json.load(sys.stdin):
    accepted.append(run_spec.delay(spec))
    print(accepted[-1].id, flush=True)  # noqa: T201
for result in accepted:
    try:
        said = result.get(timeout=PATIENCE_S)
    except RunFailed as failure:
        said = failure.result
    print(json.dumps(said), flush=True)  # noqa: T201
