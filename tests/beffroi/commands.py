"""The command line from outside: subprocesses, their exit codes, what they print."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from beffroi.cli import app
from tests.peers.suite import BEFFROI, HOSTNAME


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> object:
        return json.loads(self.out)

    @property
    def refusal(self) -> str:
        """The one clear line of a refusal; anything else than exactly that fails."""
        assert self.code == 1, self
        assert self.out == "", self
        (line,) = self.err.splitlines()
        assert line.startswith("beffroi: "), line
        return line.removeprefix("beffroi: ")


def beffroi(*arguments: str, stdin: str = "", environment: dict[str, str] | None = None) -> Done:
    done = subprocess.run(
        [BEFFROI, *arguments], input=stdin, capture_output=True, text=True, timeout=120,
        env=os.environ | (environment or {}),
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


# What commands load by and by.
_LOADED = [
    "__main__",
    "beffroi.cli.app", "beffroi.cli.importing", "directory.service", "store.service", "store.custody", "core.dns",
    "delivery.queue.queue", "delivery.standing", "dkim_keys.domain_setup", "migrations.runner", "beffroi.status",
]  # fmt: skip
_NURSERY = multiprocessing.get_context("forkserver")
_NURSERY.set_forkserver_preload(_LOADED)


def forked(*arguments: str, stdin: str = "") -> Done:
    """The same in a process that was forked from one with everything loaded: for stories of many commands, each of
    which would load a second's worth of modules again."""
    with tempfile.TemporaryDirectory() as base:
        files = [Path(base, name) for name in ("in", "out", "err")]
        files[0].write_text(stdin, encoding="utf-8")
        process = _NURSERY.Process(target=_as_command, args=(arguments, files))
        process.start()
        process.join(120)
        code = process.exitcode
        assert code is not None, arguments
        process.close()
        out, err = (path.read_text(encoding="utf-8") for path in files[1:])
    assert "Traceback" not in err, err
    return Done(code, out, err)


def _as_command(arguments: Sequence[str], files: Sequence[Path]) -> None:
    for number, path in enumerate(files):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 - for the life of the process
    sys.argv = ["beffroi", *arguments]
    app.main()


def initialise(data: Path) -> Path:
    done = beffroi("init", "--data", str(data), "--hostname", HOSTNAME)
    assert done.code == 0, done.err
    return data / "beffroi.toml"
