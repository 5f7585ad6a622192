"""All that the index keeps, from one scan."""

from hypothesis import given
from hypothesis import strategies as st

from core.config import Limits
from message.collation import casemap
from message.content import BytesContent
from message.facts import KEPT_FIELDS, gather
from message.header import Headed, split
from message.parts import Tree


def of(data: bytes) -> object:
    return gather(BytesContent(data))


DATA = (
    b"Received: by x\r\nX-Private: no\r\nFrom: Marie <m@x.test>\r\n"
    b"Subject: Re: [liste] =?utf-8?q?d=C3=A9lib?= (fwd)\r\n"
    b"Date: Sun, 22 Nov 2026 16:00:00 +0100\r\nMessage-ID: <one@x.test>\r\nIn-Reply-To: <two@x.test>\r\n"
    b"References: <three@x.test>\r\n <two@x.test>\r\n\r\nBonjour,\r\n\r\ntexte\r\n"
)


def test_a_header_that_was_split_already_is_not_split_again() -> None:
    assert gather(Headed(DATA, split(DATA))) == gather(BytesContent(DATA))
    other = split(DATA.replace(b"one@x.test", b"four@x.test"))
    assert gather(Headed(DATA, other)).message_id == "four@x.test"


def test_facts_of_a_message() -> None:
    facts = gather(BytesContent(DATA))
    assert facts.sent_date == 1795359600
    assert facts.message_id == "one@x.test"
    assert facts.references == ("two@x.test", "three@x.test")
    assert facts.keys.subject == casemap("délib")
    assert facts.preview == "Bonjour, texte"
    assert facts.envelope.startswith(b'("Sun, 22 Nov 2026 16:00:00 +0100" "Re: [liste] ')
    assert facts.bodystructure == b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 19 3 NIL NIL NIL NIL)'
    assert facts.body == b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 19 3)'
    assert Tree.unpack(facts.parts).section(()) == (0, len(DATA))


def test_kept_headers_are_raw_and_in_order() -> None:
    headers = gather(BytesContent(DATA)).headers
    assert b"x-private" not in KEPT_FIELDS
    assert headers == DATA[: DATA.index(b"\r\n\r\n") + 2].replace(b"X-Private: no\r\n", b"")


def test_ids_without_brackets_and_absurd_dates() -> None:
    facts = gather(BytesContent(b"Message-ID: bare@x.test\r\nDate: 1 Jan 99999 00:00:00 +0000\r\n\r\n"))
    assert facts.message_id == "bare@x.test"
    assert facts.sent_date is None
    assert gather(BytesContent(b"Message-ID: two words\r\n\r\n")).message_id == ""


def test_of_many_references_the_first_and_the_latest_stay() -> None:
    ids = b" ".join(b"<%d@x>" % number for number in range(500))
    references = gather(BytesContent(b"References: " + ids + b"\r\n\r\n")).references
    assert len(references) == 100
    assert references[0] == "0@x"
    assert references[-1] == "499@x"


def test_a_header_past_its_bound_is_read_as_far_as_it_goes() -> None:
    limit = Limits().header_block
    data = b"Subject: first\r\n" + b"X: y\r\n" * (limit // 6) + b"From: late@x.test\r\n\r\nbody\r\n"
    facts = gather(BytesContent(data))
    assert b'"first"' in facts.envelope
    assert b"late" not in facts.envelope
    assert len(facts.headers) <= limit
    assert Tree.unpack(facts.parts).section(
        (),
    ) == (0, len(data))


def test_a_structure_too_long_to_keep_is_one_leaf() -> None:
    part = b"--b\r\nContent-Type: text/x\r\nContent-Description: " + b'"' * 990 + b"\r\n\r\n\r\n"
    data = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + part * 900 + b"--b--\r\n"
    facts = gather(BytesContent(data))
    assert facts.bodystructure.startswith(b'("application" "octet-stream" NIL')
    assert len(Tree.unpack(facts.parts).root.children) == 0


def test_h059_addresses_of_messages_inside_have_a_budget() -> None:
    part = b"--b\r\nContent-Type: message/rfc822\r\n\r\nTo: " + b"a," * 1000 + b"\r\n\r\n\r\n"
    data = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + part * 400 + b"--b--\r\n"
    facts = gather(BytesContent(data))
    assert facts.bodystructure.count(b'"message" "rfc822"') < 20
    assert facts.bodystructure.count(b'"application" "octet-stream"') > 380


@given(st.binary(max_size=300) | st.text("From: To:\r\n@<>\"'(),;\0=?-bé", max_size=300).map(str.encode))
def test_any_octets_have_facts_without_line_ends(data: bytes) -> None:
    facts = gather(BytesContent(data))
    assert not any(ord(char) < 32 for char in facts.preview + facts.keys.subject + facts.message_id)
    for form in (facts.envelope, facts.bodystructure, facts.body):
        assert b"\0" not in form
        assert form.count(b"\n") == form.count(b"}\r\n")
