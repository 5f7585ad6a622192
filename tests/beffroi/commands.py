"""The command line from outside: subprocesses, their exit codes, what they print."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

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


def initialise(data: Path) -> Path:
    done = beffroi("init", "--data", str(data), "--hostname", HOSTNAME)
    assert done.code == 0, done.err
    return data / "beffroi.toml"
