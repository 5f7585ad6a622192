"""Text search: whatever the text index knows, does not know, or has lost, the answer is what reading every message
gives. And the index is what answers, once it is filled."""

from __future__ import annotations

import asyncio
import random
import re
from functools import cache
from pathlib import Path

import apsw
import pytest

from core.clock import ManualClock
from core.config import Limits
from message import text
from message.content import BytesContent
from store.search import fill, scan, textfile
from store.service import MaildirStore
from store.store import Mailbox
from store.types import Flag, Placement
from tests.store.helpers import MAIRIE, WHOLE, by_hand, cur, inbox_of

WORDS = "délibération Élus élus maire mairie permis construire l’école œuvre straße a380 naïve où de la un 2026".split()
ODD = ["x7f9k2m4q8w1z5", "AbCdEfGhIjKlMnOpQrStUvWxYz", "0123456789012345", "k" * 40]


def made(source: random.Random, number: int) -> bytes:
    """Plain, HTML, base64, quoted-printable, attachments with names, messages inside."""
    chosen = source.choices(WORDS, k=12) + source.choices(ODD, k=source.choice((0, 0, 1)))
    body = "".join(word + source.choice([" ", " ", ", ", "\r\n", "-"]) for word in chosen)
    head = f"Subject: =?utf-8?q?Objet_{'=C3=A9lu' if number % 3 else 'avis'}?=\r\nX-Odd: {source.choice(ODD)}\r\n"
    head += f"Message-ID: <{number}.{source.randrange(10**9)}@exemple.test>\r\nMIME-Version: 1.0\r\n"
    match number % 4:
        case 0:
            return (head + "Content-Type: text/plain; charset=utf-8\r\n\r\n" + body).encode()
        case 1:
            html = "".join(f"<b>{char}</b>" if char == "m" else char for char in body).replace("é", "&eacute;")
            return (head + "Content-Type: text/html; charset=utf-8\r\n\r\n<style>caché</style>" + html).encode()
        case 2:
            latin = body.replace("’", "'").replace("œ", "oe").encode("latin-1", "replace").replace(b"\xe9", b"=E9")
            kind = (
                b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
            )
            return head.encode() + kind + latin.replace(b"\xc9", b"=C9").replace(b"\xfb", b"=FB")
        case _:
            return (
                head
                + 'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8'
                f"\r\n\r\n{body}\r\n--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment;"
                ' filename="plan-élus.pdf"\r\n\r\nJVBERi\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n'
                f"Subject: dedans {source.choice(WORDS)}\r\n\r\n{source.choice(WORDS)}\r\n--b--\r\n"
            ).encode()


MESSAGES = [made(random.Random(number), number) for number in range(24)]


@cache
def patterns() -> list[str]:
    """Parts of the texts themselves, words, and what is nowhere."""
    source, found = random.Random(7), ["", "zzz", "plan-elus.pdf", "ELU", "caché", "de la", "é", "5", "pdf", "strasse"]
    for message in MESSAGES:
        whole = " ".join(piece.text for piece in text.pieces(BytesContent(message)))
        start = source.randrange(len(whole))
        found += [whole[start : start + source.randrange(1, 12)], source.choice(WORDS + ODD)[: source.randrange(2, 9)]]
    return [*dict.fromkeys(found)]


@cache
def holds(raw: bytes, pattern: str, body_only: bool) -> bool:
    return text.contains(BytesContent(raw), pattern, body_only=body_only)


def expected(pattern: str, body_only: bool, messages: dict[int, bytes]) -> list[int]:
    return [uid for uid, raw in messages.items() if holds(raw, pattern, body_only)]


async def check(inbox: Mailbox, messages: dict[int, bytes], some: int = 1) -> None:
    for pattern in patterns()[::some]:
        for body_only in (False, True):
            found = await inbox.search_text(WHOLE, pattern, body_only=body_only)
            assert found == expected(pattern, body_only, messages), (pattern, body_only)


async def put(store: MaildirStore, messages: list[bytes]) -> None:
    await (await store.account(MAIRIE)).append([(BytesContent(message), Placement()) for message in messages])


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many messages were looked at, turn by turn."""
    counts: list[int] = []
    real = scan.matching

    def counting(handle: object, directory: str, candidates: list[tuple[int, str]], question: scan.Question) -> object:
        counts.append(len(candidates))
        return real(handle, directory, candidates, question)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(scan, "matching", counting)
    return counts


@pytest.fixture
async def filled(store: MaildirStore) -> MaildirStore:
    await put(store, MESSAGES)
    await store.fill_text(None)
    return store


ALL = dict(enumerate(MESSAGES, 1))


async def test_the_answer_is_the_same_without_and_with_the_index(store: MaildirStore, reads: list[int]) -> None:
    await put(store, MESSAGES)
    inbox = await inbox_of(store)
    await check(inbox, ALL, some=4)
    before = sum(reads)
    await store.fill_text(None)
    reads.clear()
    await check(inbox, ALL)
    assert sum(reads) < before * 3  # four times as much was asked, much of it of one or two letters


async def test_h100_a_word_is_answered_without_opening_a_message(filled: MaildirStore, reads: list[int]) -> None:
    inbox = await inbox_of(filled)
    for word in ("construire", "HELENE", "libera", "a380", "2026", "elus.pdf"):
        reads.clear()
        assert await inbox.search_text(WHOLE, word, body_only=False) == expected(word, False, ALL)
        assert sum(reads) == (6 if "." in word else 0)  # two words: candidates are looked at


async def test_words_that_are_alike_come_from_the_vocabulary(store: MaildirStore) -> None:
    await put(store, MESSAGES)
    inbox = await inbox_of(store)
    assert await inbox.similar_words("marie", 3) == ()  # nothing is indexed yet
    await store.fill_text(None)
    assert [word for word, _ in await inbox.similar_words("marie", 3)] == ["mairie", "maire"]
    assert {word for word, _ in await inbox.similar_words("constuire", 3)} == {"construire"}
    assert await inbox.similar_words("zzzzzz", 3) == ()
    assert await inbox.similar_words("le", 3) == ()


async def test_names_of_fields_and_mime_header_fields_are_found_by_text_alone(
    filled: MaildirStore, reads: list[int]
) -> None:
    inbox = await inbox_of(filled)
    for word in ("message", "odd", "boundary", "disposition", "charset", "subject"):
        assert await inbox.search_text(WHOLE, word, body_only=False) == expected(word, False, ALL) != []
        assert await inbox.search_text(WHOLE, word, body_only=True) == expected(word, True, ALL)
        assert sum(reads) == 0
    assert await inbox.search_text(WHOLE, "transfer-encoding: quoted", body_only=False) == [3, 7, 11, 15, 19, 23]
    assert sum(reads) == 6


async def test_only_what_was_asked_about_is_told(filled: MaildirStore) -> None:
    inbox, ranges = await inbox_of(filled), [(2, 3), (7, 7), (20, 99)]
    asked = {uid: raw for uid, raw in ALL.items() if uid in (2, 3, 7) or uid >= 20}
    for pattern in ("maire", "de", "zzz", "plan-elus"):
        assert await inbox.search_text(ranges, pattern, body_only=True) == expected(pattern, True, asked)


async def test_an_odd_word_is_found_by_its_pieces(filled: MaildirStore, reads: list[int]) -> None:
    found = await (await inbox_of(filled)).search_text(WHOLE, "9k2m4Q8w", body_only=True)
    assert found == expected("9k2m4q8w", True, ALL) != []
    assert sum(reads) == len(found)


async def test_messages_that_come_go_and_move_meanwhile(filled: MaildirStore) -> None:
    inbox, messages = await inbox_of(filled), dict(ALL)
    await inbox.expunge([(2, 4)], only_deleted=False)
    await inbox.move([(7, 9)], "Archive")
    await put(filled, MESSAGES[:2])
    messages = {uid: raw for uid, raw in messages.items() if uid not in (2, 3, 4, 7, 8, 9)}
    messages |= {len(MESSAGES) + 1: MESSAGES[0], len(MESSAGES) + 2: MESSAGES[1]}
    for _ in range(2):
        await check(inbox, messages, some=7)
        await check(await inbox_of(filled, name="Archive"), {uid - 6: ALL[uid] for uid in (7, 8, 9)}, some=7)
        await filled.fill_text(None)


def places(data: Path) -> tuple[object, ...]:
    path = str(data / "domains/mairie.test/maire/index-text.db")
    database = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)
    database.set_busy_timeout(10_000)  # milliseconds; the stores write to it meanwhile, or open it
    counts = [database.execute(f"SELECT count(*) FROM {name}").fetchall()[0][0] for name in ("places", "docs", "text")]
    database.close()
    return tuple(counts)


async def test_expunged_messages_leave_the_text_index_moved_ones_are_not_read_again(
    filled: MaildirStore, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert places(data) == (24, 24, 24)
    inbox = await inbox_of(filled)
    await inbox.copy([(1, 2)], "Sent")
    await inbox.move([(5, 6)], "Archive")
    await inbox.expunge([(1, 1), (3, 3)], only_deleted=False)
    monkeypatch.setattr(fill, "_read", None)  # reading would be an error
    await filled.fill_text(None)
    assert places(data) == (24, 23, 23)  # 3 is gone; 1 lives on in Sent


async def test_a_vocabulary_of_the_gone_is_made_again(
    filled: MaildirStore, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fill, "_FORGET_LEAST", 3)
    inbox = await inbox_of(filled)
    await inbox.expunge([(1, 20)], only_deleted=False)
    await filled.fill_text(None)
    assert places(data) == (4, 4, 4)
    await check(inbox, {uid: ALL[uid] for uid in range(21, 25)}, some=9)


@pytest.mark.parametrize(
    ("version", "event"),
    [
        (textfile.VERSION - 1, "info     [] store-text-made-again"),
        (textfile.VERSION + 1, "info     [] store-text-made-again"),
        (0, "warning  [] store-text-damaged"),
    ],
)
async def test_a_text_index_of_another_version_is_made_again_without_a_warning(
    filled: MaildirStore, data: Path, version: int, event: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """After an upgrade each account's index warned of damage."""
    database = apsw.Connection(str(data / "domains/mairie.test/maire/index-text.db"))
    database.execute(f"PRAGMA user_version = {version}")
    database.close()
    await filled.fill_text(None)
    told = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert re.findall(r"\[(\w+ *)\] (store-text-[a-z-]+)", told) == [tuple(event.split("[] "))]
    assert places(data) == (24, 24, 24)
    await check(await inbox_of(filled), ALL, some=9)


@pytest.mark.parametrize("damage", ["gone", "torn", "noise", "link", "empty", "older"])
async def test_f157_the_text_index_may_be_lost_or_damaged_at_any_time(
    filled: MaildirStore, data: Path, damage: str
) -> None:
    account = data / "domains/mairie.test/maire"
    octets = (account / "index-text.db").read_bytes()
    for path in account.glob("index-text.db*"):
        path.unlink()
    if damage == "torn":
        (account / "index-text.db").write_bytes(octets[: len(octets) // 2])
    elif damage == "noise":
        (account / "index-text.db").write_bytes(octets[:100] + b"\xa5" * (len(octets) - 100))
    elif damage == "link":
        (account / "index-text.db").symlink_to(data / "store.beffroi")
    elif damage == "empty":
        (account / "index-text.db").write_bytes(b"")
    elif damage == "older":  # of a release that knew no names of header fields
        await filled.fill_text(None)
        database = apsw.Connection(str(account / "index-text.db"))
        database.execute("DELETE FROM places; PRAGMA user_version = 2")
        database.close()
    inbox = await inbox_of(filled)
    for _ in range(2):
        await check(inbox, ALL, some=9)
        await filled.fill_text(None)
    assert places(data) == (24, 24, 24)
    assert (data / "store.beffroi").read_bytes().startswith(b"beffroi store")


async def test_after_a_rebuild_what_lies_under_a_uid_is_compared(data: Path, clock: ManualClock) -> None:
    """A file exchanged by hand for one of the same size, and the index deleted: the text index still knows the old."""
    store = MaildirStore(data, clock=clock)
    await store.open()
    await put(store, MESSAGES)
    await store.fill_text(None)
    await store.close()
    path = next(path for path in cur(data, MAIRIE) if ",U=1," in path.name)
    other = path.read_bytes().replace(b"Objet", b"ZORRO")
    path.write_bytes(other)
    by_hand(path.parent)
    for index in path.parent.parent.glob("index.db*"):
        index.unlink()
    store = MaildirStore(data, clock=clock)
    await store.open()
    inbox = await inbox_of(store)
    for _ in range(2):
        assert await inbox.search_text(WHOLE, "zorro", body_only=False) == [1]
        await check(inbox, ALL | {1: other}, some=9)
        await store.fill_text(None)
    assert places(data) == (24, 24, 24)
    await store.close()


async def test_a_folder_that_is_deleted_and_one_of_its_name(filled: MaildirStore, data: Path) -> None:
    account = await filled.account(MAIRIE)
    await account.create("Dossier")
    await (await inbox_of(filled)).move([(1, 12)], "Dossier")
    await filled.fill_text(None)
    await account.rename("Dossier", "Autre")
    await check(await account.mailbox("Autre"), {uid: ALL[uid] for uid in range(1, 13)}, some=9)
    await account.delete("Autre")
    await account.create("Autre")
    await filled.fill_text(None)
    assert places(data) == (12, 12, 12)
    assert await (await account.mailbox("Autre")).search_text(WHOLE, "maire", body_only=False) == []


async def test_a_turn_that_is_cut_off_leaves_nothing_half(
    store: MaildirStore, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, MESSAGES)
    monkeypatch.setattr(fill, "MESSAGES", 5)
    real, done = fill._Turn._learn, 0

    def failing(turn: fill._Turn) -> None:
        nonlocal done
        done += 1
        if done == 3:
            raise OSError(5, "the disk failed")
        real(turn)

    monkeypatch.setattr(fill._Turn, "_learn", failing)
    with pytest.raises(Exception, match="storage failed"):
        await store.fill_text(None)
    assert places(data) == (10, 10, 10)
    await check(await inbox_of(store), ALL, some=9)
    await store.fill_text(None)
    assert places(data) == (24, 24, 24)
    await check(await inbox_of(store), ALL, some=9)


async def test_a_long_text_and_one_of_very_many_words_are_looked_at(store: MaildirStore, reads: list[int]) -> None:
    long = b"Subject: long\r\n\r\n" + b"mot court " * 120_000 + b"\r\nvers la fin: zygote\r\n"
    many = b"Subject: many\r\n\r\n" + " ".join(_letters(n) for n in range(60_000)).encode() + b"\r\naussi zygote\r\n"
    endless = b"Subject: endless\r\n\r\n" + b"k" * 900_000 + b" zygote\r\n"
    await put(store, [long, many, endless])
    await store.fill_text(None)
    inbox = await inbox_of(store)
    assert await inbox.search_text(WHOLE, "zygot", body_only=True) == [1, 2, 3]
    assert sum(reads) == 3
    assert await inbox.search_text(WHOLE, "court", body_only=True) == [1]


def _letters(number: int) -> str:
    return "".join(chr(97 + int(digit)) for digit in str(number)) + "x"


async def test_a_pattern_over_a_cut_between_blocks(store: MaildirStore) -> None:
    body = b"".join(b"%d mots " % number for number in range(9000)) + b"anticonstitutionnellement"
    await put(store, [b"\r\n" + body[start:] for start in range(0, 40, 7)])
    await store.fill_text(None)
    inbox = await inbox_of(store)
    for pattern in ("4444 mots 4445", "3333", "onstitution", "8999 mots anti"):
        assert await inbox.search_text(WHOLE, pattern, body_only=True) == [1, 2, 3, 4, 5, 6]


async def test_accents_may_be_made_to_count(data: Path, clock: ManualClock) -> None:
    store = MaildirStore(data, clock=clock, fold_accents=False)
    await store.open()
    await put(store, ["Subject: Élection\r\n\r\nélu".encode(), b"Subject: Election\r\n\r\nelu"])
    inbox = await inbox_of(store)
    for _ in range(2):
        assert await inbox.search_text(WHOLE, "ÉLU", body_only=True) == [1]
        assert await inbox.search_text(WHOLE, "elu", body_only=True) == [2]
        assert await inbox.search_field(WHOLE, "SUBJECT", "élec") == [1]
        await store.fill_text(None)
    await store.close()


async def test_addresses_are_found_as_the_envelope_tells_them_where_accents_count_too(
    data: Path, clock: ManualClock
) -> None:
    store = MaildirStore(data, clock=clock, fold_accents=False)
    await store.open()
    head = "To: <maire (one)@ (two) exemple.test> (Zoé), bob . b @ a.test\r\nSubject: x (one)@ y\r\n\r\n"
    await put(store, [head.encode()])
    inbox = await inbox_of(store)
    for pattern in ("maire@EXEMPLE.test", "(one)@ (two)", "zoé", "bob.b@a.test", "bob . b @"):
        assert await inbox.search_field(WHOLE, "TO", pattern) == [1]
    assert await inbox.search_field(WHOLE, "TO", "zoe)") == []
    assert await inbox.search_field(WHOLE, "SUBJECT", "x@y") == []
    await store.close()


async def test_a_file_that_got_another_name_is_found(store: MaildirStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flag letters are written behind our back between the name's reading and the file's opening."""
    await put(store, MESSAGES[:3])
    inbox, real, done = await inbox_of(store), scan.matching, False
    await inbox.store_flags([(1, 3)], add=Flag.SEEN)

    def renamed(handle: object, directory: str, candidates: list[tuple[int, str]], question: scan.Question) -> object:
        nonlocal done
        if not done:
            done = True
            asyncio.run_coroutine_threadsafe(store.flush(), loop).result(20)
        return real(handle, directory, candidates, question)  # type: ignore[arg-type]  # passed through

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(scan, "matching", renamed)
    assert await inbox.search_text(WHOLE, "objet", body_only=False) == [1, 2, 3]


async def test_quiet_accounts_are_filled_in_the_background(
    data: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.search.filler.LOOK_EVERY", 0.02)
    monkeypatch.setattr(fill, "MESSAGES", 7)
    first, second = (MaildirStore(data, clock=clock) for _ in range(2))
    await first.open()
    await second.open()  # two processes' worth: each message is read once
    await put(first, MESSAGES)
    await second.account(MAIRIE)
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(_is_filled, data):
            await asyncio.sleep(0.02)
    await second.close()
    await first.close()


def _is_filled(data: Path) -> bool:
    try:
        return places(data) == (24, 24, 24)
    except (apsw.CantOpenError, apsw.SQLError):  # not made yet
        return False


@pytest.mark.parametrize("more", [0, 1])
async def test_a_message_longer_than_is_indexed_is_looked_at_whenever_texts_are_searched(
    store: MaildirStore, reads: list[int], monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    monkeypatch.setattr("message.words.MAX_TEXT", 1000)
    head = "Subject: long\r\n"
    await put(
        store, [(head + "\r\n" + "a " * 490 + "fin" + "." * (1000 - len(head) - 983 + more)).encode(), MESSAGES[0]]
    )
    await store.fill_text(None)
    inbox = await inbox_of(store)
    assert await inbox.search_text(WHOLE, "fin", body_only=True) == [1]
    assert sum(reads) == more


async def test_the_bound_of_a_header_is_the_same_with_and_without_the_index(data: Path, clock: ManualClock) -> None:
    """One word ends with the last octet that is looked at, the other goes one past it."""
    store = MaildirStore(data, clock=clock, limits=Limits(header_block=300))
    await store.open()
    long = [b"X-A: " + b"y" * (300 - 5 - 4 + more) + b" fin\r\n\r\ntexte\r\n" for more in (0, 1)]
    await put(store, long)
    inbox = await inbox_of(store)
    for _ in range(2):
        assert await inbox.search_text(WHOLE, "fin", body_only=False) == [1]
        await store.fill_text(None)
    await store.close()
