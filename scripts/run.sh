#!/usr/bin/env bash
# A one-node fleet on this machine and the project examples/hello run on it. Safe to repeat.
set -euo pipefail
cd "$(dirname "$0")/.."

export INFRA_HOME=${INFRA_HOME:-$HOME/.infra}
infra=$PWD/.venv/bin/infra

# A fleet that is up already is as good as one just started.
start_fleet() {
    local said
    if said=$("$infra" up --detach 2>&1); then
        echo "$said"
    elif ! "$infra" status >/dev/null 2>&1; then
        echo "$said" >&2
        return 1
    fi
}

# Writes nodes.json if there is none, and adds the project if it is not there yet.
"$infra" init --project "hello=$PWD/examples/hello"
start_fleet

echo
"$infra" run --project hello -- python3 hello.py
echo
"$infra" runs --limit 1
echo

cat <<END
The fleet goes on in the background. Its folder is $INFRA_HOME

  look       $infra status
             $infra runs
             $infra open     (Flower, in the browser)
  run        $infra run -- COMMAND...
  stop       make stop
END
