"""What the repository must not hold: registry addresses, paths of one machine, sleeping tests, skipped tests."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
import tomllib
from pathlib import Path

from tests.house.test_imports import sources

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


MARK = re.compile(r"#\s*(?:type:\s*ignore|noqa|pragma|mypy:)")
WITH_REASON = re.compile(r"# (?:type: ignore\[[a-z-]+(?:,[a-z-]+)*\]|noqa: [A-Z]+[0-9]+)  ?[#-] (?!fmt:|noqa)\w")


def marks(path: Path) -> list[str]:
    """Comments that silence a tool; the same words in a string do not."""
    text = path.read_text(encoding="utf-8")
    if not MARK.search(text):
        return []
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    return [comment for comment in comments if MARK.search(comment)]


def test_what_silences_a_tool_names_one_rule_and_says_why() -> None:
    """`# type: ignore[code]  # reason` and `# noqa: CODE - reason`; other words would silence a whole file."""
    files = tracked("*.py")
    assert sum(len(marks(path)) for path in files) > 50
    silent = [
        f"{path.relative_to(ROOT)}: {mark}"
        for path in files
        for mark in marks(path)
        if len(WITH_REASON.findall(mark)) != len(MARK.findall(mark))
    ]
    assert not silent, "\n".join(silent)


def takes_everything(handler: ast.ExceptHandler) -> bool:
    """`except:`, `except Exception:`, `except BaseException:` that does not raise again."""
    name = handler.type.id if isinstance(handler.type, ast.Name) else "" if handler.type else "BaseException"
    raises = any(isinstance(node, ast.Raise) for each in handler.body for node in ast.walk(each))
    return name in ("Exception", "BaseException") and not raises


def test_what_takes_every_exception_says_why() -> None:
    silent = []
    for path in sources():
        lines = path.read_text(encoding="utf-8").splitlines()
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, ast.ExceptHandler) and takes_everything(node) and "#" not in lines[node.lineno - 1]:
                silent.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not silent


def test_everything_is_under_strict_mypy() -> None:
    """Each folder that holds Python, tests and benchmarks among them, and none is let off."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    folders = {path.relative_to(ROOT).parts[0] for path in tracked("*.py")}
    assert settings["strict"] is True
    assert set(settings["packages"]) == folders
    assert "exclude" not in settings
    assert all(
        set(each) <= {"module", "ignore_missing_imports", "follow_untyped_imports"} for each in settings["overrides"]
    )
