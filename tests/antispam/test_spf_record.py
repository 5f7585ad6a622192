"""SPF's grammar, term by term (RFC 7208 4.5, 4.6, 7.1, 12)."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from antispam.authentication.spf_macro import MacroError, parse, parse_domain_spec, shorten
from antispam.authentication.spf_record import Kind, SpfSyntaxError, parse_record, select
from antispam.types import Result
from tests.cost import cheap


def test_every_mechanism_with_qualifiers_and_modifiers() -> None:
    record = parse_record(
        b"v=spf1 A mx:%{d2}/24//64 -ip4:192.0.2.0/24 ~ip6:2001:db8::/32 ?exists:%{ir}.x.test "
        b"include:y.test ptr redirect=z.test exp=e.test moo=cow -all"
    )
    assert [m.kind for m in record.mechanisms] == [
        Kind.A, Kind.MX, Kind.IP4, Kind.IP6, Kind.EXISTS, Kind.INCLUDE, Kind.PTR, Kind.ALL,
    ]  # fmt: skip
    assert [m.result for m in record.mechanisms] == [
        Result.PASS, Result.PASS, Result.FAIL, Result.SOFTFAIL, Result.NEUTRAL, Result.PASS, Result.PASS, Result.FAIL,
    ]  # fmt: skip
    assert (record.mechanisms[1].cidr4, record.mechanisms[1].cidr6) == (24, 64)
    assert record.mechanisms[2].network == ip_network("192.0.2.0/24")
    assert record.redirect is not None
    assert record.explanation is not None


@pytest.mark.parametrize(
    "terms",
    [
        "all:x.test", "all/24", "-all.", "ip4", "ip4:", "ip4:1.2.3", "ip4:1.2.3.4/33", "ip4:1.2.3.4/032",
        "ip4:1.2.3.4:25", "ip4:256.1.1.1", "ip4:1.2.3.4/", "ip6:1.2.3.4", "ip6:::1/129", "ip6:::1//64", "ip6",
        "ip6:::g", "a:", "a/33", "a/024", "a//129", "a/", "a:x.test/", "a:museum", "a:x.123", "a:x.-test", "a:x.test-",
        "a:x test",
        "mx:", "include", "include:", "include/24", "exists", "exists:", "exists:x.test/24", "ptr:", "ptr/0",
        "moo", "moo:x.test", "-", "--all", "a%", "a:%{z}.test", "a:%{c}.test", "a:%{d0}.test", "a:%{d}.%x", "a:%(d)",
        "a:%{d,test}", "redirect=", "redirect=x.test redirect=y.test", "exp=x.test exp=y.test", "exp=x.test/24",
        "=x", "1moo=x", "moo=%abc", "redirect=%", "redirect:x.test", "a:x\ttest", "a:foo..test.",
    ],
)  # fmt: skip
def test_a_faulty_term_makes_the_record_an_error(terms: str) -> None:
    if terms == "a:foo..test.":
        parse_record(f"v=spf1 {terms}".encode())  # an empty label is for DNS to find, not for the grammar
        return
    with pytest.raises(SpfSyntaxError):
        parse_record(f"v=spf1 {terms} -all".encode())


@pytest.mark.parametrize("record", [b"v=spf1", b"v=spf1 ", b"V=SPF1 -all", b"v=spf1   -all   a"])
def test_spf_records_are_recognised(record: bytes) -> None:
    assert select([record]) == [record]
    parse_record(record)


@pytest.mark.parametrize("record", [b"v=spf10 -all", b"v=spf1-all", b"v=spf1/a", b" v=spf1 -all", b"v=spf2.0/pra -all"])
def test_other_records_are_not(record: bytes) -> None:
    assert select([record]) == []


def test_h074_non_ascii_is_an_error() -> None:
    with pytest.raises(SpfSyntaxError):
        parse_record("v=spf1 a:é.test -all".encode())


def test_h075_a_giant_record_is_an_error_at_once() -> None:
    with cheap(2):
        with pytest.raises(SpfSyntaxError):
            parse_record(b"v=spf1 " + b"a " * 40_000)
        for bomb in (b"a:" + b"%{d}" * 16_000, b"a:" + b"." * 60_000, b"a:" + b"a/" * 30_000, b"m" * 60_000 + b"=%"):
            with pytest.raises(SpfSyntaxError):
                parse_record(b"v=spf1 " + bomb + b" moo")


@pytest.mark.parametrize(
    ("text", "value", "expanded"),
    [
        ("%{s}", "strong-bad@email.example.com", "strong-bad@email.example.com"),
        ("%{d}", "email.example.com", "email.example.com"),
        ("%{d4}", "email.example.com", "email.example.com"),
        ("%{d2}", "email.example.com", "example.com"),
        ("%{d1}", "email.example.com", "com"),
        ("%{dr}", "email.example.com", "com.example.email"),
        ("%{d2r}", "email.example.com", "example.email"),
        ("%{l-}", "strong-bad", "strong.bad"),
        ("%{lr-}", "strong-bad", "bad.strong"),
        ("%{l1r-}", "strong-bad", "strong"),
        ("%{L}", "a b/ç", "a%20b%2F%C3%A7"),
        ("%%%_%-", "", "% %20"),
        ("%{d256}", "a.b", "a.b"),
    ],
)
def test_macros_expand_as_rfc_7208_7_4_shows(text: str, value: str, expanded: str) -> None:
    values = {"s": value, "d": value, "l": value}
    assert parse(text).expand(values) == expanded


def test_h074_an_expanded_name_loses_labels_on_the_left_past_253() -> None:
    name = ".".join(["a" * 60] * 8) + ".x.test"
    short = shorten(name)
    assert len(short) <= 253
    assert name.endswith("." + short)
    assert shorten("a" * 300) == "a" * 300, "one label that cannot be cut is left for DNS to refuse"


def test_h074_a_giant_macro_is_a_name_in_no_time() -> None:
    """Labels were removed one at a time from megabytes: one message held the process for minutes."""
    values = {"s": "a." * 31 + "a@b.test"}
    giant = parse_domain_spec("%{s}" * 16_000 + ".x.test")
    with cheap(0.5):
        name = giant.name(values)
        long = shorten("a." * 1_000_000 + "x.test")
    assert len(name) <= 253
    assert name.endswith("a.a@b.test.x.test")
    assert len(long) <= 253
    assert long.endswith(".a.x.test")
    assert name == shorten(giant.expand(values))


def test_domain_spec_ends_in_a_domain_or_a_macro() -> None:
    for good in ("x.test", "x.test.", "%{d}", "x.%{d}", "x.t-1", "x.1a"):
        parse_domain_spec(good)
    for bad in ("x", "x.1", "x.a-", "", "x.test..", "%{d}x"):
        with pytest.raises(MacroError):
            parse_domain_spec(bad)
