#!/usr/bin/env bash
# Builds the site of docs/ into build/docs. A page, a heading or a name that is not there fails it.
set -euo pipefail
cd "$(dirname "$0")/.."

.venv/bin/python -m sphinx -q -W --keep-going -b html -d build/doctrees docs build/docs "$@"
echo "the site is build/docs/index.html"
