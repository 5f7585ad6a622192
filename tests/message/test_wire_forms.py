"""ENVELOPE and BODYSTRUCTURE as octets."""

import base64

import pytest

from message import header, mime, structure, summary, wire
from message.content import BytesContent
from message.structure import of_rev1


def envelope(lines: bytes) -> bytes:
    return summary.envelope(header.split(lines + b"\r\n\r\n"))


def bodies(data: bytes) -> tuple[bytes, bytes]:
    tree = mime.scan(BytesContent(data))
    return structure.forms(tree)


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (b"", b'""'),
        (b'a "b" \\', b'"a \\"b\\" \\\\"'),
        (b"caf\xc3\xa9", b"{5}\r\ncaf\xc3\xa9"),
        (b"a\r\nb\0c", b'"a  b c"'),
        (b"\x1b[31m", b"{5}\r\n\x1b[31m"),
        (b"x" * 1001, b"{1001}\r\n" + b"x" * 1001),
    ],
)
def test_strings_never_carry_a_line_end(value: bytes, sent: bytes) -> None:
    assert wire.string(value) == sent
    assert wire.nstring(None) == b"NIL"


def test_envelope_of_a_plain_message() -> None:
    lines = (
        b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nFrom: Terry Gray <gray@cac.test>\r\nSubject: IMAP4rev2\r\n"
        b"To: imap@cac.test\r\nCc: minutes@cnri.test, John Klensin <klensin@mit.test>\r\nMessage-Id: <B27397@cac.test>"
    )
    author = b'(("Terry Gray" NIL "gray" "cac.test"))'
    assert envelope(lines) == (
        b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev2" %b %b %b ((NIL NIL "imap" "cac.test")) '
        b'((NIL NIL "minutes" "cnri.test")("John Klensin" NIL "klensin" "mit.test")) NIL NIL "<B27397@cac.test>")'
        % (author, author, author)
    )


def test_envelope_says_nil_for_absent_and_empty_for_empty() -> None:
    assert envelope(b"X: y") == b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"
    assert envelope(b"Subject:\r\nMessage-ID: \r\nTo:") == b'(NIL "" NIL NIL NIL NIL NIL NIL NIL "")'


def test_sender_and_reply_to_default_to_from_when_absent_or_empty() -> None:
    assert envelope(b"From: a@b\r\nSender:\r\nReply-To: c@d") == (
        b'(NIL NIL ((NIL NIL "a" "b")) ((NIL NIL "a" "b")) ((NIL NIL "c" "d")) NIL NIL NIL NIL NIL)'
    )


def test_groups_and_several_fields_of_a_name() -> None:
    assert envelope(b"To: g: a@b;\r\nTo: c@d\r\nSubject: one\r\nSubject: two") == (
        b'(NIL "two" NIL NIL NIL ((NIL NIL "g" NIL)(NIL NIL "a" "b")(NIL NIL NIL NIL)(NIL NIL "c" "d")) '
        b"NIL NIL NIL NIL)"
    )


def test_h059_envelope_stops_at_a_thousand_addresses() -> None:
    assert envelope(b"To: " + b"a@b," * 100_00).count(b'"a"') == 1000
    assert envelope(b"To: a@b\r\n" * 1001 + b"X: y").count(b'"a"') <= 1000


def test_text_without_a_type_is_us_ascii() -> None:
    full, short = bodies(b"From: a@b\r\n\r\none\r\ntwo\r\n")
    assert full == b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 10 2 NIL NIL NIL NIL)'
    assert short == b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 10 2)'


def test_every_field_of_a_part() -> None:
    full, _ = bodies(
        b'Content-Type: Application/PDF; Name="a b"; x\r\nContent-Transfer-Encoding: BASE64\r\nContent-ID: <i@x>\r\n'
        b"Content-Description: d\r\nContent-MD5: abc==\r\nContent-Disposition: Attachment; filename*0=a;\r\n"
        b" filename*1=b\r\nContent-Language: fr, en\r\nContent-Location: http://x.test/\r\n\r\nYQ=="
    )
    assert full == (
        b'("application" "pdf" ("Name" "a b") "<i@x>" "d" "base64" 4 "abc==" ("attachment" ("filename" "ab")) '
        b'("fr" "en") "http://x.test/")'
    )


def test_multipart_with_a_message_inside() -> None:
    full, short = bodies(
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhi\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
        b"Subject: s\r\n\r\nbody\r\nl2\r\n--b--\r\n"
    )
    text = b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" %d %d%b)'
    inner = b"(NIL" + b' "s"' + b" NIL" * 8 + b")"
    assert short == b'(%b("message" "rfc822" NIL NIL NIL "7bit" 22 %b %b 3) "mixed")' % (
        text % (2, 0, b""), inner, text % (8, 1, b""),
    )  # fmt: skip
    assert full.endswith(b' 3 NIL NIL NIL NIL) "mixed" ("boundary" "b") NIL NIL NIL)')


def test_message_global_is_a_message() -> None:
    """RFC 6532 3.7: header fields in UTF-8, of the message inside as of a notice's returned one."""
    full, _ = bodies(
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/global\r\n"
        b"Content-Transfer-Encoding: 8bit\r\n\r\n"
        + "From: Maïté <maïté@école.test>\r\nSubject: Été\r\n\r\nçà\r\n".encode()
        + b"--b--\r\n"
    )
    assert full.startswith(b'(("message" "global" NIL NIL NIL "8bit" ')
    for text in ("Été", "Maïté", "maïté", "école.test"):
        assert b"{%d}\r\n%b" % (len(text.encode()), text.encode()) in full
    encoded, _ = bodies(
        b"Content-Type: message/global\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes("Subject: Été\n\nçà\n".encode()).replace(b"\n", b"\r\n")
    )
    assert b"Subject" not in encoded


def test_rfc3501_9_message_global_is_a_basic_part_before_imap4rev2() -> None:
    inner = b'Content-Type: message/global\r\n\r\nSubject: \\ ("message" "global"\xc3\xa9\r\n\r\nx\r\n'
    part = b"--b\r\nContent-Type: message/global\r\nContent-Disposition: inline\r\n\r\n"
    encoded = b"--b\r\nContent-Type: message/global\r\nContent-Transfer-Encoding: base64\r\n\r\nQQ==\r\n"
    full, plain = bodies(
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\n\r\nx\r\n" + part + inner + b"\r\n" + encoded + b"--b\r\nContent-Type: text/html\r\n\r\ny\r\n--b--\r\n"
    )
    assert full.count(b'("message" "global"') == 4  # one of them in the literal of the subject
    assert b"{" in full
    text = b'("text" "%b" ("charset" "us-ascii") NIL NIL "7bit" 1 0%b)'
    message = b'("message" "global" NIL NIL NIL "%b" %d%b)'
    size = len(inner)
    assert of_rev1(full) == b'(%b%b%b%b "mixed" ("boundary" "b") NIL NIL NIL)' % (
        text % (b"plain", b" NIL NIL NIL NIL"),
        message % (b"7bit", size, b' NIL ("inline" NIL) NIL NIL'),
        message % (b"base64", 4, b" NIL NIL NIL NIL"),
        text % (b"html", b" NIL NIL NIL NIL"),
    )
    assert of_rev1(plain) == b'(%b%b%b%b "mixed")' % (
        text % (b"plain", b""),
        message % (b"7bit", size, b""),
        message % (b"base64", 4, b""),
        text % (b"html", b""),
    )
    usual = bodies(b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nx\r\n")[0]
    assert of_rev1(usual) is usual


@pytest.mark.parametrize(
    "data",
    [
        b"Content-Type: text/plain; message=global; charset=utf-8\r\n\r\nx\r\n",
        b"Content-Type: text/plain; message=global; a=1; b=2; c=3; d=4; e=5\r\n\r\nx\r\n",
        b"Content-Disposition: attachment; message=global; filename=x\r\n\r\nx\r\n",
        b"Content-Language: message, global, fr\r\n\r\nx\r\n",
        b"Content-Type: message/rfc822\r\n\r\nDate: message\r\nSubject: global\r\nCc: a@b\r\nBcc: a@b\r\n\r\nx\r\n",
    ],
    ids=["parameters", "many parameters", "disposition", "languages", "envelope"],
)
def test_words_of_a_sender_are_not_taken_for_a_message_global(data: bytes) -> None:
    """One such message made every FETCH of its structure fail, or lost half of an envelope."""
    full, plain = bodies(data)
    assert b'("message" "global" ' in full
    assert (of_rev1(full), of_rev1(plain)) == (full, plain)


def test_groups_stand_in_from_and_sender() -> None:
    """RFC 6854 2, in ENVELOPE's form of a group (RFC 9051 7.5.2)."""
    found = envelope(b"From: Conseil: a@x.test, b@y.test;\r\nSender: Personne:;")
    group = b'((NIL NIL "Conseil" NIL)(NIL NIL "a" "x.test")(NIL NIL "b" "y.test")(NIL NIL NIL NIL))'
    assert group + b' ((NIL NIL "Personne" NIL)(NIL NIL NIL NIL))' in found


def test_a_multipart_without_parts_still_has_one_body() -> None:
    full, _ = bodies(b"Content-Type: multipart/mixed\r\n\r\nx")
    assert full == (
        b'(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0 NIL NIL NIL NIL) "mixed" NIL NIL NIL NIL)'
    )


def test_digest_parts_are_messages() -> None:
    _, short = bodies(b"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nFrom: x@y\r\n\r\nz\r\n--b--")
    assert short.startswith(b'(("message" "rfc822" NIL NIL NIL "7bit" ')


def test_a_content_type_that_does_not_parse_is_text_plain() -> None:
    for value in (b"text", b"", b"/", b"a/b/c", b"\xff/plain"):
        _, short = bodies(b"Content-Type: " + value + b"\r\n\r\nx")
        assert short.startswith(b'("text" "plain" ("charset" "us-ascii")')
