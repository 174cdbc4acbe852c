#!/usr/bin/env bash
# Stops the fleet that run.sh started. Safe to repeat.
set -euo pipefail
cd "$(dirname "$0")/.."

export INFRA_HOME=${INFRA_HOME:-$HOME/.infra}
if [ ! -x .venv/bin/infra ] || [ ! -e "$INFRA_HOME/nodes.json" ]; then
    echo "nothing to stop: no fleet in $INFRA_HOME"
    exit 0
fi
.venv/bin/infra down
