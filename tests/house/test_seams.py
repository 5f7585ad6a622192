"""Each dependency is touched in one seam file; `store.fsops` alone makes file-system calls in the store."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.house.test_imports import ROOT, imports, sources

# dependency > the files that may import it (globs from the root of the repository)
SEAMS: dict[str, tuple[str, ...]] = {
    "aiosmtpd": ("smtp/*.py",),
    "apsw": ("store/*.py",),
    "argon2": ("directory/passwords.py",),
    "authres": ("antispam/authentication/results.py",),
    "dkim": (),
    "dns": ("core/dns.py", "core/resolver.py"),
    "httpx2": ("antispam/rspamd.py", "directory/introspection.py", "core/https.py"),
    "pydantic_settings": ("core/config/whole.py",),
    "structlog": ("core/log.py",),
    "asyncpg": ("core/database.py",),
    "scramp": ("directory/scram.py",),
    "sqlalchemy": (
        "core/database.py",
        "directory/*.py",
        "directory/repositories/*.py",
        "delivery/queue/*.py",
        "migrations/**/*.py",
        "migrations/*.py",
    ),
    "alembic": ("migrations/*.py", "migrations/versions/*.py"),
    "fastapi": ("admin_api/*.py", "admin_api/routes/*.py"),
    "uvicorn": ("beffroi/worker/web.py",),
    "typer": ("beffroi/cli/*.py",),
    "prometheus_client": ("beffroi/metrics.py",),
    "publicsuffixlist": ("antispam/authentication/*.py",),
    "nacl": (),
    "isal": ("imap/deflate.py",),
    "uvloop": ("beffroi/worker/bootstrap.py",),
}


def importers(dependency: str) -> set[str]:
    return {str(path.relative_to(ROOT)) for path in sources() if dependency in imports(path)}


@pytest.mark.parametrize("dependency", sorted(SEAMS))
def test_a_dependency_is_touched_in_its_seam_only(dependency: str) -> None:
    elsewhere = {
        path for path in importers(dependency) if not any(Path(path).match(pattern) for pattern in SEAMS[dependency])
    }
    assert not elsewhere


FILE_CALLS = {
    "open", "link", "unlink", "rename", "replace", "fsync", "fdatasync", "mkdir", "rmdir", "remove", "symlink",
    "write_bytes", "write_text", "touch", "rmtree", "utime", "truncate", "ftruncate",
}  # fmt: skip


def test_only_fsops_makes_file_system_calls_in_the_store() -> None:
    wrong = []
    for path in sorted((ROOT / "store").rglob("*.py")):
        if path.name == "fsops.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            function = node.func
            if isinstance(function, ast.Name) and function.id == "open":
                wrong.append(f"{path.name}:{node.lineno} open()")
            elif (
                isinstance(function, ast.Attribute)
                and isinstance(function.value, ast.Name)
                and function.value.id in ("os", "shutil")
                and function.attr in FILE_CALLS
            ):
                wrong.append(f"{path.name}:{node.lineno} {function.value.id}.{function.attr}()")
    assert not wrong, wrong
