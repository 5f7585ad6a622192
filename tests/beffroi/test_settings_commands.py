"""What is set from the command line and asked for again: quotas, absences, where postmaster@ leads, held mail."""

from __future__ import annotations

import contextlib
import datetime
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from beffroi.cli.vacation import _shown
from delivery import absence
from tests.beffroi.commands import Done, forked, initialise

pytestmark = pytest.mark.timeout(400)  # each command is a process of its own

ADDRESS = "maire@brou.test"
Run = Callable[..., Done]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = initialise(tmp_path_factory.mktemp("settings") / "data")

    def command(*arguments: str, stdin: str = "") -> Done:
        return forked("--config", str(config), *arguments, stdin=stdin)

    for arguments in (
        ("organisation", "add", "Brou"),
        ("domain", "add", "brou.test", "--organisation", "Brou"),
        ("mailbox", "add", ADDRESS),
    ):
        assert command(*arguments).code == 0
    return command


def test_quotas_of_a_mailbox_and_of_its_commune(run: Run) -> None:
    assert run("mailbox", "quota", ADDRESS, "2G").code == 0
    assert run("mailbox", "list").out == f"{ADDRESS}\t\t{2 << 30}\tactive\n"
    assert run("mailbox", "quota", ADDRESS, "beaucoup").refusal
    assert run("mailbox", "quota", "personne@brou.test", "1G").refusal
    assert run("organisation", "quota", "Brou", "1G").code == 0
    shown = run("--json", "organisation", "quota", "Brou").json
    assert isinstance(shown, dict)
    assert shown["quota"] == 1 << 30
    assert run("organisation", "quota", "Personne").refusal


def test_a_domain_is_shown_with_what_it_holds(run: Run) -> None:
    shown = run("domain", "show", "brou.test", "--json").json
    assert isinstance(shown, dict)
    assert (shown["name"], shown["mailboxes"], shown["aliases"]) == ("brou.test", 1, 0)
    assert {(key["algorithm"], key["state"]) for key in shown["dkim_keys"]} == {
        ("rsa", "active"),
        ("ed25519", "active"),
    }
    assert run("domain", "show", "ailleurs.test").refusal


def test_an_absence_is_set_shown_and_taken_back(run: Run, tmp_path: Path) -> None:
    absent = ("mailbox", "vacation", ADDRESS)
    assert run(*absent).out == f"{ADDRESS}: no absence is set\n"
    file = tmp_path / "texte"
    file.write_text("Je suis absente.\n", encoding="utf-8")
    dates = ("--from", "2026-12-24", "--until", "2027-01-03")
    shown = run("--json", *absent, "--file", str(file), "--subject", "Absence", *dates).json
    assert isinstance(shown, dict)
    assert shown["vacation"]["text"] == "Je suis absente.\n"
    assert shown["vacation"]["subject"] == "Absence"
    assert [shown["vacation"][key][:16] for key in ("from", "until")] == ["2026-12-24T00:00", "2027-01-04T00:00"]
    assert run("--json", *absent).json == shown
    assert run(*absent, "--off").out == f"{ADDRESS}: no absence is set\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("absente",),
        ("absente", "--until", "demain"),
        ("absente", "--until", "9999-12-31"),
        ("absente", "--from", "2027-01-04", "--until", "2027-01-03"),
        ("x" * (absence.MAX_TEXT + 1), "--until", "2027-01-03"),
        ("absente", "--until", "2027-01-03", "--subject", "x" * (absence.MAX_SUBJECT + 1)),
        ("absente", "--until", "2027-01-03", "--subject", "a\r\nBcc: x@y.fr"),
        ("--file", "/nulle/part", "--until", "2027-01-03"),
    ],
)
def test_h066_what_cannot_be_a_notice_is_refused_in_one_line(run: Run, arguments: tuple[str, ...]) -> None:
    """Cause: a subject longer than the REST interface takes was kept, and answered there with 500."""
    assert run("mailbox", "vacation", ADDRESS, *arguments).refusal


@pytest.mark.parametrize(("length", "fits"), [(absence.MAX_TEXT, True), (absence.MAX_TEXT + 1, False)])
def test_the_text_of_a_notice_has_a_bound(length: int, fits: bool) -> None:
    assert absence.fits("x" * length, "x" * absence.MAX_SUBJECT) is fits
    assert not absence.fits("x", "x" * (absence.MAX_SUBJECT + 1))


def test_an_absence_until_the_end_of_the_calendar_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """REST takes it; here the hour of Paris was past the last year there is."""
    monkeypatch.setenv("TZ", "Europe/Paris")
    time.tzset()
    try:
        last = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC).timestamp()
        assert [_shown(at) for at in (0.0, last)] == ["1970-01-01T01:00+01:00", "9999-12-31T23:59+00:00"]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_locked_mailbox_is_shown_as_such_until_it_is_unlocked(
    run: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shown = run("mailbox", "show", ADDRESS, "--json").json
    assert isinstance(shown, dict)
    assert shown["sending_locked"] is False
    [file] = tmp_path_factory.getbasetemp().glob("settings[0-9]/data/queue/queue.db")
    with contextlib.closing(sqlite3.connect(file)) as queue, queue:  # no worker runs, so nobody's locks are broken
        queue.execute("INSERT INTO queue_sending VALUES (?, 1.0, 0.0, 0)", (shown["id"],))
    assert "sending_locked: True\n" in run("mailbox", "show", ADDRESS).out
    assert run("mailbox", "unlock", ADDRESS).out == f"{ADDRESS}: unlocked\n"
    assert "sending_locked: False\n" in run("mailbox", "show", ADDRESS).out


def test_a_mailbox_whose_sending_is_not_locked_has_nothing_to_unlock(run: Run) -> None:
    assert run("mailbox", "unlock", ADDRESS).code in (0, 1)
    assert run("mailbox", "unlock", ADDRESS).out == f"{ADDRESS}: not locked\n"
    assert run("mailbox", "unlock", "personne@brou.test").refusal


def test_where_postmaster_leads(run: Run) -> None:
    assert run("admin", "postmaster", ADDRESS).out == f"postmaster and abuse lead to {ADDRESS}\n"
    assert run("admin", "postmaster", "pas-une-adresse").refusal


@pytest.mark.parametrize(
    ("action", "done"), [("retry", "due now"), ("hold", "held"), ("release", "released"), ("drop", "dropped")]
)
def test_what_is_done_with_a_queue_in_which_nothing_waits(run: Run, action: str, done: str) -> None:
    assert run("queue", action, "--all").out == f"0 messages: {done}\n"
    assert run("queue", action, "nulle-part").refusal
    assert run("queue", action).code == 2
