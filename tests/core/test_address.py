"""Addresses: one strict parser (RFC 5321 4.1.2, RFC 6531), rows 43-50 of the hostile catalogue."""

from __future__ import annotations

import idna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.address import Address, AddressError, parse, parse_path
from core.domain import DomainError, to_ascii


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        ("jean@mairie.fr", "jean", "mairie.fr"),
        ("Jean.Dupont+rib@Mairie.FR", "Jean.Dupont+rib", "mairie.fr"),
        ("secrétariat@mairie-évry.fr", "secrétariat", "xn--mairie-vry-h7a.fr"),
        ('"a b"@mairie.fr', "a b", "mairie.fr"),
        ('"a\\"b"@mairie.fr', 'a"b', "mairie.fr"),
        ("user@mairie.fr.", "user", "mairie.fr"),
        ("user@mairie.fr", "user", "mairie.fr"),
    ],
)
def test_addresses_have_one_inner_value(text: str, local: str, domain: str) -> None:
    assert parse(text) == Address(local, domain)


@pytest.mark.parametrize(
    "text",
    [
        "user@mairie.fr@other.org", "user@", "@", "@mairie.fr", "user", "user@[127.0.0.1]", "a..b@mairie.fr",
        ".a@mairie.fr", "a.@mairie.fr", '""@mairie.fr', '"a\r\nb"@mairie.fr', '"a\x00b"@mairie.fr', "a b@mairie.fr",
        "a<b@mairie.fr", "a(c)@mairie.fr", "user@mairie..fr", "user@-mairie.fr", "user@mairie_.fr", "user@1.2.3.4",
        "user@xn--zzzzzzzzz99.fr",
    ],
)  # fmt: skip
def test_h045_h046_h047_malformed_addresses_are_refused(text: str) -> None:
    with pytest.raises(AddressError):
        parse(text)


@pytest.mark.parametrize("local", ["user%other.org", "other.org!user", "${run{id}}", ";id;", "|cmd", "../../x"])
def test_h043_h048_routing_tricks_are_plain_local_parts_or_refused(local: str) -> None:
    try:
        address = parse(f"{local}@mairie.fr")
    except AddressError:
        return
    assert address == Address(local, "mairie.fr")


def test_h044_a_source_route_is_stripped_before_the_address_is_judged() -> None:
    assert parse_path("@mairie.fr,@b.fr:user@other.org") == Address("user", "other.org")


def test_the_null_path_is_none() -> None:
    assert parse_path("") is None


def test_h049_composed_and_decomposed_letters_are_one_address() -> None:
    assert parse("e\u0301lu@mairie.fr") == parse("\u00e9lu@mairie.fr")


@pytest.mark.parametrize("text", ["a\u202eb@mairie.fr", "a\u200bb@mairie.fr", "a\ud800b@mairie.fr", "a\x85b@mairie.fr"])
def test_h049_invisible_characters_are_refused(text: str) -> None:
    with pytest.raises(AddressError):
        parse(text)


def test_an_internationalised_address_needs_smtputf8() -> None:
    with pytest.raises(AddressError):
        parse_path("secrétariat@mairie.fr", utf8=False)


@pytest.mark.parametrize("domain", ["a" * 65536, ".".join(["a"] * 300), "é" * 60000, "xn--" + "a" * 5000])
def test_h050_long_domains_are_refused_before_idna(domain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(idna, "encode", lambda name, **_: asked.append(name))
    monkeypatch.setattr(idna, "ulabel", asked.append)
    with pytest.raises(AddressError):
        parse(f"user@{domain}")
    with pytest.raises(DomainError):
        to_ascii(domain)
    assert asked == []


def test_the_local_part_ends_at_64_octets() -> None:
    assert parse("a" * 64 + "@mairie.fr").local == "a" * 64
    with pytest.raises(AddressError):
        parse("a" * 65 + "@mairie.fr")


def test_a_subaddress_belongs_to_its_user() -> None:
    assert parse("jean+rib+2@mairie.fr").without_subaddress() == Address("jean", "mairie.fr")
    assert parse("+x@mairie.fr").without_subaddress() == Address("+x", "mairie.fr")


@given(st.text(min_size=1, max_size=30))
def test_the_wire_form_parses_back_to_the_same_value(local: str) -> None:
    try:
        address = parse(str(Address(local, "mairie.fr")))
    except AddressError:
        return
    assert parse(str(address)) == address


def test_h050_what_is_accepted_can_be_read_again_from_its_own_written_form() -> None:
    """A short U-label spelling of a long domain, with a local part full of escapes, became an address that the queue
    wrote down and could not read: every claim failed from then on."""
    domain = ".".join(["é"] * 31) + ".fr"
    for quotes in range(1, 64):
        text = '"' + '\\"' * quotes + f'"@{domain}'
        try:
            address = parse(text)
        except AddressError:
            continue
        assert parse(str(address)) == address
    with pytest.raises(AddressError, match="too long"):
        parse('"' + '\\"' * 60 + f'"@{domain}')
