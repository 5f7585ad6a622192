#!/bin/sh
# The whole test run in its order: house and units, real peers, fault smoke. One failing stage fails the run at its end.
set -u
failed=""
stage() {
    name=$1; shift
    echo "== $name"
    start=$(date +%s)
    .venv/bin/pytest -q "$@" || failed="$failed $name"
    echo "== $name: $(($(date +%s) - start)) s"
}
stage units -n 2 -m "not interop and not faults"
stage interop -m interop
stage faults -m faults
if [ -n "$failed" ]; then
    echo "FAILED:$failed"
    exit 1
fi
echo "all stages passed"
