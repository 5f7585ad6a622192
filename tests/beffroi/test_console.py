"""What the command line prints, whatever strangers and files put into it (promise P9)."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from beffroi import ailments, status
from beffroi.ailments import Disk
from beffroi.cli.console import Console, printable, refuse
from core.config import Config
from core.errors import TemporaryError

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


WELL = Disk(read_only=False, octets=1, files=1)
AWAY = TemporaryError("database unavailable", code="database-unavailable", cause="attempt to write a readonly database")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config.model_validate({"hostname": "mx.dept.test", "data": str(tmp_path)})


@pytest.mark.parametrize(
    ("disk", "told"),
    [
        (Disk(read_only=True, octets=0, files=0), "the disk of {data} is read-only: see the kernel's log"),
        (Disk(read_only=False, octets=0, files=None), "the disk of {data} is full: make room"),
        (Disk(read_only=False, octets=1, files=0), "the disk of {data} has no inodes left"),
        (WELL, "attempt to write a readonly database"),  # the driver's own words where nothing else is seen
    ],
)
def test_f149_f151_a_refusal_names_the_disk_and_what_to_do(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], disk: Disk, told: str
) -> None:
    """ "database unavailable" was all that was said on a disk that the kernel had made read-only."""
    monkeypatch.setattr(ailments.ailments, "__defaults__", (lambda path: disk,))
    with pytest.raises(SystemExit) as ended:
        refuse(AWAY, config)
    (line,) = output(capsys).splitlines()
    assert line.startswith(f"beffroi: database unavailable; {told.format(data=config.data)}")
    assert ended.value.code == 1


def test_files_that_are_closed_to_the_suite_are_named_with_their_owner(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    (config.data / "queue").mkdir()
    path = config.data / "queue/queue.db"
    path.write_bytes(b"")
    os.chown(path, 4_000_000, -1)
    assert ailments.ailments(config, lambda _: WELL) == []
    monkeypatch.setattr(os, "access", lambda name, mode: name != path)  # root may use everything
    (told,) = ailments.ailments(config, lambda _: WELL)
    assert told.startswith(f"{path} is closed to ")
    assert told.endswith("(it belongs to user number 4000000): chown it")


def test_f170_a_disk_that_refuses_and_says_nothing_of_it_is_read_only(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ext4 after an error, to `statvfs` of Linux 6.18: `check-config` had nothing to say, and `status` was content."""
    assert ailments.of_the_disk(config) == []
    real, asked = os.open, list[str]()

    def refusing(path: str, flags: int, *arguments: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            asked.append(path)
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, flags, *arguments)

    monkeypatch.setattr(os, "open", refusing)
    monkeypatch.setattr(status, "running_pid", lambda _: 1)
    monkeypatch.setattr(status, "_asked", lambda *_: [])
    (told,) = ailments.of_the_disk(config)
    assert told.startswith(f"the disk of {config.data} is read-only: ")
    assert status.report(config).ailments == (told,)
    assert not status.report(config).well
    monkeypatch.setattr(os, "open", real)
    assert status.report(config).well
    assert [Path(path) for path in asked] == [config.data] * 3
    assert not list(config.data.glob("#*"))


def test_a_missing_disk_is_told(config: Config) -> None:
    gone = config.model_copy(update={"data": config.data / "absent"})
    assert ailments.ailments(gone) == [f"{gone.data}: No such file or directory (is the disk mounted?)"]


def test_an_error_of_the_system_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """`backup` into a directory of another user was answered with a traceback."""
    with pytest.raises(SystemExit):
        refuse(PermissionError(errno.EACCES, "Permission denied", "/srv/backup"))
    assert output(capsys) == "beffroi: /srv/backup: Permission denied\n"
