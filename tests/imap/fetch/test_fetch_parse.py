"""The grammar of FETCH: every item, sections and partials, and what is refused (RFC 9051 6.4.5, 9)."""

from __future__ import annotations

import pytest

from imap.commands.fetch.items import ATTRIBUTES, MACROS, RFC822, Body, Item
from imap.commands.fetch.parse import MAX_ITEMS, parse
from imap.commands.fetch.section import Partial, Section, Text
from imap.errors import BadSyntax, No
from imap.wire.scanner import Scanner


def items(text: bytes) -> tuple[Item, ...]:
    return parse(Scanner(b" 1 " + text)).items


def body(text: bytes) -> Body:
    (item,) = items(text)
    assert isinstance(item, Body)
    return item


@pytest.mark.parametrize("name", sorted(ATTRIBUTES))
def test_every_attribute_is_read_alone_in_a_list_and_in_any_case(name: bytes) -> None:
    assert items(name) == items(b"(%b)" % name.lower()) == (ATTRIBUTES[name],)


@pytest.mark.parametrize("name", sorted(MACROS))
def test_macros_stand_alone_only(name: bytes) -> None:
    assert items(name.lower()) == MACROS[name]
    with pytest.raises(BadSyntax):
        items(b"(%b)" % name)


@pytest.mark.parametrize("name", sorted(RFC822))
def test_old_names_answer_under_their_own_name(name: bytes) -> None:
    assert body(name).label == name


@pytest.mark.parametrize(
    ("written", "section"),
    [
        (b"", Section()),
        (b"HEADER", Section(text=Text.HEADER)),
        (b"text", Section(text=Text.TEXT)),
        (b"1", Section((1,))),
        (b"1.22.333", Section((1, 22, 333))),
        (b"4.1.MIME", Section((4, 1), Text.MIME)),
        (b"4.2.HEADER", Section((4, 2), Text.HEADER)),
        (b"4.2.TEXT", Section((4, 2), Text.TEXT)),
        (b"HEADER.FIELDS (DATE FROM)", Section((), Text.FIELDS, (b"DATE", b"FROM"))),
        (b'3.header.fields.not ("x-a" {3}\r\nx b)', Section((3,), Text.FIELDS_NOT, (b"x-a", b"x b"))),
    ],
)
def test_sections_of_the_grammar(written: bytes, section: Section) -> None:
    assert body(b"BODY[%b]" % written) == Body(b"BODY", section, peek=False)
    assert body(b"BODY.PEEK[%b]" % written) == Body(b"BODY", section, peek=True)


def test_the_label_names_section_and_origin_as_the_client_may_expect_them() -> None:
    assert body(b"body.peek[1.header.fields (Date nil)]<5.10>").label == b'BODY[1.HEADER.FIELDS (Date "nil")]<5>'
    assert body(b"BODY[]").label == b"BODY[]"
    assert body(b"BODY[2.mime]").label == b"BODY[2.MIME]"


def test_body_without_brackets_is_the_structure() -> None:
    assert items(b"(BODY BODYSTRUCTURE)") == (ATTRIBUTES[b"BODY"], ATTRIBUTES[b"BODYSTRUCTURE"])


def test_lazy_previews_are_previews() -> None:
    assert items(b"(PREVIEW (LAZY) UID)") == (ATTRIBUTES[b"PREVIEW"], ATTRIBUTES[b"UID"])


def test_an_item_named_twice_is_answered_once() -> None:
    assert items(b"(UID FLAGS uid BODY[1] BODY[1])") == (
        ATTRIBUTES[b"UID"],
        ATTRIBUTES[b"FLAGS"],
        Body(b"BODY", Section((1,)), peek=False),
    )


@pytest.mark.parametrize(
    ("written", "partial"),
    [
        (b"<0.1>", Partial(0, 1)),
        (b"<4294967295.4294967295>", Partial(4294967295, 4294967295)),
        (b"<9223372036854775807.9223372036854775807>", Partial(2**63 - 1, 2**63 - 1)),
    ],
)
def test_h101_partials_of_any_number64(written: bytes, partial: Partial) -> None:
    assert body(b"BODY[]" + written).partial == partial


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"()",
        b"(UID",
        b"(UID  FLAGS)",
        b"UID FLAGS",
        b"UID ",
        b"NOTHING",
        b"BODY[",
        b"BODY[]]",
        b"BODY.PEEK",
        b"BODY[0]",
        b"BODY[1.0]",
        b"BODY[1.]",
        b"BODY[.1]",
        b"BODY[1..2]",
        b"BODY[01]",
        b"BODY[4294967296]",
        b"BODY[99999999999]",
        b"BODY[MIME]",
        b"BODY[HEADER.FIELDS]",
        b"BODY[HEADER.FIELDS ()]",
        b"BODY[HEADER (DATE)]",
        b"BODY[1HEADER]",
        b"BODY[HEADER.1]",
        b"BODY[]<0.0>",
        b"BODY[]<1>",
        b"BODY[]<-1.5>",
        b"BODY[]<9223372036854775808.1>",
        b"BODY[]<0.99999999999999999999>",
        b"RFC822[]",
        b"\xff",
    ],
)
def test_what_is_no_fetch_is_bad(written: bytes) -> None:
    with pytest.raises(BadSyntax):
        items(written)


def test_h101_a_section_of_five_hundred_levels_is_read() -> None:
    assert len(body(b"BODY[" + b".".join([b"1"] * 500) + b"]").section.path) == 500


def test_items_are_bounded_at_the_limit_and_one_past_it() -> None:
    many = [b"BODY[%d]" % number for number in range(1, MAX_ITEMS + 2)]
    assert len(items(b"(%b)" % b" ".join(many[:-1]))) == MAX_ITEMS
    with pytest.raises(No) as refusal:
        items(b"(%b)" % b" ".join(many))
    assert refusal.value.code == "LIMIT"


def test_the_set_comes_first() -> None:
    with pytest.raises(BadSyntax):
        parse(Scanner(b" FLAGS"))
    with pytest.raises(BadSyntax):
        parse(Scanner(b"1 FLAGS"))
