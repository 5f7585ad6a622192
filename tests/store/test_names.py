"""Names on disk: nothing a person types becomes a path."""

from __future__ import annotations

import pytest

from core.errors import InvalidError
from store import names
from store.names import FileName
from store.types import Flag


@pytest.mark.parametrize(
    ("local", "directory"),
    [
        ("maire", "maire"),
        ("marie.dupont", "marie.dupont"),
        ("..", "%2E."),
        ("-rf", "%2Drf"),
        ("a/b", "a%2Fb"),
        ("élus", "%C3%A9lus"),
        ("index", "inde%78"),
        ("a%2Fb", "a%252Fb"),
        ("nul\0", "nul%00"),
    ],
)
def test_h111_local_parts_become_safe_directory_names(local: str, directory: str) -> None:
    assert names.account_directory(local) == directory
    assert names.account_local(directory) == local


def test_h111_a_local_part_too_long_for_a_directory_is_refused() -> None:
    with pytest.raises(InvalidError):
        names.account_directory("é" * 40)
    with pytest.raises(InvalidError):
        names.account_directory("")


@pytest.mark.parametrize(
    "name",
    [
        "../../other",
        "a/../../b",
        ".",
        "..",
        "/etc/passwd",
        "a//b",
        "a/",
        "",
        "a\0b",
        "a\rb",
        "a\nb",
        " a",
        "x" * 4096,
        "/".join("x" * 200),
        "a\x85b",
        "\ud800",
        "a\u2028b",
    ],
)
def test_h097_folder_names_out_of_bounds_are_refused(name: str) -> None:
    with pytest.raises(InvalidError):
        names.folder_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "cur",
        "new",
        "tmp",
        "~root",
        ".hidden",
        "a.b",
        "a%2Fb",
        "․․／",
        "Élus/Séance du 3",
        "index",
        "#x",
        "x" * 190,
        "new/x",
        "new/0123456789abcdefghjk",
    ],
)
def test_h097_odd_but_harmless_folder_names_stay_themselves(name: str) -> None:
    directory = names.folder_directory(names.folder_name(name), "id")
    assert directory.startswith(".")
    assert "/" not in directory
    assert directory not in (".", "..")
    assert "index" not in directory
    assert not names.being_made(directory)
    assert directory.isascii()
    assert names.directory_folder(directory) == names.folder_name(name)


def test_inbox_is_inbox_in_any_case_and_names_are_nfc() -> None:
    assert names.folder_name("inBox") == "INBOX"
    assert names.folder_name("inbox/Élus") == "INBOX/Élus"
    assert names.folder_name("E\u0301lus") == "\u00c9lus"


def test_long_folder_names_live_under_their_id() -> None:
    assert names.folder_directory("é" * 60, "abc") == ".#abc"
    assert names.directory_folder(".#abc") is None


def test_a_file_name_tells_uid_size_and_flags_and_comes_back() -> None:
    made = FileName(1_790_000_000, "dabc", 7, 4096, int(Flag.SEEN | Flag.FLAGGED | Flag.DRAFT), 0b101)
    assert str(made) == "1790000000.Mdabc.beffroi,U=7,S=4096:2,DFSac"
    assert names.parse(str(made)) == made


@pytest.mark.parametrize(
    "name",
    [
        "1790000000.M1P2.host,S=5:2,S",
        "1790000000.Mdabc.beffroi,U=0,S=1:2,",
        "1790000000.Mdabc.beffroi,U=4294967296,S=1:2,",
        "1790000000.Mdabc.beffroi,U=1,S=1",
        "x" * 255,
        "",
    ],
)
def test_f110_foreign_file_names_are_told_apart(name: str) -> None:
    assert names.parse(name) is None


def test_letters_we_do_not_know_survive_a_flag_change() -> None:
    name = "1790000000.Mdabc.beffroi,U=7,S=4096:2,PS"
    assert names.with_letters(name, int(Flag.FLAGGED), 1) == "1790000000.Mdabc.beffroi,U=7,S=4096:2,FPa"


def test_f145_the_same_delivery_makes_the_same_unique_part() -> None:
    one = names.delivery_unique("q1 maire@mairie.test")
    assert one == names.delivery_unique("q1 maire@mairie.test")
    assert one != names.delivery_unique("q2 maire@mairie.test")
    assert names.is_delivery(one)
    assert not names.is_delivery(names.fresh_unique("abc"))
