#!/usr/bin/env bash
# Makes .venv with everything this checkout needs: setup.sh [run|dev]. Quick when nothing changed; safe to repeat.
#   run   what a node needs (the default)
#   dev   and what tests and lint need (tests also an sshd they start themselves)
# Written for bash 3.2, which is what macOS has.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh

tier=${1:-run}
case $tier in
    run) lock=requirements.lock ;;
    dev) lock=requirements-dev.lock ;;
    *) echo "setup: unknown: $tier (run or dev)" >&2; exit 2 ;;
esac

venv_python=.venv/bin/python
stamp=.venv/installed-$tier

# What has to be the same for the last set-up to be good still.
fingerprint() {
    { pwd -P; cat "$lock" pyproject.toml scripts/setup.sh; } | cksum
}

# The scripts of a venv hold its path: after a move of the checkout they start the wrong Python.
venv_works() {
    [ -x "$venv_python" ] && "$venv_python" -c "$SUPPORTED_PYTHON" 2>/dev/null \
        && "$venv_python" -m pip --version >/dev/null 2>&1 && grep -qF "$(pwd -P)/.venv/" .venv/bin/pip
}

make_venv() {
    local python
    python=$(find_python)
    say "making .venv with $("$python" --version 2>&1) ($python)"
    rm -rf .venv
    "$python" -m venv .venv
}

install_python_packages() {
    say "installing what $lock lists"
    "$venv_python" -m pip install -qq --disable-pip-version-check --require-virtualenv --requirement "$lock"
    "$venv_python" -m pip install -qq --disable-pip-version-check --require-virtualenv \
        --no-deps --no-build-isolation --editable .
}

need_command rsync rsync rsync
need_command ssh openssh-client openssh
need_command git git git
if [ "$tier" = dev ]; then
    need_ip
    need_compiler
    need_sshd
    need_chromium
fi

if [ -x "$venv_python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$(fingerprint)" ]; then
    exit 0
fi
venv_works || make_venv
rm -f .venv/installed-*
install_python_packages
need_redis "$venv_python"
fingerprint >"$stamp"
# Whoever has the tools of a developer has what a node needs as well.
if [ "$tier" = dev ]; then
    (lock=requirements.lock && fingerprint >.venv/installed-run)
fi
say "ready"
