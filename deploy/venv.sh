#!/bin/sh
# Make the virtual environment: with the python given, else with the distribution's, else with the first on the path.
# Where Debian's python3 lacks venv, root gets it installed, others one exact line.
#
# Debian builds its Python with profile-guided and link-time optimisation. One of the same version that was compiled on
# the spot with the defaults (a pyenv's, often) took 1.2 to 1.6 times as long for loops, dicts, objects, coroutines and
# regular expressions.
set -eu
venv=$1 python=${2:-}

recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
makes_venvs() { "$1" -c 'import venv, ensurepip' 2>/dev/null; }
install_venv() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    echo "Installing python3-venv ..."
    apt-get -qq update &&
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3-venv >/dev/null
}

if [ -z "$python" ]; then
    python=python3
    # Without a network the one on the path may still do.
    if recent /usr/bin/python3 && { makes_venvs /usr/bin/python3 || install_venv; }; then
        python=/usr/bin/python3
    fi
fi
recent "$python" || {
    echo "Beffroi needs Python 3.11 or later; $("$python" --version) was found." >&2
    exit 1
}
makes_venvs "$python" || install_venv || {
    echo "This Python has no venv module. Run: sudo apt-get install python3-venv" >&2
    exit 1
}
"$venv/bin/python" -c 'import pip' 2>/dev/null || "$python" -m venv --clear "$venv"
touch "$venv/.venv"
