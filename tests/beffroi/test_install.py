"""`deploy/install.sh`, with a pip that answers as told: what was not installed is never said to be."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _install(tmp_path: Path, pip: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    binaries = tmp_path / "venv" / "bin"
    binaries.mkdir(parents=True)
    calls = tmp_path / "calls"
    for name, body in (("python", pip), ("beffroi", "exit 0")):
        (binaries / name).write_text(f'#!/bin/sh\necho "{name} $*" >> "{calls}"\n{body}\n')
        (binaries / name).chmod(0o755)
    done = subprocess.run(
        ["sh", "deploy/install.sh", str(tmp_path / "venv"), "requirements/run.lock"],
        cwd=ROOT, capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    return done, calls.read_text().splitlines()


def test_everything_installed_is_locked_with_hashes_and_nothing_is_built_in_isolation(tmp_path: Path) -> None:
    done, calls = _install(tmp_path, "echo Collecting something; exit 0")
    assert done.returncode == 0, done.stderr
    tools, packages, ours = calls[:3]
    assert tools.endswith("--require-hashes -r requirements/build.lock")
    assert "--no-build-isolation" in packages  # what comes as source is built with these tools
    assert packages.endswith("--require-hashes --no-build-isolation --use-pep517 -r requirements/run.lock")
    assert "--no-deps --no-build-isolation --editable ." in ours


@pytest.mark.parametrize("pip", ["echo ERROR: THESE PACKAGES DO NOT MATCH THE HASHES; exit 1", "kill -9 $$"])
def test_a_pip_that_fails_ends_the_installation(tmp_path: Path, pip: str) -> None:
    """The pipe that counts for people ended as awk did: an upgrade with a wrong hash went on with old packages."""
    done, calls = _install(tmp_path, pip)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("pip could not install what requirements/run.lock names")
    assert len(calls) == 1
