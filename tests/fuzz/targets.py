"""Every parser that reads a stranger's octets, as one function each: it raises only what it promises to raise.

The one table of fuzz targets. The unit stage replays seeds and seeded mutations of them (tests/fuzz/test_targets.py);
`make fuzz` runs Atheris over each for a bounded time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from antispam.authentication import dkim_header, dkim_key, dmarc_record, results, spf_record
from antispam.authentication.arc import ArcVerification
from core import utf7
from core.address import AddressError, parse_path
from core.domain import DomainError, to_ascii
from core.proxy import ProxyError, read_header
from core.status import Status
from core.waiting import at_once
from delivery.hygiene import clean
from delivery.srs import Srs
from directory import sasl
from imap.commands.table import TABLE
from imap.errors import ImapError
from imap.wire.framing import Bounds, Continue, Framer, Refused, Streamed
from imap.wire.scanner import Scanner
from message.arc import ChainError, chain
from message.content import BytesContent
from message.header import LIMITS, split
from message.unbinary import converted
from smtp.data import DataDecoder
from smtp.outbound.reply_parser import ReplyFault, ReplyParser
from smtp.parameters import ArgumentError, Offers, parse_mail, parse_rcpt
from smtp.schedule import Terms
from tests.fuzz import imap_seeds, message, session, smtp_client, smtp_server

OFFERS = Offers(size_limit=1 << 20, tls=True, auth=True, terms=Terms(1_790_000_000.0, 3600, 60))
BOUNDS = Bounds(line=2048, literals=4096, discard=1 << 16, stream=True)


def address(data: bytes) -> None:
    with contextlib.suppress(AddressError):
        found = parse_path(data.decode("utf-8", "surrogateescape"), utf8=True)
        if found is not None and any(ord(c) < 32 or ord(c) == 127 for c in str(found)):
            raise AssertionError("a control character survived")


def domain(data: bytes) -> None:
    with contextlib.suppress(DomainError):
        name = to_ascii(data.decode("utf-8", "replace"))
        if to_ascii(name) != name:
            raise AssertionError("not stable")


def smtp_arguments(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    with contextlib.suppress(ArgumentError):
        parse_mail(text, OFFERS)
    with contextlib.suppress(ArgumentError):
        parse_rcpt(text, extended=True, smtputf8=True, hostname="mx.dept.test")


def smtp_data(data: bytes) -> None:
    """Whole, and cut at a place the input chooses: the same message, the same verdict."""
    cut = data[0] if data else 0
    whole, pieces = DataDecoder(998), DataDecoder(998)
    first = whole.feed(data)
    second = pieces.feed(data[:cut])
    if not pieces.done:
        second += pieces.feed(data[cut:])
    if whole.done and (first, whole.fault) != (second, pieces.fault):
        raise AssertionError("the result depends on segmentation")
    if whole.done and whole.fault is None and (first.count(b"\n") != first.count(b"\r\n") or b"\0" in first):
        raise AssertionError("a bare line end passed")


def binary_message(data: bytes) -> None:
    """However it is read, the same; nothing binary is left where its structure could be followed."""
    for wrap in (False, True):
        content = converted(BytesContent(data), LIMITS, wrap=wrap)
        if content is None:
            continue
        cut = data[0] if data else 0
        whole = content.read(0, content.size)
        if len(whole) != content.size or content.read(0, cut) + content.read(cut, content.size) != whole:
            raise AssertionError("the result depends on how it is read")


def submitted_header(data: bytes) -> None:
    """What leaves is a header that begins and ends as one, in ASCII, with short lines."""
    found = clean(split(data, LIMITS), LIMITS, smtputf8=False)
    if isinstance(found, Status) or found.rest not in (b"", b"\r\n"):
        return
    raw = bytes(found)
    if not raw.isascii() or any(len(line) > 998 for line in raw.split(b"\r\n")):
        raise AssertionError("it may not leave like this")
    if bytes(clean(found, LIMITS, smtputf8=False)) != raw:  # type: ignore[arg-type]  # it was no refusal before
        raise AssertionError("not stable")


def remote_reply(data: bytes) -> None:
    parser = ReplyParser()
    with contextlib.suppress(ReplyFault):
        parser.feed(data)
        while reply := parser.pop():
            if not reply.diagnostic.isprintable():
                raise AssertionError("a control character from a remote host")


def imap_framing(data: bytes) -> None:
    framer = Framer(BOUNDS)
    framer.feed(data)
    for _ in range(len(data) + 10):
        event = framer.next_event()
        if event is None:
            return
        if isinstance(event, Streamed):
            framer.accept()
        elif isinstance(event, Continue):
            continue
        elif isinstance(event, Refused):
            str(event.error)
    raise AssertionError("events without end")


def imap_command(data: bytes) -> None:
    """Each row of the command table reads the input as its arguments."""
    for row in TABLE.values():
        with contextlib.suppress(ImapError):
            row.parse(Scanner(data, utf8=len(data) % 2 == 0))


def imap_mailbox(data: bytes) -> None:
    with contextlib.suppress(utf7.Utf7Error):
        if utf7.encode(utf7.decode(data)) != data:
            raise AssertionError("not canonical")


def sasl_exchange(data: bytes) -> None:
    mechanism, _, rest = data.partition(b" ")
    step = sasl.start(mechanism.decode("ascii", "replace"), rest or None)
    for line in data.split(b"\n")[:3]:
        if not isinstance(step, sasl.Challenge):
            break
        step = step.respond(line)


def dkim_signature(data: bytes) -> None:
    with contextlib.suppress(dkim_header.SignatureError):
        dkim_header.parse_signature(data)
    for algorithm in ("rsa-sha256", "ed25519-sha256"):
        with contextlib.suppress(dkim_key.KeyRecordError):
            dkim_key.parse_key(data, algorithm)


def policy_records(data: bytes) -> None:
    with contextlib.suppress(spf_record.SpfSyntaxError):
        spf_record.parse_record(data)
    dmarc_record.choose([data])


def authentication_results(data: bytes) -> None:
    results.parse(data)


def proxy_header(data: bytes) -> None:
    """Who is behind a balancer has an address and a port, or the header is refused; nothing behind it is read."""
    rest = data

    async def read(count: int) -> bytes:
        nonlocal rest
        if len(rest) < count:
            raise ProxyError("connection closed")
        taken, rest = rest[:count], rest[count:]
        return taken

    with contextlib.suppress(ProxyError):
        claim = at_once(read_header(read))
        if claim is not None and (str(ip_address(claim[0])) != claim[0] or not 0 <= claim[1] <= 65535):
            raise AssertionError("no address")


def arc_chain(data: bytes) -> None:
    head = split(data, LIMITS)
    found = ArcVerification(head)
    with contextlib.suppress(ChainError):
        if [item.instance for item in chain(head)] != list(range(1, len(found.sets) + 1)):
            raise AssertionError("another chain is verified than the one that is there")


def rewritten_sender(data: bytes) -> None:
    """Whatever was not made here is refused; what is made comes back."""
    srs = Srs(bytes(range(32)))
    local = data.decode("utf-8", "replace")
    if (found := srs.unwrap(local, 1_790_000_000.0)) is not None:
        raise AssertionError(f"forged: {found}")
    with contextlib.suppress(AddressError):
        sender = parse_path(f"{local}@far.test", utf8=True)
        wrapped = srs.wrap(sender, "ours.test", 1_790_000_000.0) if sender is not None else None
        back = srs.unwrap(wrapped.local, 1_790_000_000.0) if wrapped is not None else None
        if wrapped is not None and back is None:
            raise AssertionError("bounces do not come back")
        # Of what was rewritten twice before, bounces go to the first forwarder at once.
        if back is not None and sender is not None and not local.lower().startswith("srs1") and back.key != sender.key:
            raise AssertionError(f"bounces go to {back}")


@dataclass(frozen=True)
class Target:
    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


TARGETS: dict[str, Target] = {
    "address": Target(address, (b"jean@mairie.fr", b'"a b"@mairie.fr', b"@x,@y:u@other.org", "é@mairie-é.fr".encode())),
    "domain": Target(domain, (b"mairie.fr", b"xn--mairie--hya.fr", "mairie－é。fr".encode())),
    "smtp-arguments": Target(
        smtp_arguments,
        (
            b"FROM:<a@b.test> SIZE=100 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb AUTH=<> REQUIRETLS",
            b"FROM:<a@b.test> HOLDUNTIL=2026-09-21T15:00:00.5+02:00 BY=+120;NT MT-PRIORITY=-9 BODY=BINARYMIME",
            b"TO:<a@b.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+2Bx@b.test",
            b'TO:<"a\\"b"@b.test>',
        ),
    ),
    "smtp-data": Target(smtp_data, (b"a\r\n..b\r\n.\r\nQUIT\r\n", b"a\n.\nb\r\n.\r\n", b"\x05\r\n.\r\n", b".\r\n")),
    "binary-message": Target(
        binary_message,
        (
            b"Content-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\n\r",
            b"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n" + b"x" * 1200 + b"\r\n--b--\r\n",
            b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n\r\n\r\nx",
        ),
    ),
    "submitted-header": Target(
        submitted_header,
        (
            'To: Hélène <h@y.fr>\r\nContent-Disposition: a; filename="é.pdf"\r\nX: été\r\n\r\n'.encode(),
            b"Received: from [10.0.0.1]\r\nDate: x\r\nX-A: " + b"y " * 600 + b"\r\n\r\n",
        ),
    ),
    "remote-reply": Target(remote_reply, (b"250-a\r\n250 2.1.0 ok\r\n", b"554 5.7.1 no\x1b[31m\r\n", b"250\r\n")),
    "smtp-session": Target(smtp_server.one_input, smtp_server.SEEDS),
    "smtp-client": Target(smtp_client.one_input, smtp_client.SEEDS),
    "imap-framing": Target(
        imap_framing,
        (b"a LOGIN {3}\r\nabc {2+}\r\nxy\r\nb NOOP\r\n", b"a APPEND x {5}\r\nabcde\r\n", b"a X {99999999999}\r\n"),
    ),
    "imap-command": Target(
        imap_command,
        (
            b" 1:3,*:7 (FLAGS BODY.PEEK[1.2.HEADER.FIELDS (A B)]<0.10> UID)",
            b' OR (NOT SEEN) HEADER X "y" SINCE 1-Jan-2026',
            b' INBOX (\\Seen $a) "22-Nov-2026 10:00:00 +0100" {3}',
            b' (SUBSCRIBED) "" ("%" "a*") RETURN (STATUS (MESSAGES))',
            b" 1 +FLAGS.SILENT (\\Deleted)",
            b" 500 1:3",
            b' IN (mailboxes ("a" b) subtree-one c selected) RETURN (ALL) CHARSET UTF-8 UNSEEN',
            b" UIDAFTER 3 NOT UIDBEFORE 7",
            b" RETURN (UPDATE (UID FLAGS) CONTEXT COUNT) UNSEEN",
            b" RETURN (RELEVANCY PARTIAL 1:3) (REVERSE RELEVANCY DATE) UTF-8 NOT FUZZY (SUBJECT x TEXT y)",
            b' INBOX CATENATE (URL "/INBOX/;UID=1/;SECTION=1" TEXT {3}',
            b" SET STATUS (selected (MessageNew (UID BODY.PEEK[]) MessageExpunge)) (subtree (a b) NONE)",
            b' "" (STORAGE 512)',
        ),
    ),
    "imap-mailbox": Target(imap_mailbox, (b"Envoy&AOk-s", b"&-", b"&AAA-", b"&2D3cqQ-")),
    "sasl": Target(sasl_exchange, (b"PLAIN AGEAYg==", b"LOGIN\nYQ==\nYg==", b"PLAIN *", b"LOGIN ====")),
    "dkim": Target(
        dkim_signature,
        (
            b"v=1; a=rsa-sha256; c=relaxed/simple; d=b.test; s=sel; h=from:to; bh=YQ==; b=Yg==; t=1; x=2; l=3",
            b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        ),
    ),
    "policy-records": Target(
        policy_records,
        (b"v=spf1 a:%{d}/24//64 include:x.test ?exists:%{ir}.y.test redirect=z.test -all", b"v=DMARC1; p=reject; t=y"),
    ),
    "authentication-results": Target(
        authentication_results, (b"mx.test; spf=pass smtp.mailfrom=a@b; dkim=fail (x) header.d=y", b"mx.test 1; none")
    ),
    "proxy": Target(
        proxy_header,
        (
            b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 25\r\nEHLO x",
            b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 25\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\1\x12\x67\0\x19",
        ),
    ),
    "arc": Target(
        arc_chain,
        (
            b"ARC-Seal: i=1; a=rsa-sha256; cv=none; d=b.test; s=s; b=YQ==\r\nARC-Message-Signature: i=1; a=rsa-sha256;"
            b" d=b.test; s=s; h=from; bh=YQ==; b=YQ==\r\nARC-Authentication-Results: i=1; b.test; dmarc=pass\r\n\r\n",
        ),
    ),
    "srs": Target(rewritten_sender, (b"SRS0=aaaaaaaa=aa=far.test=jean", b"SRS1=aaaaaaaa=b.test==x=y=z=u", b"jean")),
    "message": Target(
        message.one_input,
        (
            b"From: a@b.test\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\na\r\n--x--\r\n",
            b'Subject: =?utf-8?q?a=C3=A9?=\r\nTo: g:a@b,c@d;, "x" <y@z>\r\n\r\nbody',
        ),
    ),
}

# Whole sessions, from each state.
TARGETS |= {f"imap-{name}": Target(session.in_state(name), imap_seeds.SEEDS) for name in session.STATES}
