"""Messages that tell themselves apart: an id and a checksum in each, and ways to read them back over IMAP."""

from __future__ import annotations

import email
import email.policy
import email.utils
import hashlib
import imaplib
import uuid
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Protocol

from tests.interop.conftest import PASSWORD
from tests.peers.process import wait_until
from tests.peers.suite import Suite

JUNK = "Ind&AOk-sirables"  # as IMAP spells it
SENT = "Envoy&AOk-s"


class Installed(Protocol):
    """Whatever has the suite among its parts."""

    @property
    def ports(self) -> dict[str, int]: ...

    @property
    def suite(self) -> Suite: ...


@dataclass(frozen=True)
class Marked:
    """A message with CRLF lines whose body names `mark`."""

    mark: str
    raw: bytes

    @property
    def digest(self) -> str:
        return hashlib.sha256(body(self.raw)).hexdigest()


def body(raw: bytes) -> bytes:
    return raw.partition(b"\r\n\r\n")[2]


def marked(sender: str, recipient: str, *, subject: str = "Délibération", size: int = 0, extra: str = "") -> Marked:
    mark = uuid.uuid4().hex  # the date is today's: a scanner counts an old one as a point more
    head = (
        f"From: {sender}\r\nTo: {recipient}\r\nSubject: =?utf-8?q?{subject.encode().hex('=')}?=\r\n"
        f"Date: {email.utils.formatdate()}\r\nMessage-ID: <{mark}@test>\r\nMIME-Version: 1.0\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n{extra}\r\n"
    )
    text = f"Repère {mark}\r\n.une ligne qui commence par un point\r\n..\r\n"
    filling = "x" * 76 + "\r\n"
    text += filling * max(0, (size - len(text)) // 78)
    return Marked(mark, (head + text).encode())


def seven_bit(sender: str, recipient: str) -> Marked:
    message = marked(sender, recipient)
    return Marked(message.mark, message.raw.replace("Repère".encode(), b"Repere"))


def imap(world: Installed, user: str, password: str = PASSWORD) -> imaplib.IMAP4_SSL:
    client = imaplib.IMAP4_SSL("127.0.0.1", world.ports["imaps"], ssl_context=world.suite.tls(), timeout=30)
    client._encoding = "utf-8"  # type: ignore[attr-defined]  # of imaplib
    client.authenticate("PLAIN", lambda _: f"\0{user}\0{password}".encode())
    return client


def fetch_all(world: Installed, user: str, folder: str = "INBOX") -> dict[int, bytes]:
    """Every message of a folder, by UID, byte for byte."""
    client = imap(world, user)
    try:
        client.select(f'"{folder}"', readonly=True)
        _, data = client.uid("FETCH", "1:*", "(UID BODY.PEEK[])")
        found = {}
        for item in data:
            if isinstance(item, tuple):
                uid = int(item[0].split(b"UID ")[1].split()[0])
                found[uid] = item[1]
        return found
    finally:
        client.logout()


def find(world: Installed, user: str, mark: str, folder: str = "INBOX") -> list[bytes]:
    return [raw for raw in fetch_all(world, user, folder).values() if mark.encode() in raw]


def await_mark(world: Installed, user: str, mark: str, folder: str = "INBOX") -> bytes:
    wait_until(lambda: find(world, user, mark, folder), what=f"{mark} in {folder} of {user}")
    return find(world, user, mark, folder)[0]


def part(message: EmailMessage, number: int) -> EmailMessage:
    """Of a multipart."""
    found = list(message.iter_parts())[number]
    assert isinstance(found, EmailMessage)
    return found


def parsed(raw: bytes) -> EmailMessage:
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message
