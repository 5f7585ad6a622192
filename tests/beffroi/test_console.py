"""What the command line prints, whatever strangers and files put into it (promise P9)."""

from __future__ import annotations

import json

import pytest

from beffroi.cli.console import Console, printable, refuse

HOSTILE = "a\x1b[31m\x9b2J\u202egro.live\r\0b"


def output(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    return out + err


def clean(text: str) -> bool:
    return all(c.isprintable() or c in "\n\t" for c in text)


@pytest.mark.parametrize("as_json", [False, True])
def test_p9_answers_and_tables_carry_no_control_character(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(json=as_json)
    console.answer({"é": HOSTILE}, f"é {HOSTILE}")
    answered = output(capsys)
    console.table([{"x": HOSTILE, "y": [HOSTILE, "b\nc"], "z": None}], ("x", "y", "z"))
    table = output(capsys)
    console.warn(HOSTILE)
    assert clean(answered + table + output(capsys))
    assert "é" in answered
    assert table.count("\n") == 1
    if as_json:
        assert json.loads(answered) == {"é": HOSTILE}


def test_p9_refusals_carry_no_control_character(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        refuse(f"x: {HOSTILE}")
    assert clean(output(capsys))


def test_lines_stay_lines() -> None:
    assert printable("a\nb\té\r") == "a\nb\té?"
