#!/bin/sh
# Install exactly what the lock file names (hashes checked), then Beffroi itself.
set -eu
venv=$1 lock=$2
total=$(grep -c '==' "$lock")
echo "Installing $total packages into $venv ..."
"$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off --require-hashes -r "$lock" |
    awk -v total="$total" '/^Collecting /{n++; printf "\r  %d of %d", (n > total ? total : n), total; fflush()} END{print ""}'
"$venv/bin/python" -m pip install --disable-pip-version-check --quiet --no-deps --editable .
"$venv/bin/beffroi" --help >/dev/null
