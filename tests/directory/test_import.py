"""`mailbox import`: the file as spreadsheets write it, and each line judged by itself."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from argon2 import PasswordHasher

from core.log import Secret
from directory.boundary import Boundary
from directory.import_csv import ImportFileError, parse, read_rows
from directory.service import SqlDirectory
from directory.types import Actor, ImportResult, ImportRow, LoggedIn
from directory.work import Work
from tests.directory.helpers import CONSOLE, LOCAL, OPERATOR, admin_of, at, commune, mailbox

T = TypeVar("T")
HASH = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$" + "A" * 43


def rows(data: bytes) -> list[tuple[int, str, str, str, str]]:
    return [(r.line, r.address, r.password.reveal(), r.quota, r.display_name) for r in parse(data)]


async def imported(directory: SqlDirectory, lines: Sequence[ImportRow], *, dry_run: bool = False) -> list[ImportResult]:
    return [result async for result in directory.import_accounts(CONSOLE, lines, dry_run=dry_run)]


def test_the_plain_form() -> None:
    assert rows(b"a@b.test,secret,5G,Anne\nc@b.test,autre,,\n") == [
        (1, "a@b.test", "secret", "5G", "Anne"),
        (2, "c@b.test", "autre", "", ""),
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"address,password,quota,name\na@b.test,s e,1G,\xc3\x89lo\xc3\xafse\n",
        b"\xef\xbb\xbfadresse;mot de passe;quota;nom\r\na@b.test;s e;1G;\xc3\x89lo\xc3\xafse\r\n",
        b"adresse;mot de passe;quota;nom\r\na@b.test;s e;1G;\xc9lo\xefse\r\n",  # Windows-1252
        b'"E-Mail","x"\n"a@b.test","s e","1G","\xc3\x89lo\xc3\xafse"',
        b"\n\na@b.test;s e;1G;\xc3\x89lo\xc3\xafse;;\n",
    ],
)
def test_what_spreadsheets_write(data: bytes) -> None:
    assert [row[1:] for row in rows(data)] == [("a@b.test", "s e", "1G", "Éloïse")]


def test_hashes_have_commas_of_their_own() -> None:
    wanted = [("a@b.test", HASH, "1G", "Anne")]
    assert [row[1:] for row in rows(f"a@b.test,{HASH},1G,Anne".encode())] == wanted
    assert [row[1:] for row in rows(f'a@b.test,"{HASH}",1G,Anne'.encode())] == wanted
    assert [row[1:] for row in rows(f"a@b.test;{HASH};1G;Anne".encode())] == wanted


def test_separators_in_names_and_passwords() -> None:
    assert rows(b'a@b.test,"x,y""z;",,DUPONT, Anne')[0][2:] == ('x,y"z;', "", "DUPONT, Anne")
    assert rows(b"a@b.test, x ,,")[0][2] == " x "  # a password is taken as it is


def test_short_and_empty_lines() -> None:
    assert rows(b"a@b.test\n\n,,,\nc@b.test,pw") == [(1, "a@b.test", "", "", ""), (4, "c@b.test", "pw", "", "")]
    assert rows(b"") == rows(b"\n\n") == rows(b"address,password\n") == []


def test_a_broken_line_after_the_first_is_a_row_and_no_header() -> None:
    assert rows(b"a@b.test,x\naddress,y")[1][1] == "address"


def test_a_broken_first_line_is_a_row_too() -> None:
    assert rows(b"anne,x\na@b.test,x")[0][:2] == (1, "anne")


@pytest.mark.parametrize("data", [b'a@b.test,"open', b"\xff\xfea\0@\0", b"a@b.test,x\0y", b"a" * 200_000])
def test_files_that_are_no_csv(data: bytes) -> None:
    with pytest.raises(ImportFileError, match=r"^line \d+: "):
        rows(data)


def test_the_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("directory.import_csv.MAX_FILE", 100)
    monkeypatch.setattr("directory.import_csv.MAX_ROWS", 3)
    path = tmp_path / "a.csv"
    path.write_bytes(b"address,password\n" + b"a@b.test,x\n" * 3)
    assert len(read_rows(path)) == 3
    path.write_bytes(b"address,password\n" + b"a@b.test,x\n" * 4)
    with pytest.raises(ImportFileError, match="more than 3 rows"):
        read_rows(path)
    path.write_bytes(b"a@b.test," + b"x" * 92)
    with pytest.raises(ImportFileError, match="larger"):
        read_rows(path)


async def test_each_line_is_judged_by_itself(both: SqlDirectory) -> None:
    await commune(both, "Brou", "brou.test")
    await mailbox(both, "taken@brou.test")
    await both.add_alias(OPERATOR, at("alias@brou.test"), [at("x@y.test")])
    lines = [
        ImportRow(1, "Anne@brou.test", Secret("trois petits chats gris"), "5G", "Anne"),
        ImportRow(2, "paul@brou.test", Secret("court")),
        ImportRow(3, "hash@brou.test", Secret("{ARGON2ID}" + HASH)),
        ImportRow(4, "anne@brou.test", Secret("trois petits chats gris")),
        ImportRow(5, "taken@brou.test", Secret("trois petits chats gris")),
        ImportRow(6, "alias@brou.test", Secret("trois petits chats gris")),
        ImportRow(7, "not an address", Secret("trois petits chats gris")),
        ImportRow(8, "a+b@brou.test", Secret("trois petits chats gris")),
        ImportRow(9, "x@elsewhere.test", Secret("trois petits chats gris")),
        ImportRow(10, "y@brou.test", Secret("")),
        ImportRow(11, "y@brou.test", Secret("$argon2id$v=19$m=1,t=2,p=1$x$y")),
        ImportRow(12, "y@brou.test", Secret("{SSHA}abcdef")),
        ImportRow(13, "y@brou.test", Secret("$2y$10$abcdefghijklmnopqrstuv")),
        ImportRow(14, "y@brou.test", Secret("x" * 257)),
        ImportRow(15, "y@brou.test", Secret("trois petits chats gris"), "beaucoup"),
        ImportRow(16, "y@brou.test", Secret("trois petits chats gris"), "-1"),
        ImportRow(17, "y@brou.test", Secret("trois petits chats gris"), "", "a\x07b"),
        ImportRow(18, "y@brou.test", Secret("trois petits chats gris")),
    ]
    expected = [
        ("", ""),
        ("", "weak-password"),
        ("", ""),
        *[("address-taken", "")] * 3,
        *[("invalid-address", "")] * 2,
        ("unknown-domain", ""),
        ("missing-password", ""),
        *[("invalid-hash", "")] * 3,
        ("invalid-password", ""),
        *[("invalid-quota", "")] * 2,
        ("invalid-name", ""),
        ("", ""),
    ]
    dry = await imported(both, lines, dry_run=True)
    assert [(result.error, result.warning) for result in dry] == expected
    assert [str(account.address) for account in await both.accounts(OPERATOR)] == ["taken@brou.test"]
    done = await imported(both, lines)
    assert done == dry
    assert [result.line for result in done] == list(range(1, 19))
    anne = await both.account(OPERATOR, at("anne@brou.test"))
    assert (anne.quota, anne.display_name, str(anne.address)) == (5 * 2**30, "Anne", "Anne@brou.test")
    for address, password in (("anne@brou.test", "trois petits chats gris"), ("paul@brou.test", "court")):
        assert isinstance(await both.login(address, Secret(password), protocol="imap", remote=LOCAL), LoggedIn)
    again = await imported(both, lines)
    assert not [result for result in again if not result.error]


async def test_another_communes_domain_is_unknown_to_an_importing_administrator(directory: SqlDirectory) -> None:
    brou = await commune(directory, "Brou", "brou.test")
    await commune(directory, "Vert", "vert.test")
    lines = [ImportRow(n, f"a@{name}.test", Secret(HASH)) for n, name in enumerate(("brou", "vert", "nulle"))]
    results = [result.error async for result in directory.import_accounts(admin_of(brou), lines, dry_run=False)]
    assert results == ["", "unknown-domain", "unknown-domain"]


async def test_no_clear_password_reaches_the_disk(directory: SqlDirectory, sqlite_url: str) -> None:
    await commune(directory, "Brou", "brou.test")
    lines = [ImportRow(1, "anne@brou.test", Secret("mot-tres-reconnaissable"))]
    assert (await imported(directory, lines))[0].error == ""
    folder = Path(sqlite_url.removeprefix("sqlite:///")).parent
    stored = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"anne@brou.test" in stored
    assert b"reconnaissable" not in stored


async def test_a_race_for_an_address_costs_that_line_only(both: SqlDirectory) -> None:
    await commune(both, "Brou", "brou.test")
    lines = [ImportRow(n, f"u{n}@brou.test", Secret(HASH)) for n in range(300)]
    results: list[ImportResult] = []
    async for result in both.import_accounts(CONSOLE, lines, dry_run=False):
        if not results:
            await mailbox(both, "u299@brou.test")
        results.append(result)
    assert [result.line for result in results if result.error] == [299]
    assert len(await both.accounts(OPERATOR)) == 300


async def test_thousands_of_hashes_go_in_quickly(both: SqlDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 in 10 s is the promise: by what they cost this process, whoever else has the machine, and by how often the
    disk is waited for."""
    await commune(both, "Brou", "brou.test")
    real = Boundary.write
    commits: list[Actor] = []

    async def noted(boundary: Boundary, actor: Actor, operation: Callable[[Work], Awaitable[T]]) -> T:
        commits.append(actor)
        return await real(boundary, actor, operation)

    monkeypatch.setattr(Boundary, "write", noted)
    lines = [ImportRow(n, f"u{n}@brou.test", Secret(HASH)) for n in range(1000)]
    begin = time.process_time()
    assert not [result for result in await imported(both, lines) if result.error]
    assert time.process_time() - begin < 1.0
    assert len(commits) == 4


async def test_clear_passwords_are_hashed_with_the_houses_parameters(directory: SqlDirectory, sqlite_url: str) -> None:
    await commune(directory, "Brou", "brou.test")
    await imported(directory, [ImportRow(1, "anne@brou.test", Secret("trois petits chats gris"))])
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as connection:
        (stored,) = connection.execute("SELECT secret_hash FROM credential").fetchone()
    connection.close()
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert PasswordHasher().verify(stored, "trois petits chats gris")
