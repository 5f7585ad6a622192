"""Passwords as people type them: spellings, spaces, scripts, lengths (RFC 8265; security.md row 115)."""

from __future__ import annotations

import pytest

from core.errors import InvalidError
from core.log import Secret
from directory.passwords import DUMMY
from directory.service import SqlDirectory
from directory.types import LoggedIn
from tests.directory.desk import ANNE, BAD, PAUL, Desk, stored
from tests.directory.helpers import OPERATOR, at


@pytest.mark.parametrize("password", ["", "\0", "x" * 257, "é" * 129, "x" * 1_048_576, "a\ud800b", "ab\0c"])
async def test_h115_passwords_that_cannot_be_are_refused_without_a_hash(desk: Desk, password: str) -> None:
    assert await desk.try_(ANNE, password) == BAD
    assert desk.hashed == []


async def test_h115_two_spellings_of_one_password_are_one(desk: Desk, directory: SqlDirectory) -> None:
    await directory.set_password(OPERATOR, at(ANNE), Secret("été à la mer bleue"))
    assert isinstance(await desk.try_(ANNE, "e\u0301te\u0301 a\u0300 la mer bleue"), LoggedIn)


async def test_every_space_is_the_space_bars(desk: Desk, directory: SqlDirectory) -> None:
    """RFC 8265 4.2.2: French typography and telephones put other spaces where people see one."""
    await directory.set_password(OPERATOR, at(ANNE), Secret("vive la Commune\u00a0!"))
    for space in (" ", "\u00a0", "\u202f", "\u3000"):
        assert isinstance(await desk.try_(ANNE, f"vive la Commune{space}!"), LoggedIn)
    assert await desk.try_(ANNE, "vive la Commune!") == BAD
    assert await desk.try_(ANNE, "vive la commune !") == BAD  # no case mapping


async def test_what_matched_before_spaces_became_one_still_matches_and_is_hashed_anew(
    desk: Desk, directory: SqlDirectory
) -> None:
    """A password stored under an older release, which kept the no-break space."""
    old, plain = "vive la Commune\u00a0!", "vive la Commune !"
    await stored(directory, old)
    assert await desk.try_(PAUL, "vive la Commune ?") == BAD
    assert await desk.try_(PAUL, plain) == BAD
    assert isinstance(await desk.try_(PAUL, old), LoggedIn)
    assert isinstance(await desk.try_(PAUL, plain), LoggedIn)
    assert isinstance(await desk.try_(PAUL, plain, protocol="smtp"), LoggedIn), "by the new hash, not by what is kept"
    assert await desk.try_("nobody@brou.test", old) == BAD
    assert desk.hashed[-2:] == [DUMMY, DUMMY], "as long as for a known one (row 55)"


@pytest.mark.parametrize("odd", ["\x07", "\x7f", "\u2028", "\u200b", "\ufe0f", "\ue000", "\u0378", "\u0640"], ids=ascii)
async def test_a_new_password_has_no_character_that_nobody_sees(desk: Desk, directory: SqlDirectory, odd: str) -> None:
    """RFC 8265 4.2.1; one that an older release stored still opens."""
    with pytest.raises(InvalidError):
        await directory.set_password(OPERATOR, at(ANNE), Secret(f"vive la Commune{odd}"))
    await stored(directory, f"vive la Commune{odd}")
    assert isinstance(await desk.try_(PAUL, f"vive la Commune{odd}"), LoggedIn)


async def test_a_new_password_may_be_written_in_any_script(desk: Desk, directory: SqlDirectory) -> None:
    for text in (
        "Ça va, agent·e·s ?",
        "Ⅷ ﬁn ½ de l’été…",
        "パスワード全角ＡＢ、長い方",
        "👩\u200d🚒 pompière 🚒",
        "שלום עולם שלום",
    ):
        await directory.set_password(OPERATOR, at(ANNE), Secret(text))
        assert isinstance(await desk.try_(ANNE, text), LoggedIn)


async def test_a_password_of_256_octets_will_do(desk: Desk, directory: SqlDirectory) -> None:
    long = "é" * 120 + "0123456789abcdef"
    assert len(long.encode()) == 256
    await directory.set_password(OPERATOR, at(ANNE), Secret(long))
    assert isinstance(await desk.try_(ANNE, long), LoggedIn)
    with pytest.raises(InvalidError):
        await directory.set_password(OPERATOR, at(ANNE), Secret(long + "x"))
