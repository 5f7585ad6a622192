"""What the documents name exists: commands, make targets and their parts, keys, modules, routes, files."""

from __future__ import annotations

import importlib
import re
from functools import cache
from pathlib import Path

import pytest

from admin_api.app import ROUTERS
from beffroi.cli.app import FAMILIES
from benchmarks.__main__ import BENCHMARKS
from core.config import Config, Limits
from tests.house.test_imports import PACKAGES
from tests.house.test_operations import commands
from tests.torture.__main__ import PARTS

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))
PAGES = pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.name)
PROPERTIES = ("smtp.helo", "smtp.mailfrom")  # of Authentication-Results, RFC 8601 2.7
BLOCK = re.compile(r"^```\n(.*?)^```", re.MULTILINE | re.DOTALL)


@cache
def said(page: Path) -> tuple[str, ...]:
    """What stands between backquotes, and the lines of blocks."""
    text = page.read_text(encoding="utf-8")
    lines = [line.strip() for block in BLOCK.findall(text) for line in block.splitlines()]
    return (*re.findall(r"`([^`]+)`", BLOCK.sub("", text)), *lines)


@PAGES
def test_commands(page: Path) -> None:
    """`beffroi queue list`, `queue list`; a family may stand alone."""
    families = {name for name, _ in FAMILIES}
    known = commands() | families
    for text in said(page):
        words = text.split()
        ours = words[:1] == ["beffroi"] and words[1:2] != [] and words[1].isalpha()
        words = words[1:] if ours else words if words[1:] and words[0] in families else []
        pair = [word for word in words[:2] if re.fullmatch(r"[a-z][a-z-]*", word)]
        assert not pair or " ".join(pair) in known or pair[0] in known - families, text


@PAGES
def test_make(page: Path) -> None:
    """Targets are the Makefile's, what goes to `bench` and `torture` is theirs."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    parts = {"bench": set(BENCHMARKS), "torture": {*PARTS, "all"}}
    for text in said(page):
        if match := re.match(r"make ([a-z]+)(?: ARGS=\"?([^\"#]*))?", text):
            assert match[1] in targets, text
            words = re.findall(r"(?<![-\w])[a-z]+(?![-\w])", match[2] or "")
            assert not words or words[0] in parts[match[1]], text


def _is_key(name: str) -> bool:
    """`delivery.routes`, `limits.folders`: a section and one of its keys."""
    section, _, key = name.partition(".")
    field = Config.model_fields.get(section)
    fields = getattr(field.annotation, "model_fields", {}) if field else {}
    return key in fields


def _is_object(name: str) -> bool:
    """`core.tally`, `store.store.Store`: a module, or what is in one."""
    for depth in range(name.count(".") + 1, 0, -1):
        path, rest = name.split(".")[:depth], name.split(".")[depth:]
        try:
            found: object = importlib.import_module(".".join(path))
        except ModuleNotFoundError:
            continue
        for each in rest:
            if not hasattr(found, each):
                return False
            found = getattr(found, each)
        return True
    return False


@PAGES
def test_keys_and_modules(page: Path) -> None:
    for text in said(page):
        match = re.fullmatch(r"([a-z_]+)\.([a-z_0-9]+(?:\.\w+)*)(?: = .*)?", text)
        if match is None or text in PROPERTIES or match[2] in ("db", "py", "md", "toml", "txt", "json", "lock"):
            continue
        if match[1] in Config.model_fields or match[1] in PACKAGES:
            name = f"{match[1]}.{match[2]}"
            assert _is_key(name) or _is_object(name), text


def test_what_stands_as_a_key_on_the_page_of_limits_is_one() -> None:
    rows = re.findall(r"^\| (`[^|]+) \|", (ROOT / "docs/limits.md").read_text(encoding="utf-8"), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}
    assert named == set(Limits.model_fields)


@PAGES
def test_routes(page: Path) -> None:
    """`PATCH /v1/organisations/NAME`: a path of the REST interface, whatever stands for its parameters."""
    paths = {f"/v1{route.path}" for router in ROUTERS for route in router.routes if hasattr(route, "path")}
    shapes = [re.compile(re.sub(r"\{\w+\}", r"[^/]+", path)) for path in paths]
    for text in said(page):
        for path in set(re.findall(r"(/v1/[^\s\"]+)", text)) - {"/v1/openapi.json", "/v1/…"}:
            assert any(shape.fullmatch(path) for shape in shapes), text


@PAGES
def test_files(page: Path) -> None:
    """From the root of the repository; from tests/ or tests/torture/ where the page tells of tests."""
    for text in said(page):
        if re.fullmatch(r"[\w.-]+(?:/[\w.-]+)+\.(?:py|md|service|sh|txt)(?:::\w+)?", text):
            path = text.split("::")[0]
            assert any((ROOT / below / path).exists() for below in ("", "tests", "tests/torture")), text
