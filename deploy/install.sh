#!/bin/sh
# Install exactly what the lock file names (hashes checked), then Beffroi itself. What builds it, and those of its
# dependencies that come as source, is locked, too, and there before them: left to itself pip (23.1 and later) fetches
# the newest setuptools for each, unchecked, and behind a proxy with its own certificate not even that.
set -eu
venv=$1 lock=$2 build=requirements/build.lock
total=$(cat "$lock" "$build" | grep -c '==')
echo "Installing $total packages into $venv ..."
# A pipe ends as its last command does: awk is told whether pip was content.
{ "$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off --require-hashes -r "$build" &&
    "$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off --require-hashes \
        --no-build-isolation --use-pep517 -r "$lock" && echo all-installed; } |
    awk -v total="$total" '/^Collecting /{n++; printf "\r  %d of %d", (n > total ? total : n), total; fflush()}
        /^all-installed$/{done = 1} END{print ""; exit !done}' || {
    echo "pip could not install what $lock names: see above. Nothing else was done; run it again." >&2
    exit 1
}
"$venv/bin/python" -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
"$venv/bin/beffroi" --help >/dev/null
