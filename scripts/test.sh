#!/usr/bin/env bash
# All tests: test.sh [PYTEST OPTIONS...]. With options, one pytest call with exactly these.
# Two rounds, because a whole node as processes (marks fleet and chaos) wants more of the machine than a unit test.
set -euo pipefail
cd "$(dirname "$0")/.."

NO_TESTS=5  # what pytest exits with when it selected none
jobs=${TEST_JOBS:-2}
fleet_jobs=${FLEET_JOBS:-2}
pytest=".venv/bin/python -m pytest"

if [ $# -gt 0 ]; then
    exec $pytest "$@"
fi
$pytest -n "$jobs" -m "not fleet and not chaos"
# The tests of one file share a node: they stay together.
$pytest -n "$fleet_jobs" --dist loadfile -m "fleet or chaos" || [ $? -eq $NO_TESTS ]
