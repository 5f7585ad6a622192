"""A Dovecot Maildir becomes an account: formats, what is kept, what is refused, a run that is repeated."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import ConflictError, InvalidError, NotFoundError
from store.dovecot import formats
from store.fsops import FileSystem
from store.service import MaildirStore
from store.types import Adopted, Column, Flag
from tests.fakes.mail import mail
from tests.store.helpers import MAIRIE, all_rows, cur, deliver, inbox_of, read

UIDLIST = """3 V1700000001 N12 G1f3c
3 W120 :1600000003.M1P1.vieux,S=100,W=120
7 G77 W99 :1600000007.M2P1.vieux
"""


def lf(number: int) -> bytes:
    return mail(number).replace(b"\r\n", b"\n")


def put(folder: Path, name: str, data: bytes, *, where: str = "cur", date: int = 1_500_000_000) -> Path:
    for directory in ("cur", "new", "tmp"):
        (folder / directory).mkdir(parents=True, exist_ok=True)
    path = folder / where / name
    path.write_bytes(data)
    os.utime(path, (date, date))
    return path


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    root = tmp_path / "Maildir"
    put(root, "1600000003.M1P1.vieux,S=100,W=120:2,FSb", lf(3), date=1_400_000_003)
    put(root, "1600000007.M2P1.vieux:2,ac", lf(7))
    put(root, "1600000009.M3P1.vieux", lf(9), where="new")
    (root / "dovecot-uidlist").write_text(UIDLIST)
    (root / "dovecot-keywords").write_text("0 $Forwarded\n1 Permis\n3 $NotJunk\n")
    sent = root / ".Envoy&AOk-s"
    put(sent, "1600000005.M4P1.vieux:2,S", mail(5))
    (sent / "dovecot-uidlist").write_text("1 1700000002 41\n40 1600000005.M4P1.vieux\n")
    put(root / ".Dossiers.2026", "1600000006.M5P1.vieux:2,", lf(6))
    (root / "subscriptions").write_text("V\t2\n\nEnvoy&AOk-s\nAncien\tParti\n")
    return root


async def _adopt(store: MaildirStore, maildir: Path, *, finish: bool = True) -> Adopted:
    return await store.administration.adopt(MAIRIE, maildir, finish=finish)


def everything(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in root.rglob("*")
        if path.is_file()
    }


async def test_uids_flags_keywords_and_dates_are_kept_and_line_ends_are_crlf(
    store: MaildirStore, maildir: Path, data: Path
) -> None:
    before = everything(maildir)
    await store.account(MAIRIE)  # its first login, still empty
    assert await _adopt(store, maildir) == Adopted(
        3, 5, sum(len(mail(n)) for n in (3, 5, 6, 7, 9)), 5, ("Dossiers/2026",)
    )
    assert everything(maildir) == before
    inbox = await inbox_of(store)
    folder = (await inbox.snapshot()).folder
    assert (folder.uidvalidity, folder.uidnext, folder.messages) == (1_700_000_001, 13, 3)
    assert folder.highest_modseq > 10_000_000  # above what Dovecot's counter can have told
    rows = await all_rows(inbox, Column.DATES)
    assert [(row.uid, row.flags, row.keywords) for row in rows] == [
        (3, Flag.SEEN | Flag.FLAGGED, ("Permis",)),
        (7, Flag(0), ("$Forwarded",)),  # letter c has no word
        (12, Flag(0), ()),
    ]
    assert (rows[0].internal_date, rows[0].save_date) == (1_400_000_003, 1_600_000_003)
    assert [await read(inbox, uid) for uid in (3, 7, 12)] == [mail(3), mail(7), mail(9)]
    sent = (await (await inbox_of(store, name="Envoyés")).snapshot()).folder
    assert (sent.uidvalidity, sent.uidnext, sent.special_use, sent.subscribed) == (1_700_000_002, 41, "\\Sent", True)
    account = await store.account(MAIRIE)
    names = {item.name: item.subscribed for item in await account.folders()}
    assert names == {"INBOX": True, "Envoyés": True, "Dossiers/2026": False}
    assert "Ancien/Parti" in await account.subscriptions()
    assert (await deliver(store, MAIRIE, 20)).uid == 13
    await store.flush()
    assert await store.verify(None) == []
    assert not [path for path in (data / "domains/mairie.test").iterdir() if path.name.startswith(".")]


async def test_a_front_that_has_the_empty_mailbox_open_delivers_into_the_adopted_one(
    store: MaildirStore, data: Path, maildir: Path
) -> None:
    """`mailbox adopt` is another process, and moves what the front has open into the recycle bin."""
    inbox = await inbox_of(store)
    await deliver(store, MAIRIE, 1)
    await inbox.expunge([(1, 1)], only_deleted=False)
    await store.flush()
    assert (await inbox.snapshot()).messages == 0
    operator = MaildirStore(data)
    await operator.open()
    await _adopt(operator, maildir)
    await operator.close()
    await deliver(store, MAIRIE, 2)
    adopted = await inbox_of(store)
    texts = [await read(adopted, row.uid) for row in await all_rows(adopted)]
    assert sorted(texts) == sorted([mail(2), mail(3), mail(7), mail(9)])
    assert not list((data / "recycle").rglob("*,U=2,*"))


async def test_a_run_is_repeated_until_dovecot_has_stopped(store: MaildirStore, maildir: Path) -> None:
    first = await _adopt(store, maildir, finish=False)
    assert first.copied == 5
    assert await (await store.account(MAIRIE)).usage() == (0, 0)
    (maildir / "cur/1600000003.M1P1.vieux,S=100,W=120:2,FSb").rename(
        maildir / "cur/1600000003.M1P1.vieux,S=100,W=120:2,RS"
    )
    (maildir / "cur/1600000007.M2P1.vieux:2,ac").unlink()
    put(maildir, "1600000010.M6P1.vieux:2,", lf(10))
    (maildir / "dovecot-uidlist").write_text(
        UIDLIST.replace("N12", "N14") + "12 :1600000009.M3P1.vieux\n13 :1600000010.M6P1.vieux\n"
    )
    second = await _adopt(store, maildir)
    assert (second.messages, second.copied) == (5, 1)
    inbox = await inbox_of(store)
    rows = [(row.uid, row.flags) for row in await all_rows(inbox)]
    assert rows == [(3, Flag.SEEN | Flag.ANSWERED), (12, Flag(0)), (13, Flag(0))]
    assert await read(inbox, 13) == mail(10)
    assert await store.verify(None) == []


async def test_f155_what_a_power_loss_left_of_a_run_is_completed(
    store: MaildirStore, maildir: Path, data: Path
) -> None:
    await _adopt(store, maildir, finish=False)
    made = data / "domains/mairie.test/.adopt.maire"
    (made / "tmp").rmdir()
    next((made / "cur").iterdir()).unlink()
    assert (await _adopt(store, maildir)).copied == 1
    assert len(await all_rows(await inbox_of(store))) == 3


async def test_a_mailbox_with_mail_is_not_replaced(store: MaildirStore, maildir: Path) -> None:
    await deliver(store, MAIRIE, 1)
    with pytest.raises(ConflictError):
        await _adopt(store, maildir)
    assert await read(await inbox_of(store), 1) == mail(1)


@pytest.mark.parametrize(
    ("start", "named"),
    [(b"\x1f\x8b\x08", "gzip"), (b"BZh9", "bzip2"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"CRYPTED\x03\x07", "mail_crypt")],
)
async def test_packed_mail_is_refused_with_its_reason(
    store: MaildirStore, maildir: Path, data: Path, start: bytes, named: str
) -> None:
    put(maildir / ".Envoy&AOk-s", "1600000011.M9P1.vieux,S=3:2,", start + b"\0" * 50)
    with pytest.raises(InvalidError, match=named):
        await _adopt(store, maildir)
    assert await (await store.account(MAIRIE)).usage() == (0, 0)


@pytest.mark.parametrize("kind", ["mailboxes", "dovecot.map.index", "sub/cur"])
async def test_what_is_no_maildir_is_refused(store: MaildirStore, maildir: Path, kind: str) -> None:
    (maildir / kind).mkdir(parents=True)
    with pytest.raises(InvalidError):
        await _adopt(store, maildir)
    with pytest.raises(NotFoundError, match="did you mean"):
        await _adopt(store, maildir.parent)
    with pytest.raises(NotFoundError):
        await _adopt(store, maildir.parent / "nulle-part")


CONVERT = "let Dovecot convert it first (doveadm sync to maildir:, which keeps UIDs), then adopt that Maildir"


async def refusal(store: MaildirStore, maildir: Path) -> str:
    with pytest.raises(InvalidError) as refused:
        await _adopt(store, maildir)
    return refused.value.public


async def test_an_mbox_is_told_as_one_and_what_to_do(store: MaildirStore, tmp_path: Path) -> None:
    (tmp_path / "mail").mkdir()
    for name in ("inbox", "Sent", "Trash", "Zut"):
        (tmp_path / "mail" / name).write_bytes(b"From a@b.test Mon Nov 30 00:00:00 2026\n" + lf(1))
    (tmp_path / "notes").write_bytes(b"Froment\n")
    told = await refusal(store, tmp_path / "mail/inbox")
    assert told == f"{tmp_path}/mail/inbox is an mbox file and no Maildir: {CONVERT}"
    told = await refusal(store, tmp_path / "mail")
    assert told == f"{tmp_path}/mail holds mbox files (Sent, Trash, Zut, …) and is no Maildir: {CONVERT}"
    told = await refusal(store, tmp_path / "notes")
    assert told == f"{tmp_path}/notes is a file: a Maildir is a directory with cur, new and tmp"


async def test_a_folder_behind_a_link_is_not_left_behind(store: MaildirStore, maildir: Path, tmp_path: Path) -> None:
    put(tmp_path / "ailleurs", "1600000013.M1P2.vieux:2,", lf(1))
    (maildir / ".Partage").symlink_to(tmp_path / "ailleurs")
    (maildir / ".dovecot.sieve").symlink_to(tmp_path / "nulle-part")
    assert await refusal(store, maildir) == (
        f"{maildir}/.Partage is a symbolic link: put the folder itself there, or take the link away"
    )
    (maildir / ".Partage").unlink()
    assert (await _adopt(store, maildir)).messages == 5


class Forbidden(FileSystem):
    """What another user's directory or file looks like to one who is not root."""

    name = ""

    def open_directory(self, parent: int, name: str) -> int:
        self._refuse(name)
        return super().open_directory(parent, name)

    def read_file(self, directory: int, name: str, limit: int) -> bytes:
        self._refuse(name)
        return super().read_file(directory, name, limit)

    def open_to_read(self, directory: int, name: str) -> int:
        self._refuse(name)
        return super().open_to_read(directory, name)

    def _refuse(self, name: str) -> None:
        if name == self.name:
            raise PermissionError(13, "Permission denied", name)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (".Envoy&AOk-s", "{maildir}/.Envoy&AOk-s: Permission denied"),
        ("dovecot-uidlist", "INBOX: dovecot-uidlist: Permission denied"),
        ("1600000007.M2P1.vieux:2,ac", "INBOX: 1600000007.M2P1.vieux:2,ac: Permission denied"),
    ],
)
async def test_what_the_suite_may_not_read_is_not_left_behind(data: Path, maildir: Path, name: str, told: str) -> None:
    disk = Forbidden()
    store = MaildirStore(data, fs=disk)
    await store.open()
    try:
        disk.name = name
        readable = "the suite's user must be able to read the whole Maildir"
        assert await refusal(store, maildir) == f"{told.format(maildir=maildir)}; {readable}"
    finally:
        await store.close()


async def test_flags_that_dovecot_wrote_in_new_are_kept(store: MaildirStore, maildir: Path) -> None:
    (maildir / "new/1600000009.M3P1.vieux").rename(maildir / "new/1600000009.M3P1.vieux:2,FSb")
    await _adopt(store, maildir)
    rows = {int(row.uid): row for row in await all_rows(await inbox_of(store))}
    assert (rows[12].flags, rows[12].keywords) == (Flag.SEEN | Flag.FLAGGED, ("Permis",))


async def test_what_was_prepared_goes_with_the_mailbox(store: MaildirStore, maildir: Path, data: Path) -> None:
    await _adopt(store, maildir, finish=False)
    prepared = data / "domains" / MAIRIE.domain / f".adopt.{MAIRIE.local}"
    await store.remove_account(replace(MAIRIE, id="another"))
    assert prepared.is_dir()
    await store.remove_account(MAIRIE)
    assert not prepared.exists()


async def test_h109_links_planted_in_the_source_are_refused(store: MaildirStore, maildir: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret\n")
    (maildir / "cur/1600000012.M1P2.vieux:2,").symlink_to(secret)
    with pytest.raises(InvalidError, match="symbolic link"):
        await _adopt(store, maildir)


async def test_odd_octets_stay_as_dovecot_showed_them(store: MaildirStore, maildir: Path) -> None:
    shapes = {
        "1600000020.M1P3.v": b"Subject: x\n\nend without a line end",
        "1600000021.M1P3.v": b"Subject: x\r\n\r\nmixed\nends\r",
        "1600000022.M1P3.v": b"",
        "1600000023.M1P3.v": b"a" * (256 * 1024 - 1) + b"\r\n" + b"b\n",
    }
    for name, octets in shapes.items():
        put(maildir / ".Formes", name + ":2,", octets)
    await _adopt(store, maildir)
    formes = await inbox_of(store, name="Formes")
    shown = [octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for octets in shapes.values()]
    assert [await read(formes, row.uid) for row in await all_rows(formes)] == shown


def test_uid_lists_of_both_versions_and_damaged_ones() -> None:
    told = formats.uid_list(UIDLIST.encode())
    assert (told.uidvalidity, told.uidnext) == (1_700_000_001, 12)
    assert told.uids == {"1600000003.M1P1.vieux,S=100,W=120": 3, "1600000007.M2P1.vieux": 7}
    assert formats.uid_list(b"1 5 9\n8 name:2,S\n").uids == {"name": 8}
    assert formats.uid_list(b"3 V5 N2\n9 :later\n").uidnext == 10
    for damaged in (b"", b"9 V1 N1\n", b"\0\xff", b"3 Vx N-1\nfoo\n99999999999 :a\n"):
        assert formats.uid_list(damaged).uids == {}


def test_names_and_subscriptions_as_dovecot_writes_them() -> None:
    assert formats.folder_of(".Envoy&AOk-s.A&-B") == "Envoyés/A&B"
    assert formats.folder_of(".Été".encode().decode("utf-8", "surrogateescape")) == "Été"
    assert formats.folder_of(".&broken") == "&broken"
    assert formats.subscriptions(b"INBOX\nA.B\nEnvoy&AOk-s\n") == ["INBOX", "A/B", "Envoyés"]
    assert formats.subscriptions(b"V\t2\n\nA\tB\n") == ["A/B"]


async def test_more_folders_with_one_name_stay_apart(store: MaildirStore, maildir: Path) -> None:
    put(maildir / ".&AOk-t&AOk-", "1600000030.M1P3.v:2,", lf(1))  # composed
    put(maildir / ".e&AwE-te&AwE-", "1600000031.M1P3.v:2,", lf(2))  # decomposed
    await _adopt(store, maildir)
    assert await read(await inbox_of(store, name="été"), 1)
    assert await read(await inbox_of(store, name="été (2)"), 1)
    assert len(cur(Path(store._data), MAIRIE)) == 3
