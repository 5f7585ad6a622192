"""Documents that bind operators say what the code says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from core.config import Limits
from tests.peers.process import program

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("key", sorted(Limits.model_fields))
def test_every_limit_is_documented_with_its_default(key: str) -> None:
    rows = [line for line in (ROOT / "docs/limits.md").read_text().splitlines() if f"`{key}`" in line]
    assert len(rows) == 1, f"{key}: {len(rows)} rows in docs/limits.md"
    default = Limits.model_fields[key].default
    shown = "none" if default == [] else f"{default:g}" if isinstance(default, float) else str(default)
    assert re.search(rf"(^|[^0-9]){re.escape(shown)}([^0-9]|$)", rows[0].split("|", 2)[2]), rows[0]


def test_the_readme_names_the_two_doors() -> None:
    text = (ROOT / "README.md").read_text()
    assert "make run" in text
    assert "make test" in text


def test_links_between_documents_lead_somewhere() -> None:
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_the_service_unit_is_valid_and_sandboxed(tmp_path: Path) -> None:
    unit = tmp_path / "beffroi.service"
    text = (ROOT / "deploy/beffroi.service").read_text()
    unit.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", text))
    analyze = program("systemd-analyze", "systemd")
    verified = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True)
    assert str(unit) not in verified.stderr, verified.stderr
    judged = subprocess.run([analyze, "security", "--offline=true", str(unit)], capture_output=True, text=True)
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", judged.stdout)
    assert exposure, judged.stderr
    assert float(exposure[1]) <= 2.0
