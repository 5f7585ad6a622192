"""Authentication-Results: what we write reads back the same, and carries nothing foreign (rows 83, 84)."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from antispam.authentication.results import Claim, compose, compose_login, parse
from antispam.types import Authentication, Dkim, Dmarc, Iprev, Result, Spf
from tests.cost import cheap

CLEAN = Authentication(
    Spf(Result.PASS, "mailfrom", "x.test", "pass"),
    (Dkim(Result.PASS, "x.test", "sel", "rsa-sha256", "@x.test", "", False, "AbCd/+12"),),
    Dmarc(Result.PASS, "x.test", "reject", "none", "x.test", "aligned"),
    Iprev(Result.PASS, "mail.x.test"),
)


def unfolded(field: bytes) -> bytes:
    assert field.startswith(b"Authentication-Results: ")
    assert field.endswith(b"\r\n")
    return re.sub(rb"\r\n(?=\t)", b"", field[len(b"Authentication-Results: ") : -2])


def test_the_field_says_everything_and_reads_back() -> None:
    field = compose("mx.dept.test", CLEAN, "2001:db8::1")
    assert field == (
        b"Authentication-Results: mx.dept.test;\r\n"
        b"\tspf=pass smtp.mailfrom=x.test;\r\n"
        b"\tdkim=pass header.d=x.test header.i=@x.test header.s=sel header.a=rsa-sha256 header.b=\"AbCd/+12\";\r\n"
        b"\tdmarc=pass (p=reject dis=none) header.from=x.test;\r\n"
        b"\tiprev=pass (mail.x.test) policy.iprev=\"2001:db8::1\"\r\n"
    )  # fmt: skip
    claims = parse(unfolded(field))
    assert claims is not None
    assert claims.authserv_id == "mx.dept.test"
    assert claims.claims[0] == Claim("spf", "pass", (("smtp.mailfrom", "x.test"),))
    assert [(claim.method, claim.result) for claim in claims.claims] == [
        ("spf", "pass"), ("dkim", "pass"), ("dmarc", "pass"), ("iprev", "pass"),
    ]  # fmt: skip
    assert ("header.b", "AbCd/+12") in claims.claims[1].properties


def test_helo_is_told_behind_the_reverse_path() -> None:
    """RFC 7208 9.2: a result for each identity, told apart by its property."""
    both = replace(CLEAN, helo=Spf(Result.FAIL, "helo", "mail.y.test", "fail"))
    claims = parse(unfolded(compose("mx.dept.test", both, "192.0.2.1")))
    assert claims is not None
    assert claims.claims[:2] == (
        Claim("spf", "pass", (("smtp.mailfrom", "x.test"),)),
        Claim("spf", "fail", (("smtp.helo", "mail.y.test"),)),
    )


def test_no_signature_is_told_as_none_and_failures_with_their_reason() -> None:
    bare = Authentication(
        Spf(Result.PERMERROR, "helo", "h.test", "too-many-lookups"),
        (),
        Dmarc(Result.FAIL, "x.test", "quarantine", "quarantine", "x.test", "not-aligned"),
        Iprev(Result.PERMERROR),
    )
    text = compose("mx.test", bare, "192.0.2.1").decode()
    assert "spf=permerror reason=too-many-lookups smtp.helo=h.test" in text
    assert "\tdkim=none;" in text
    assert "dmarc=fail (p=quarantine dis=quarantine) reason=not-aligned header.from=x.test" in text
    assert "iprev=permerror policy.iprev=192.0.2.1" in text


def test_h078_a_weak_signature_does_not_read_as_pass() -> None:
    weak = Dkim(Result.PASS, "x.test", "sel", "rsa-sha256", "@x.test", "body-partly-signed", weak=True)
    text = compose("mx.test", Authentication(CLEAN.spf, (weak,), CLEAN.dmarc, CLEAN.iprev), "192.0.2.1").decode()
    assert "dkim=policy reason=body-partly-signed" in text


HOSTILE = [
    "a\r\nX-Injected: yes",
    "a\nb",
    "a\x00b",
    "x.test(a.attack.com",
    "legit.com'@any.attack.com",
    'a"; dkim=pass header.d="bank.test',
    "x.test; dmarc=pass",
    "é.test",
    "a b",
    "\x1b[31m",
    "a\\",
    "x" * 5000,
    "\u202ex",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_h083_no_value_leaves_its_place(value: str) -> None:
    hostile = Authentication(
        Spf(Result.FAIL, "mailfrom", value, value),
        (Dkim(Result.FAIL, value, value, value, value, value, False, value),),
        Dmarc(Result.FAIL, value, value, value, value, value),
        Iprev(Result.PASS, value),
        helo=Spf(Result.FAIL, "helo", value, value),
    )
    field = compose("mx.test", hostile, value)
    assert all(octet in b"\r\n\t" or 32 <= octet < 127 for octet in field)
    assert all(line.startswith(b"\t") for line in field.split(b"\r\n")[1:-1])
    assert max(len(line) for line in field.split(b"\r\n")) < 998
    claims = parse(unfolded(field))
    assert claims is not None
    assert [claim.method for claim in claims.claims] == ["spf", "spf", "dkim", "dmarc", "iprev"]
    assert {claim.result for claim in claims.claims} == {"fail", "pass"}
    assert b"bank.test" not in field
    assert b"Injected" not in field


def test_h076_a_hundred_signatures_do_not_make_a_hundred_lines() -> None:
    many = tuple(Dkim(Result.PERMERROR, "", "", reason="too-many-signatures") for _ in range(129))
    field = compose("mx.test", Authentication(CLEAN.spf, many, CLEAN.dmarc, CLEAN.iprev), "192.0.2.1")
    assert field.count(b"dkim=") == 10


def test_a_login_is_told_without_its_name() -> None:
    assert compose_login("mx.test", "PLAIN") == b"Authentication-Results: mx.test;\r\n\tauth=pass (PLAIN)\r\n"
    assert b"\r\nX" not in compose_login("mx.test", "a)\r\nX: (")


@pytest.mark.parametrize(
    "value", [b"", b";", b"mx.test; spf=pass (a", b"\xff", b"mx.test 9; spf=pass", b"((((", b"mx.test; ="]
)
def test_h084_what_cannot_be_read_is_absent(value: bytes) -> None:
    assert parse(value) is None


def test_f144_reading_is_bounded() -> None:
    with cheap(2):
        for bomb in (
            b"(" * 100_000,
            b"mx; " + b"a=b;" * 20_000,
            b"mx; x=" + b"(" * 90 + b")" * 90,
            b"mx; " + b"\t" * 16_000,
        ):
            parse(bomb)
