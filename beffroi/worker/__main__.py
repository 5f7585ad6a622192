"""`python -m beffroi.worker`: started by the supervisor only; the environment says which kind this process is."""

from __future__ import annotations

import importlib
import json
import os
import sys

from beffroi.worker.bootstrap import Assignment, run

# Imported when chosen: FastAPI's 42 MiB stay out of the fronts, the IMAP server out of the queue's runner.
KINDS = {
    "front": "beffroi.worker.front",
    "delivery": "beffroi.worker.delivery",
    "web": "beffroi.worker.web",
}


def main() -> None:
    value = os.environ.pop("BEFFROI_WORKER", None)
    if value is None:
        sys.stderr.write("this program is started by `beffroi serve`\n")
        raise SystemExit(2)
    assignment = Assignment.from_json(json.loads(value))
    module = importlib.import_module(KINDS[assignment.kind])
    run(assignment, module.start)


if __name__ == "__main__":
    main()
