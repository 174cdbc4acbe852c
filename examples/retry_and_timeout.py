"""A run that is tried again until it works, and one that is stopped at its limit.

python examples/retry_and_timeout.py
"""

import infra_tasks
from infra_tasks import RunFailed, RunSpec

# Fails twice, then works: what a flaky network does to a download.
FLAKY = 'echo "attempt $INFRA_ATTEMPT"; test "$INFRA_ATTEMPT" -ge 3'


def main() -> None:
    # The pause before an attempt doubles: 0.2 s, 0.4 s, ...
    ended = infra_tasks.run(RunSpec(command=FLAKY, retries=5, retry_backoff_s=0.2), print)
    print(f"{ended.state} at attempt {ended.attempt}")

    # At the limit the command gets SIGTERM; it has the grace to end, then all its processes are killed.
    try:
        infra_tasks.run({"command": ["sleep", "600"], "timeout_s": 0.5, "grace_s": 1})
    except RunFailed as error:
        print(f"{error.result['state']} by {error.result['reason']}, {error.result['survivors']} survivors")


if __name__ == "__main__":
    main()
