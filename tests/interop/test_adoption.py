"""A mailbox moves from a real Dovecot: IMAP tells the same of it on both servers, and mbsync transfers nothing."""

from __future__ import annotations

import imaplib
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.conftest import AUBIN, PASSWORD, World
from tests.interop.test_clients import mbsync, snapshot
from tests.peers.dovecot import DovecotImap, dovecot_imap
from tests.peers.process import wait_until

pytestmark = pytest.mark.interop

USER = f"demenagement@{AUBIN}"
FOLDERS = ("INBOX", "Envoy&AOk-s", "Dossiers.Permis 2026")
SIZE = 3000


def raw(number: int) -> bytes:
    return (
        f"From: Citoyen <c{number}@exemple.test>\r\nTo: {USER}\r\nSubject: Demande {number}\r\n"
        f"Date: Tue, 3 Nov 2026 10:00:{number:02} +0100\r\nMessage-ID: <d{number}@exemple.test>\r\n\r\n"
    ).encode() + b"Ligne du registre.\r\n" * (SIZE // 20)


def fill(dovecot: DovecotImap) -> None:
    """Folders with accents and levels, flags, keywords, gaps among the UIDs, a message nobody has looked at."""
    for folder in FOLDERS[1:]:
        assert b" OK " in dovecot.ask(f'CREATE "{folder}"'.encode())
    assert b" OK " in dovecot.ask(f'SUBSCRIBE "{FOLDERS[1]}"'.encode())
    for number in range(1, 13):
        folder = FOLDERS[number % 3]
        flags = ("", "\\Seen", "\\Flagged \\Answered $Forwarded", "\\Seen Permis")[number % 4]
        literal = f'APPEND "{folder}" ({flags}) "0{number % 9 + 1}-Nov-2026 08:00:00 +0000" {{{len(raw(number))}+}}\r\n'
        assert b" OK " in dovecot.ask(literal.encode() + raw(number)), number
    assert b" OK " in dovecot.ask(b"SELECT INBOX")
    dovecot.ask(b"UID STORE 2 +FLAGS (\\Deleted)")
    assert b"EXPUNGE" in dovecot.ask(b"EXPUNGE")
    (dovecot.mail / "new/1900000000.M1P1.h").write_bytes(raw(30).replace(b"\r\n", b"\n"))


def _said(pattern: bytes, line: bytes) -> bytes:
    match = re.search(pattern, line)
    assert match, line
    return match[1]


def facts(fetched: bytes) -> list[tuple[bytes, ...]]:
    """UID, flags, INTERNALDATE, size of each message. \\Recent is between a server and its day."""
    found: list[tuple[bytes, ...]] = []
    for line in re.findall(rb"\* \d+ FETCH \((.*?)\)\r\n", fetched):
        flags = sorted(set(_said(rb"FLAGS \((.*?)\)", line).split()) - {b"\\Recent"})
        value = rb" (\"[^\"]*\"|\d+)"
        uid, date, size = (_said(name + value, line) for name in (rb"UID", rb"INTERNALDATE", rb"RFC822.SIZE"))
        found.append((b" ".join(flags), uid, date.replace(b'" ', b'"0'), size))  # RFC 9051 9: date-day-fixed
    return found


def told(ask: Callable[[bytes], bytes], folder: str) -> tuple[object, ...]:
    selected = ask(f'EXAMINE "{folder}"'.encode())
    validity = re.search(rb"UIDVALIDITY (\d+)", selected)
    uidnext = re.search(rb"UIDNEXT (\d+)", selected)
    fetched = ask(b"FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)")
    assert validity
    assert uidnext
    return validity[1], uidnext[1], facts(fetched)


def channel(account: str, folder: Path) -> str:
    return f"""
IMAPAccount far
{account}

IMAPStore far
Account far

MaildirStore near
Path {folder}/
Inbox {folder}/INBOX
SubFolders Verbatim

Channel moved
Far :far:
Near :near:
Patterns *
Create Near
Sync All
SyncState *
"""


class Session:
    """Our server, asked as `DovecotImap` is."""

    def __init__(self, client: imaplib.IMAP4) -> None:
        self._client, self._number = client, 0

    def ask(self, command: bytes) -> bytes:
        self._number += 1
        tag = b"z%d" % self._number
        self._client.send(tag + b" " + command + b"\r\n")
        answer = b""
        while not answer.rpartition(b"\r\n" + tag + b" ")[1] and not answer.startswith(tag):
            answer += self._client.readline()
        return answer


def test_a_mailbox_moves_and_its_clients_download_nothing_again(world: World, tmp_path: Path) -> None:
    world.suite.api("POST", "/mailboxes", {"address": USER, "password": PASSWORD})
    near, config = tmp_path / "near", tmp_path / "mbsyncrc"
    near.mkdir()
    with dovecot_imap(crlf=False) as dovecot:
        fill(dovecot)
        before = {folder: told(dovecot.ask, folder) for folder in FOLDERS}
        config.write_text(channel(f'Tunnel "{dovecot.tunnel}"', near))
        mbsync(config)
        local = snapshot(near)
        assert len(local) == 12
        done = world.suite.run("mailbox", "adopt", USER, str(dovecot.mail))
        assert "12 messages in 3 folders adopted" in done

    client = imaplib.IMAP4("127.0.0.1", world.ports["imap"], timeout=30)
    client.starttls(world.suite.tls())
    client.login(USER, PASSWORD)
    session = Session(client)
    after = {folder: told(session.ask, folder.replace(".", "/")) for folder in FOLDERS}
    client.logout()
    assert after == before

    sessions = len(world.suite.events("imap-session-ended"))
    account = (
        f"Host 127.0.0.1\nPort {world.ports['imaps']}\nUser {USER}\nPassCmd \"echo '{PASSWORD}'\"\nAuthMechs PLAIN\n"
        f"SSLType IMAPS\nCertificateFile {world.suite.data}/tls/certificate.pem\n"
    )
    config.write_text(channel(account, near))
    mbsync(config)
    assert snapshot(near) == local
    wait_until(lambda: len(world.suite.events("imap-session-ended")) > sessions, what="the session to end")
    # SELECT answers and flags of three folders, but no message: one alone is larger than each folder's answers.
    assert int(str(world.suite.events("imap-session-ended")[-1]["sent"])) < 3 * SIZE
    assert "no fault found" in world.suite.run("store", "verify", AUBIN)
