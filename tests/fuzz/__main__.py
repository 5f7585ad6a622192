"""`make fuzz`: Atheris over every target (or the named ones), each in a process of its own for SECONDS (default 60).

One input may take SECONDS_ONE (default 5; more on a busy machine). A finding ends with its input in a file named
crash-… in the current folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

OURS = ["core", "message", "directory", "antispam", "smtp", "imap", "tests.fuzz"]


def main(names: list[str]) -> int:
    if len(names) == 2 and names[0] == "--one":
        one(names[1])
        return 0
    from tests.fuzz.targets import TARGETS

    seconds, longest = os.environ.get("SECONDS_EACH", "60"), os.environ.get("SECONDS_ONE", "5")
    failed = []
    for name in names or sorted(TARGETS):
        with tempfile.TemporaryDirectory() as corpus:
            for number, seed in enumerate(TARGETS[name].seeds):
                (Path(corpus) / str(number)).write_bytes(seed)
            command = [sys.executable, "-m", "tests.fuzz", "--one", name]
            arguments = [
                corpus,
                f"-max_total_time={seconds}",
                "-max_len=65536",
                f"-timeout={longest}",
                "-rss_limit_mb=2048",
            ]
            environment = os.environ | {"FUZZ_ARGUMENTS": json.dumps(arguments)}
            print(f"== {name}", flush=True)
            if subprocess.run(command, env=environment).returncode:
                failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "no finding")
    return 1 if failed else 0


def one(name: str) -> None:
    import atheris  # the extra `fuzz`; not part of the normal tests

    with atheris.instrument_imports(include=OURS):
        from tests.fakes.silence import silence
        from tests.fuzz.targets import TARGETS
    silence()
    target = TARGETS[name].run
    atheris.Setup(["fuzz", *json.loads(os.environ["FUZZ_ARGUMENTS"])], target)
    atheris.Fuzz()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
