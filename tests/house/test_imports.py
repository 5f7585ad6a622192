"""The order of the house: a package imports only those to its left (design.md section 3)."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ORDER: tuple[tuple[str, ...], ...] = (
    ("core",),
    ("message",),
    ("directory",),
    ("store",),
    ("dkim_keys", "antispam"),
    ("delivery",),
    ("smtp", "imap", "admin_api"),
    ("beffroi",),
)
ALONE = {"migrations": {"core"}}  # frozen schemas: they may not change when a model does
PACKAGES = {name for level in ORDER for name in level} | set(ALONE)


def allowed(package: str) -> set[str]:
    if package in ALONE:
        return ALONE[package] | {package}
    level = next(i for i, names in enumerate(ORDER) if package in names)
    left = {name for names in ORDER[:level] for name in names}
    # The command line may call the migration runner; nobody else knows migrations.
    return left | {package} | ({"migrations"} if package == "beffroi" else set())


@cache
def imports(path: Path) -> frozenset[str]:
    """Of a module: the names before the first dot."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return frozenset(found)


def sources() -> list[Path]:
    return [path for package in sorted(PACKAGES) for path in sorted((ROOT / package).rglob("*.py"))]


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_package_imports_only_what_stands_to_its_left(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for name in imports(path) & PACKAGES - allowed(package)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_package_opens_by_saying_what_it_knows(package: str) -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8")))
    assert docstring
    assert len(docstring) > 60


def test_every_module_opens_with_a_docstring() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sources()
        if path.read_text(encoding="utf-8").strip()
        and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not silent
