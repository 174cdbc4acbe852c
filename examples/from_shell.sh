#!/bin/sh
# Runs from a shell script: wait for one, hand several over, read what JSON says of them with python3.
#
#     sh examples/from_shell.sh
set -eu

# One field of what --json prints.
field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

# `infra run` streams the output and ends as the command did.
infra run -- echo "hello from a script"
if infra run -- sh -c 'echo "this one fails" >&2; exit 3'; then
    echo "not reached"
else
    echo "exit code $?"
fi

# Several at once: `infra submit` prints an id for each spec it has accepted.
ids=$(printf '%s\n' '{"command": "echo one"}' '{"command": "sleep 0.2; echo two"}' | infra submit --format json -)

# `infra logs -f` goes on until the run is final.
for id in $ids; do
    echo "run said: $(infra logs -f "$id")"
    echo "state: $(infra show --json "$id" | field state)"
done
