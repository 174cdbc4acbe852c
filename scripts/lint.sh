#!/usr/bin/env bash
# Every check that runs nothing: style, form, types, floors, shell syntax. All are run; one that fails fails the whole.
set -uo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH

failed=""
check() {  # check NAME COMMAND...
    local name=$1
    shift
    echo "== $name"
    "$@" || failed="$failed $name"
}

shell_syntax() {
    local file bad=0
    for file in scripts/*.sh examples/*.sh .ci/run; do
        bash -n "$file" || bad=1
    done
    return $bad
}

check "ruff-check" ruff check .
check "ruff-format" ruff format --check .
check "mypy" mypy
check "import-floors" lint-imports --no-logo
check "shell-syntax" shell_syntax
check "docs" bash scripts/docs.sh

if [ -n "$failed" ]; then
    echo "lint failed:$failed"
    exit 1
fi
echo "lint passed"
