"""What a mail program reads, over IMAP with TLS, from the same mailboxes as Dovecot's.

`BENCH_SIZES` (1,000, 10,000 and 100,000 messages), so that growth shows. "first": the first use after the server was
started, its index present, the files in the page cache. Everything else is the best of some. "without its index":
Dovecot's first SELECT when nothing but the Maildir is there; ours then stands as any other time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from benchmarks import mailboxes
from benchmarks.figures import Figure
from benchmarks.imap import Client
from benchmarks.mail import corpus
from benchmarks.mailboxes import EMPTY, SIZES
from benchmarks.pair import DOMAIN

CHANGED = 100  # messages that changed while a client was away
LOGINS = 20
FOLDERS = 200
TOGETHER = 500  # messages appended
ROUNDS = 3
HEADERS = (
    "From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To"
)
COMMANDS = {
    "FETCH 1:* FLAGS": "FETCH 1:* FLAGS",
    "ENVELOPE and BODYSTRUCTURE": "FETCH 1:* (ENVELOPE BODYSTRUCTURE)",
    "Thunderbird's header fields": f"UID FETCH 1:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS ({HEADERS})])",
    "BODY.PEEK[] of 1,000": "UID FETCH 1:1000 (BODY.PEEK[])",
}
FIRST = ("ENVELOPE and BODYSTRUCTURE", "Thunderbird's header fields")  # timed the first time as well
STATUS = "(MESSAGES UNSEEN RECENT UIDNEXT UIDVALIDITY HIGHESTMODSEQ)"
TARGETS = {
    "LOGIN, credential known": 1.0,
    "SELECT, first": 0.1,
    "SELECT": 2.0,
    "FETCH 1:* FLAGS": 1.0,
    "ENVELOPE and BODYSTRUCTURE": 0.5,
    "ENVELOPE and BODYSTRUCTURE, first": 0.2,
    "Thunderbird's header fields": 1.0,
    "Thunderbird's header fields, first": 0.25,
    "BODY.PEEK[] of 1,000": 1.5,
    "BODY.PEEK[] of 10 MB": 1.2,
    "QRESYNC with 100 changes": 0.2,
    f"APPEND of {TOGETHER}, pipelined": 1.0,
    f"MULTIAPPEND of {TOGETHER}": 1.0,
    f"LIST-STATUS over {FOLDERS} folders": 1.0,
}

Times = dict[tuple[str, int], float]  # (what, messages in the mailbox or 0) > seconds


def timed(port: int) -> Times:
    """Seconds of each step."""
    found: Times = {}
    for size in SIZES:
        client = Client(port, mailboxes.user(size))
        found["SELECT, first", size] = client.ask("SELECT INBOX")[0]
        found |= {(f"{name}, first", size): client.ask(COMMANDS[name])[0] for name in FIRST}
        found |= {(name, size): client.best(command) for name, command in COMMANDS.items()}
        found["SELECT", size] = client.best("SELECT INBOX", before="UNSELECT")
        found["QRESYNC with 100 changes", size] = _resynchronised(client, size)
        client.close()
    found["LOGIN, credential known", 0] = min(Client(port, EMPTY).login for _ in range(LOGINS))
    steps: dict[str, Callable[[Client], float]] = {
        "BODY.PEEK[] of 10 MB": _large,
        f"APPEND of {TOGETHER}, pipelined": lambda client: _appended(client, together=False),
        f"MULTIAPPEND of {TOGETHER}": lambda client: _appended(client, together=True),
        f"LIST-STATUS over {FOLDERS} folders": _listed,
    }
    for name, step in steps.items():
        client = Client(port, EMPTY)
        found[name, 0] = step(client)
        client.close()
    return found


def _resynchronised(client: Client, size: int) -> float:
    client.ask("UNSELECT")
    client.ask("ENABLE QRESYNC")
    _, known = client.ask("SELECT INBOX")
    validity, modseq = (re.search(rb"%b (\d+)" % name, known) for name in (b"UIDVALIDITY", b"HIGHESTMODSEQ"))
    assert validity
    assert modseq
    changed = ",".join(str(1 + number * (size // CHANGED)) for number in range(CHANGED))
    client.ask(f"UID STORE {changed} +FLAGS.SILENT (\\Flagged)")
    back = f"SELECT INBOX (QRESYNC ({int(validity[1])} {int(modseq[1])}))"
    seconds = client.best(back, before="UNSELECT")
    assert client.ask(back)[1].count(b" FETCH ") == CHANGED
    return seconds


def _large(client: Client) -> float:
    message = b"Subject: large\r\n\r\n" + b"0123456789" * 7 + b"\r\n"
    message += b"Les pieces jointes des marches publics sont lourdes, elles aussi.\r\n" * (10_000_000 // 67)
    client.ask("CREATE Gros")
    client.ask(f"APPEND Gros {{{len(message)}+}}", message + b"\r\n")
    client.ask("SELECT Gros")
    return client.best("FETCH 1 BODY.PEEK[]")


def _appended(client: Client, *, together: bool) -> float:
    """One command each, all sent before the first answer; or one for all (RFC 3502)."""
    literals = [b"{%d+}\r\n%b" % (len(m), m) for m in (m.replace(b"\n", b"\r\n") for _, m in corpus(TOGETHER))]
    found = []
    for number in range(ROUNDS):
        client.ask(f"CREATE Envoi{number}{together:d}")
        name = b"Envoi%d%d" % (number, together)
        if together:
            octets = b"a0 APPEND %b %b\r\n" % (name, b" ".join(literals))
        else:
            octets = b"".join(b"a%d APPEND %b %b\r\n" % (n, name, each) for n, each in enumerate(literals))
        last = b"a0" if together else b"a%d" % (TOGETHER - 1)
        found.append(client.send(octets, last)[0])
        assert f"MESSAGES {TOGETHER}".encode() in client.ask(f"STATUS {name.decode()} (MESSAGES)")[1]
    return min(found)


def _listed(client: Client) -> float:
    for number in range(FOLDERS):
        client.ask(f"CREATE Dossier{number}")
        client.ask(f"APPEND Dossier{number} {{19+}}", b"Subject: un\r\n\r\nun\r\n\r\n")
    command = f'LIST "" "Dossier*" RETURN (STATUS {STATUS})'
    assert client.ask(command)[1].count(b"* STATUS") == FOLDERS
    return client.best(command)


def _without_index(maildir: Path, port: int, user: str) -> float:
    for path in maildir.glob("dovecot*"):
        path.unlink()
    return Client(port, user).ask("SELECT INBOX")[0]


def run() -> Iterable[Figure]:
    with mailboxes.theirs() as peer:
        theirs = timed(peer.imaps)
        bare: Times = {}
        for number, size in enumerate(SIZES):
            maildir = peer.base / "mail" / DOMAIN / f"u{number}" / "Maildir"
            bare["SELECT, first", size] = _without_index(maildir, peer.imaps, mailboxes.user(size))
    with mailboxes.ours() as installation:
        mine = timed(installation.ports["imaps"])
    yield from _figures(theirs, mine)
    for (name, size), seconds in bare.items():
        yield Figure(f"{name}{_size(size)} (Dovecot without its index)", mine[name, size] * 1000, "ms", seconds * 1000)


def _figures(theirs: Times, mine: Times) -> Iterator[Figure]:
    """The targets are for the biggest; the others show growth."""
    for (name, size), seconds in mine.items():
        target = TARGETS[name] if size in (0, SIZES[-1]) else None
        peer = theirs[name, size]
        met = None if target is None else seconds <= target * peer
        words = f"<= {target}" if target else ""
        yield Figure(f"{name}{_size(size)}", seconds * 1000, "ms", peer * 1000, words, met)


def _size(messages: int) -> str:
    return f", {messages // 1000}k" if messages else ""
