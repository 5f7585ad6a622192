"""Hostile input on the SMTP doors: the exact code of security.md, nobody gets anything, the session stays in step."""

from __future__ import annotations

import imaplib

import pytest

from tests.interop.conftest import AUBIN, FLEURI, PARTNER, PASSWORD, World
from tests.interop.mail import JUNK, imap, marked
from tests.interop.wire import READER, SENDER, Smtp, on_disk, raw, smtp, sound, submission, transmit

pytestmark = pytest.mark.interop

# --- recipients ------------------------------------------------------------------------------------------------------

NOBODY_HERE = [
    f"<personne@{AUBIN}>",
    f'<"../../maire"@{AUBIN}>',
    f"<${{run{{id}}}}@{AUBIN}>",
    f"<|/bin/sh@{AUBIN}>",
    f"<user%ailleurs.test@{AUBIN}>",
    f"<ailleurs.test!user@{AUBIN}>",
    f'<"user@ailleurs.test"@{AUBIN}>',
]
RELAYS = ["<quelquun@ailleurs.test>", "<@saint-aubin.test:quelquun@ailleurs.test>", f"<maire@sous.{AUBIN}>"]
MALFORMED = [f"<maire@{AUBIN}@ailleurs.test>", f"<../../maire@{AUBIN}>", "<maire@>", "<@>", "<>", f"maire@{AUBIN} <x>"]


def test_h043_an_unknown_recipient_is_550_5_1_1_and_never_relayed(world: World) -> None:
    with smtp(world) as talk:
        assert talk.ask(f"MAIL FROM:<{SENDER}>").startswith("250 ")
        for recipient in NOBODY_HERE:
            answer = talk.ask(f"RCPT TO:{recipient}")
            assert answer.startswith("550 5.1.1 "), (recipient, answer)
            assert "id" not in answer.split()  # no echo
        assert talk.ask("DATA").startswith("554 5.5.1 ")
        assert talk.ask("RSET").startswith("250 ")
        sound(world, talk)


def test_h044_a_relay_attempt_is_550_5_7_1(world: World) -> None:
    with smtp(world) as talk:
        assert talk.ask(f"MAIL FROM:<{SENDER}>").startswith("250 ")
        for recipient in RELAYS:
            answer = talk.ask(f"RCPT TO:{recipient}")
            assert answer.startswith("550 5.7.1 "), (recipient, answer)
        assert talk.ask("RSET").startswith("250 ")
        sound(world, talk)
    assert not world.suite.api("GET", "/queue")


def test_h045_a_malformed_recipient_is_501_or_553(world: World) -> None:
    with smtp(world) as talk:
        assert talk.ask(f"MAIL FROM:<{SENDER}>").startswith("250 ")
        for recipient in MALFORMED:
            answer = talk.ask(f"RCPT TO:{recipient}")
            assert answer.startswith(("501 5.", "553 5.")), (recipient, answer)
        assert talk.ask("RSET").startswith("250 ")
        sound(world, talk)


def test_h039_a_harvester_is_sent_away(world: World) -> None:
    """More than twenty unknown users, hardly a known one: 421; each refusal past ten takes longer."""
    with smtp(world) as talk:
        assert talk.ask(f"MAIL FROM:<{SENDER}>").startswith("250 ")
        for number in range(12):
            assert talk.ask(f"RCPT TO:<inconnu{number}@{AUBIN}>").startswith("550 5.1.1 ")
    sound(world)


# --- size ------------------------------------------------------------------------------------------------------------


def test_h040_a_declared_oversize_is_refused_at_mail(world: World) -> None:
    with smtp(world) as talk:
        assert talk.ask(f"MAIL FROM:<{SENDER}> SIZE={61 << 20}").startswith("552 5.3.4 ")
        for wrong in ("-1", "1" + "0" * 30, "x", "5 SIZE=5"):
            assert talk.ask(f"MAIL FROM:<{SENDER}> SIZE={wrong}").startswith(("501 5.5.4 ", "552 5.3.4 ")), wrong
        sound(world, talk)


def test_h040_an_undeclared_oversize_is_read_to_its_end_then_refused(world: World) -> None:
    message = marked(SENDER, READER)
    with smtp(world) as talk:
        talk.envelope()
        talk.send(message.raw)
        line = b"x" * 998 + b"\r\n"
        for _ in range(62):
            talk.send(line * 1049)  # a mebibyte
        talk.send(b".\r\n")
        assert talk.reply().startswith("552 5.3.4 ")
        assert talk.ask("DATA").startswith("503 5.5.1 ")  # h012: a clean slate after every final reply
        sound(world, talk)
    assert on_disk(world, message.mark) == 0


def test_h058_a_header_block_or_field_too_large_is_552_5_3_4(world: World) -> None:
    floods = [
        b"".join(b"X-%d: a\r\n" % number for number in range(1001)),
        b"X-Long: " + b" y\r\n" * 20_000,
        b"".join(b"X-%d: %s\r\n" % (number, b"z" * 900) for number in range(400)),
    ]
    with smtp(world) as talk:
        for flood in floods:
            message = marked(SENDER, READER)
            talk.envelope()
            talk.send(transmit(flood + message.raw))
            assert talk.reply().startswith("552 5.3.4 ")
            assert on_disk(world, message.mark) == 0
        sound(world, talk)


# --- who is who ------------------------------------------------------------------------------------------------------


def test_h113_a_wrong_password_is_535_5_7_8_and_known_and_unknown_users_look_the_same(world: World) -> None:
    with submission(world, None) as talk:
        known = talk.log_in(f"maire@{AUBIN}", "faux")
        unknown = talk.log_in(f"personne@{AUBIN}", "faux")
        assert known.startswith("535 5.7.8 ")
        assert known == unknown
        assert talk.log_in(f"maire@{AUBIN}").startswith("235 2.7.0 ")
    with submission(world, None) as talk:
        for malformed in ("AUTH PLAIN !!!", "AUTH PLAIN AA==", "AUTH PLAIN =", "AUTH GSSAPI"):
            assert talk.ask(malformed).startswith(("501 5.5.2 ", "535 5.7.8 ", "504 5.5.4 ")), malformed
    sound(world)


def test_h024_authentication_before_tls_is_refused_and_not_offered(world: World) -> None:
    with smtp(world, "submission", helo=None) as talk:
        talk.send(b"EHLO poste\r\n")
        offers = b""
        while not offers.splitlines() or offers.splitlines()[-1][3:4] == b"-":
            offers += talk.line()
        assert b"STARTTLS" in offers
        assert b"AUTH" not in offers
        assert talk.log_in(f"maire@{AUBIN}").startswith("538 5.7.11 ")
        assert talk.ask(f"MAIL FROM:<maire@{AUBIN}>").startswith("530 5.7.0 ")
    assert PASSWORD not in world.suite.log()
    sound(world)


FORGERIES = {
    "colleague": f"From: maire@{AUBIN}\r\n",
    "neighbour": f"From: mairie@{FLEURI}\r\n",
    "stranger": "From: pdg@banque.test\r\n",
    "two addresses": f"From: {READER}, maire@{AUBIN}\r\nSender: {READER}\r\n",
    "two fields": f"From: {READER}\r\nFrom: maire@{AUBIN}\r\n",
    "group": f"From: mairie: maire@{AUBIN};\r\n",
    "hidden in a name": f'From: "{READER}" <maire@{AUBIN}>\r\n',
    "sender field": f"From: {READER}\r\nSender: maire@{AUBIN}\r\n",
    "nobody": "",
    "space before the colon": f"From : maire@{AUBIN}\r\nFrom: {READER}\r\n",
}


def test_h051_nobody_sends_as_somebody_else_in_envelope_or_header(world: World) -> None:
    with submission(world, READER) as talk:
        for sender in (f"maire@{AUBIN}", f"mairie@{FLEURI}", "pdg@banque.test"):
            assert talk.ask(f"MAIL FROM:<{sender}>").startswith("553 5.7.1 ")
    for name, head in FORGERIES.items():
        message = marked(READER, READER)
        raw_message = message.raw.replace(f"From: {READER}\r\n".encode(), head.encode(), 1)
        with submission(world, READER) as talk:
            talk.envelope(READER, READER)
            talk.send(transmit(raw_message))
            answer = talk.reply()
            assert answer.startswith(("550 5.7.1 ", "553 5.7.1 ")), (name, answer)
            assert talk.ask("NOOP").startswith("250 ")
        assert on_disk(world, message.mark) == 0, name
    sound(world)


def test_h057_loopback_gives_no_right_to_relay(world: World) -> None:
    with smtp(world, helo="localhost") as talk:
        assert talk.ask(f"MAIL FROM:<maire@{AUBIN}>").startswith("250 ")
        assert talk.ask(f"RCPT TO:<bob@{PARTNER}>").startswith("550 5.7.1 ")
    with smtp(world, "submission") as talk:
        assert talk.ask(f"MAIL FROM:<maire@{AUBIN}>").startswith("530 5.7.0 ")


# --- commands --------------------------------------------------------------------------------------------------------


def until_421(talk: Smtp, command: str, most: int) -> int:
    for count in range(1, most + 1):
        answer = talk.ask(command)
        if answer.startswith("421 4.7.0 "):
            assert talk.line() == b""
            return count
        if not answer.startswith(("250 ", "214 ", "500 5.5.1 ", "503 ", "252 ")):
            raise AssertionError(answer)
        if count == most:
            break
    follow = talk.reply()
    assert follow.startswith("421 4.7.0 "), follow
    assert talk.line() == b""
    return most


def test_h015_floods_of_unknown_or_idle_commands_end_with_421(world: World) -> None:
    with smtp(world) as talk:
        assert until_421(talk, "NOOP", 101) == 100  # EHLO was the first of a hundred
    with smtp(world) as talk:
        assert until_421(talk, "RSET", 101) == 100
    with smtp(world) as talk:  # the twentieth error; past the tenth each answer takes a second
        assert until_421(talk, "BLOUP", 20) == 20
    sound(world)


def test_h015_h017_h018_orders_and_parameters_have_exact_codes(world: World) -> None:
    with smtp(world, helo=None) as talk:
        assert talk.ask(f"MAIL FROM:<{SENDER}>").startswith("503 5.5.1 ")
        assert talk.ask("HELO " + "a" * 3000).startswith("500 5.5.2 ")
        assert talk.ask("EHLO <script>").startswith("501 A")
        assert talk.ask("EHLO mx.partner.test").startswith("250 ")
        assert talk.ask("RCPT TO:<x@y>").startswith("503 5.5.1 ")
        assert talk.ask("DATA").startswith("503 5.5.1 ")
        assert talk.ask(f"MAIL FROM:<{SENDER}> COULEUR=bleu").startswith("555 5.5.4 ")
    with smtp(world) as talk:
        assert talk.ask("EHLO a\0b").startswith(("500 ", "501 "))
        assert talk.ask("MAIL FROM:<é@ailleurs.test>").startswith(("550 5.6.7 ", "553 5.6.7 "))
        assert talk.ask(f"MAIL FROM:<{SENDER}>").startswith("250 ")
        assert talk.ask(f"MAIL FROM:<{SENDER}>").startswith("503 5.5.1 ")
        assert talk.ask(f"RCPT TO:<{READER}> ORCPT=rfc822;a+0Ab").startswith("501 5.5.4 ")
        assert talk.ask("STARTTLS").startswith("503 5.5.1 ")  # not inside a transaction
        assert talk.ask("AUTH PLAIN AAAA").startswith("502 5.5.1 ")  # not on this port
        assert talk.ask("XCLIENT ADDR=192.0.2.1").startswith("500 5.5.1 ")
        assert talk.ask("RSET").startswith("250 ")
        sound(world, talk)


def test_h010_commands_pipelined_behind_data_or_before_ehlo_are_dropped(world: World) -> None:
    with smtp(world, helo=None) as talk:
        talk.send(b"EHLO mx.partner.test\r\nMAIL FROM:<a@partner.test>\r\n")
        assert "554 5.5.0 " in talk.rest().decode()
    message = marked(SENDER, READER)
    with smtp(world) as talk:
        talk.ask(f"MAIL FROM:<{SENDER}>")
        talk.ask(f"RCPT TO:<{READER}>")
        talk.send(b"DATA\r\n" + transmit(message.raw))
        assert "554 5.5.0 " in talk.rest().decode()
    assert on_disk(world, message.mark) == 0
    sound(world)


FOREIGN = [
    b"GET / HTTP/1.1\r\nHost: mx.dept.test\r\n\r\n",
    b"POST /secret-path HTTP/1.1\r\nHost: x\r\n\r\nEHLO x\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x41" * 500,
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n",
]


@pytest.mark.parametrize("early", [False, True])
def test_h016_h019_other_protocols_get_500_and_the_end_without_an_echo(world: World, early: bool) -> None:
    for first in FOREIGN:
        with raw(world, "mx") as sock:
            talk = Smtp(sock)
            if not early:
                assert talk.reply().startswith("220 ")
            talk.send(first)
            answer = talk.rest()
            replies = [line for line in answer.splitlines() if not line.startswith(b"220")]
            assert len(replies) == 1, (first, answer)
            assert replies[0].startswith((b"500 5.5.1 ", b"554 5.5.0 ")), (first, answer)
            assert b"secret-path" not in answer
    sound(world)


def test_h021_plain_text_injected_behind_starttls_ends_the_session(world: World) -> None:
    for door in ("mx", "submission"):
        with smtp(world, door) as talk:
            talk.send(f"STARTTLS\r\nMAIL FROM:<{SENDER}>\r\n".encode())
            answer = talk.rest()
            assert b"220 " not in answer
            assert b"250 " not in answer
    sound(world)


def test_h022_h023_nothing_said_before_tls_counts_and_tls_comes_once(world: World) -> None:
    with smtp(world) as talk:
        assert talk.ask("STARTTLS").startswith("220 ")
        talk.secure(world.suite.tls())
        assert talk.ask(f"MAIL FROM:<{SENDER}>").startswith("503 5.5.1 ")
        assert talk.ask("EHLO mx.partner.test").startswith("250 ")
        assert talk.ask("STARTTLS").startswith("503 5.5.1 ")
        sound(world, talk)


def test_h025_clear_text_on_a_tls_port_gets_no_banner(world: World) -> None:
    for door in ("submissions", "imaps"):
        with raw(world, door) as sock:
            sock.sendall(b"EHLO clair.test\r\n\r\n")
            answer = Smtp(sock).rest()
            assert b"220" not in answer
            assert b"OK" not in answer
    sound(world)


# --- broken MIME -----------------------------------------------------------------------------------------------------

TYPE = "Content-Type: "
BROKEN = {
    "boundary never comes": (f"{TYPE}multipart/mixed; boundary=b\r\n", b"no part at all\r\n"),
    "boundary empty": (f'{TYPE}multipart/mixed; boundary=""\r\n', b"--\r\n\r\nx\r\n----\r\n"),
    "no boundary": (f"{TYPE}multipart/mixed\r\n", b"--b\r\n\r\nx\r\n--b--\r\n"),
    "never closed": (f"{TYPE}multipart/mixed; boundary=b\r\n", b"--b\r\n\r\nun\r\n--b\r\nContent-Type: text/html\r\n"),
    "prefix of its parent": (
        f"{TYPE}multipart/mixed; boundary=bb\r\n",
        b"--bb\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--bb\r\n\r\ny\r\n"
        b"--b--\r\n--bb--\r\n",
    ),
    "300 deep": (
        f"{TYPE}multipart/mixed; boundary=b0\r\n",
        b"".join(b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (n, n + 1) for n in range(300)),
    ),
    "5000 parts": (f"{TYPE}multipart/mixed; boundary=b\r\n", b"--b\r\n\r\nx\r\n" * 5000 + b"--b--\r\n"),
    "message in itself": (f"{TYPE}message/rfc822\r\n", b"Content-Type: message/rfc822\r\n\r\n" * 200 + b"x\r\n"),
    "wrong base64": (f"{TYPE}text/plain\r\nContent-Transfer-Encoding: base64\r\n", b"!!!===A\r\nAA\r\n"),
    "wrong quoted-printable": (
        f"{TYPE}text/plain; charset=x-none\r\nContent-Transfer-Encoding: quoted-printable\r\n",
        b"=\r\n=ZZ =8\r\n=",
    ),
    "type of noise": (f"{TYPE}=?utf-8?q?text?=/;;;==;charset=\r\n", b"\xff\xfe\x80 octets\r\n"),
    "many parameters": (f"{TYPE}text/plain" + "".join(f";\r\n a*{n}=x" for n in range(3000)) + "\r\n", b"x\r\n"),
    "brackets": (f"Cc: {'(' * 20_000}\r\n", b"x\r\n"),
    "many addresses": ("Cc: " + ",\r\n ".join(f"a{n}@x.test" for n in range(4000)) + "\r\n", b"x\r\n"),
    "no colon": ("ceci n'est pas un champ\r\n", b"x\r\n"),
    "8 bit and unfinished words": ("X-Note: =?utf-8?q?=00=0d=0a?= =?utf-7?b?+?= \xe9\xff\r\n", b"x\r\n"),
}  # fmt: skip


def test_h059_h068_broken_mime_is_delivered_byte_for_byte_and_described(world: World) -> None:
    user = f"compta@{FLEURI}"
    sent: dict[str, tuple[str, bytes]] = {}
    with smtp(world) as talk:
        for name, (head, text) in BROKEN.items():
            mark = marked(SENDER, user).mark
            content = (
                f"From: {SENDER}\r\nTo: {user}\r\nSubject: facture\r\nDate: Sun, 22 Nov 2026 10:00:00 +0100\r\n"
                f"Message-ID: <{mark}@test>\r\nMIME-Version: 1.0\r\n"
            ).encode() + head.encode("latin-1") + b"\r\n" + text  # fmt: skip
            content += b"" if content.endswith(b"\r\n") else b"\r\n"
            sent[name] = mark, content
            talk.envelope(SENDER, user)
            talk.send(transmit(content))
            answer = talk.reply()
            assert answer.startswith("250 2."), (name, answer)
    client = imap(world, user)
    try:
        for name, (mark, content) in sent.items():
            uid = find_uid(client, mark)
            _, found = client.uid("FETCH", uid, "(BODY.PEEK[])")
            assert found[0][1].endswith(content), name
            kind, described = client.uid("FETCH", uid, "(UID BODYSTRUCTURE ENVELOPE RFC822.SIZE BODY.PEEK[1])")
            assert kind == "OK", name
            assert described[0], name
    finally:
        client.logout()
    sound(world)


def find_uid(client: imaplib.IMAP4, mark: str) -> str:
    """In the inbox or, where rspamd or we thought it suspect, in Junk; that folder stays selected."""
    for folder in ("INBOX", JUNK):
        client.select(folder, readonly=True)
        _, data = client.uid("SEARCH", "HEADER", "Message-ID", f'"<{mark}@test>"')
        if data[0]:
            return str(data[0].split()[-1].decode())
    raise AssertionError(f"{mark} is nowhere")
