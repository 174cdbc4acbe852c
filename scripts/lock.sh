#!/usr/bin/env bash
# Writes requirements.lock (what a node needs) and requirements-dev.lock (and what tests and lint need) from pyproject.toml.
# Exact versions for Linux and macOS alike: what differs between systems and Pythons stands behind a marker.
# Versions that are locked already stay as they are; LOCK_OPTIONS=--upgrade moves them.
set -euo pipefail
cd "$(dirname "$0")/.."

tool=$(mktemp -d)
trap 'rm -rf "$tool"' EXIT
.venv/bin/python -m venv "$tool"
"$tool/bin/python" -m pip install --quiet uv

lock() {  # lock FILE OPTIONS...: setuptools builds the project itself, without fetching anything then
    local file=$1
    shift
    echo 'setuptools>=77' | "$tool/bin/uv" pip compile pyproject.toml - --universal --python-version 3.11 \
        --no-header --no-annotate --no-emit-index-url --quiet --output-file "$file" ${LOCK_OPTIONS:-} "$@" >/dev/null
    echo "$file: $(wc -l <"$file" | tr -d ' ') packages"
}

lock requirements.lock
lock requirements-dev.lock --extra dev --constraint requirements.lock
