"""Addresses of header fields: shown leniently, judged strictly."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.config import Limits
from message import address_list
from message.address_list import FromDefect, Kind, from_domains, parse, to_address
from message.header import split


def shown(value: bytes) -> list[tuple[bytes | None, bytes | None, bytes | None]]:
    return [(entry.name, entry.local, entry.domain) for entry in parse(value)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"a@b.fr", [(None, b"a", b"b.fr")]),
        (b"Marie Dupont <m.dupont@mairie.test>", [(b"Marie Dupont", b"m.dupont", b"mairie.test")]),
        (b'"Dupont, Marie" <m@x.test>, M. Durand <d@x.test>', [
            (b"Dupont, Marie", b"m", b"x.test"), (b"M. Durand", b"d", b"x.test")]),
        (b'"q\\"\\\\d" <u@v>', [(b'q"\\d', b"u", b"v")]),
        (b"a (comment (nested\\)) here) @ (x) b . c", [(b"x", b"a", b"b.c")]),
        (b"a@b (M. \\(le\\) maire)", [(b"M. (le) maire", b"a", b"b")]),
        (b"(before) a@b, (x) <c@d> (y), <e (x) @f>, J (x) <g@h>", [
            (None, b"a", b"b"), (None, b"c", b"d"), (None, b"e", b"f"), (b"J", b"g", b"h")]),
        (b'"x y"@z', [(None, b"x y", b"z")]),
        (b"a@[192.0.2.1]", [(None, b"a", b"[192.0.2.1]")]),
        (b",, a@b ,,", [(None, b"a", b"b")]),
        (b"", []),
        (b"nobody", [(None, b"nobody", None)]),
        (b"=?utf-8?q?a=40b?= <c@d>", [(b"=?utf-8?q?a=40b?=", b"c", b"d")]),
    ],
)  # fmt: skip
def test_lists_as_people_write_them(value: bytes, expected: list[object]) -> None:
    assert shown(value) == expected


def test_routes_are_kept_apart() -> None:
    (entry,) = parse(b"<@one,@two:u@h>")
    assert (entry.route, entry.local, entry.domain) == (b"@one,@two", b"u", b"h")


def test_h072_groups() -> None:
    kinds = [(entry.kind, entry.local) for entry in parse(b"undisclosed:;")]
    assert kinds == [(Kind.GROUP, b"undisclosed"), (Kind.END, None)]
    entries = parse(b"x@y, team: a@b, c; , d@e")
    assert [entry.kind.value for entry in entries] == ["address", "group", "address", "address", "end", "address"]
    assert [entry.kind.value for entry in parse(b"open: a@b")] == ["group", "address", "end"]


@pytest.mark.parametrize(
    "value",
    [b"a@b c@d", b"<a@b", b"a@", b"@b", b"<>", b'"x" <a@b> <c@d>', b"<a@b>c@d", b"a@b..c",
                                   b'"open <a@b>', b"(open a@b", b"a\\@b <c@d>", b".a@b", b"a@b@c", b"a@[1] b"],
)  # fmt: skip
def test_what_breaks_the_grammar_is_unsound(value: bytes) -> None:
    assert not all(entry.sound for entry in parse(value))


def test_h059_no_more_than_the_limit_is_read() -> None:
    limits = Limits(addresses_per_field=10)
    assert len(parse(b"a@b," * 10, limits)) == 10
    assert len(parse(b"a@b," * 11, limits)) == 10
    assert len(parse(b"a@b,\r\n " * 100_000)) == 1000


@pytest.mark.parametrize("value", [b"(" * 100_000, b"(a\\", b'"' * 100_001, b"<" * 100_000, b"\\" * 50_001])
def test_h063_depth_and_open_ends_cost_nothing(value: bytes) -> None:
    assert len(parse(value)) <= 1000


def _from(lines: bytes) -> tuple[list[str], tuple[str, ...], set[FromDefect]]:
    found = from_domains(split(lines + b"\r\nTo: x@y.test\r\n\r\n"))
    return [str(item) for item in found.addresses], found.domains, set(found.defects)


def test_one_plain_author_has_no_defect() -> None:
    assert _from(b"From: Maire <maire@mairie.test>") == (["maire@mairie.test"], ("mairie.test",), set())
    assert _from(b"From: a@x.test, b@Y.Test")[1:] == (("x.test", "y.test"), set())
    assert _from("From: é@écluse.test".encode())[1] == ("xn--cluse-9ra.test",)


@pytest.mark.parametrize(
    ("lines", "domains", "defect"),
    [
        (b"Sender: a@x.test", (), FromDefect.ABSENT),
        (b"From: a@x.test\r\nFrom: b@y.test", ("x.test", "y.test"), FromDefect.SEVERAL_FIELDS),
        (b"From: g: a@x.test;", ("x.test",), FromDefect.GROUP),
        (b"From: <a@x.test>b@y.test", ("x.test", "y.test"), FromDefect.SYNTAX),
        (b'From: "a" <admin@x.test> <x@y.test>', ("x.test", "y.test"), FromDefect.SYNTAX),
        (b"From: <@y.test:a@x.test>", ("x.test", "y.test"), FromDefect.SYNTAX),
        (b"From: =?utf-8?q?a=40x.test?=", (), FromDefect.NO_DOMAIN),
        (b"From: =?utf-8?b?YUB4LnRlc3Q=?=@y.test", ("y.test",), FromDefect.ENCODED),
        (b"From : a@x.test", ("x.test",), FromDefect.FIELD),
        (b"From: a@x.test\rFrom: b@y.test", ("x.test", "y.test"), FromDefect.FIELD),
        (b"From: a@x.test\0@y.test", ("x.test", "y.test"), FromDefect.FIELD),
        (b"From: a@[192.0.2.1]", (), FromDefect.BAD_DOMAIN),
        (b"From: a@x_y.test", (), FromDefect.BAD_DOMAIN),
        (b"From:", (), FromDefect.SYNTAX),
        (b"From: " + b"a@x.test," * 1001, ("x.test",), FromDefect.SYNTAX),
    ],
)
def test_h085_an_ambiguous_from_tells_every_domain_and_why(
    lines: bytes, domains: tuple[str, ...], defect: FromDefect
) -> None:
    _, found, defects = _from(lines)
    assert found == domains
    assert defect in defects


def test_a_quoted_pair_comma_is_part_of_the_local_part() -> None:
    addresses, domains, defects = _from(b'From: "a\\, b"@x.test')
    assert (addresses, domains, defects) == (['"a, b"@x.test'], ("x.test",), set())


def test_h064_an_address_is_never_decoded() -> None:
    (entry,) = parse(b"<=?utf-8?q?victim=40x.test?=@evil.test>")
    assert str(to_address(entry)) == "=?utf-8?q?victim=40x.test?=@evil.test"


_ENTRIES = st.sampled_from(["a@b.fr", "Jean D <j@m.fr>", '"D, (J)" <é@m.fr>', "x: y@z;", "a@[1]", "", "=?a?= <@>"])


@given(
    st.text(alphabet='aé0-_.@<>, "();:\\[]\t', max_size=40) | st.lists(_ENTRIES, max_size=5).map(", ".join),
    st.integers(min_value=0, max_value=4),
)
@example("a@b.fr", 100)
@example("Jean Dupont <jean@mairie.fr>", 100)
@example('"Dupont, Jean (maire)" <jean@mairie.fr>,\td@e.fr', 100)
@example("a@b.fr, c@d.fr, ", 2)
@example('"a  b" <c@d>', 1)
def test_the_usual_form_read_at_once_means_what_the_grammar_says(text: str, bound: int) -> None:
    value = text.encode()
    assert address_list.parse(value, room=bound) == address_list._Lister(bound).run(address_list._tokens(value))
