"""What the repository must not hold: registry addresses, paths of one machine, sleeping tests, skipped tests."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def tracked(*patterns: str) -> list[Path]:
    output = subprocess.run(
        ["git", "ls-files", "-z", "--", *patterns], cwd=ROOT, capture_output=True, check=True
    ).stdout
    return [ROOT / name for name in output.decode().split("\0") if name and (ROOT / name).is_file()]


def test_lock_files_hold_hashes_and_no_address() -> None:
    locks = tracked("requirements/*.lock")
    assert locks
    for path in locks:
        text = path.read_text()
        assert "--hash=sha256:" in text
        assert not re.search(r"://|--(extra-)?index-url|--find-links", text), path


def test_no_lock_of_uv_is_tracked() -> None:
    assert not tracked("uv.lock", "pylock*.toml", "*/uv.lock")


def test_no_path_of_one_machine() -> None:
    pattern = re.compile(r"(^|[^A-Za-z0-9_.])/(work|root|farm)/", re.MULTILINE)
    assert not [p for p in tracked("*.py", "*.md", "*.sh", "*.toml", "Makefile") if pattern.search(p.read_text())]


def test_no_test_is_skipped_for_a_missing_service() -> None:
    pattern = re.compile(r"pytest\.(mark\.)?(skip|skipif|xfail)|importorskip")
    offenders = [p for p in tracked("tests/**/*.py") if p != Path(__file__) and pattern.search(p.read_text())]
    assert not offenders
