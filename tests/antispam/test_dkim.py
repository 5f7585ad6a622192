"""Verification against dkimpy's signatures, and the attacks of security.md rows 76-82."""

from __future__ import annotations

import base64
import random
import re

import dkim
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from antispam.types import Dkim, Result
from dkim_keys.sign import LIFETIME, canonical
from message.canonical import relaxed_field
from message.content import head_length
from message.header import split
from tests.antispam.dkim_tools import (
    MESSAGE,
    NOW,
    ed_pair,
    ed_resolver,
    resolver,
    retag,
    rsa_pair,
    signed,
    verify,
)
from tests.cost import cheap
from tests.dkim_keys.keys import sign_whole, signer_and_record
from tests.fakes.resolver import FakeResolver


async def one(message: bytes, dns: FakeResolver | None = None, **options: float) -> Dkim:
    (result,) = await verify(message, dns or resolver(), **options)  # type: ignore[arg-type]  # test convenience
    return result


@pytest.mark.parametrize("canon", ["simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"])
@pytest.mark.parametrize("algorithm", ["rsa", "ed25519"])
async def test_dkimpys_signatures_pass_whole_and_octet_by_octet(canon: str, algorithm: str) -> None:
    message = signed(canon=canon, algorithm=algorithm)
    dns = resolver() if algorithm == "rsa" else ed_resolver()
    for block in (1 << 20, 7, 1):
        result = await one(message, dns, block=block)
        assert (result.result, result.domain, result.selector) == (Result.PASS, "x.test", "sel")
        assert result.algorithm == f"{algorithm}-sha256"
        assert not result.weak
        assert len(result.signature) == 8


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.replace(b"Bonjour", b"bonjour"), "body-hash-differs"),
        (lambda m: m + b"x", "body-hash-differs"),
        (lambda m: m.replace(b"Mairie", b"mairie"), "signature-differs"),
        (lambda m: m.replace(b"Subject: Conseil", b"Subject: Xonseil"), "signature-differs"),
        (lambda m: retag(m, b"t", b"1"), "signature-differs"),
    ],
)
async def test_any_change_fails(change: object, reason: str) -> None:
    assert callable(change)
    result = await one(change(signed()))
    assert (result.result, result.reason) == (Result.FAIL, reason)


async def test_relaxed_forgives_what_relays_do_and_simple_does_not() -> None:
    def respaced(message: bytes) -> bytes:
        return message.replace(b"Subject: Conseil  municipal\r\n du 12", b"Subject:  Conseil municipal du\r\n\t12")

    assert (await one(respaced(signed()))).result is Result.PASS
    assert (await one(respaced(signed(canon="simple/simple")))).result is Result.FAIL
    assert (await one(signed() + b"\r\n\r\n")).result is Result.PASS


async def test_an_unsigned_message_has_no_result() -> None:
    assert await verify(MESSAGE, resolver()) == ()


async def test_random_messages_agree_with_dkimpy(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(8463)
    seen = set()
    for _ in range(150):
        lines = [b"From: a@x.test"]
        lines += [
            b"%s:%s%s"
            % (
                rng.choice([b"To", b"Cc", b"X-A", b"Subject"]),
                rng.choice([b"", b" ", b"\t "]),
                rng.choice([b"v", b"a  b", b"\xc3\xa9", b"a\r\n\t b "]),
            )
            for _ in range(rng.randint(0, 4))
        ]
        body = b"".join(rng.choices([b"x", b" ", b"\t", b"\r\n"], k=rng.randint(0, 30))) + b"\r\n"
        message = signed(
            b"\r\n".join(lines) + b"\r\n\r\n" + body,
            algorithm="ed25519",
            canon=rng.choice(["simple/simple", "relaxed/relaxed", "simple/relaxed", "relaxed/simple"]),
            headers=[b"from", b"to", b"cc", b"subject", b"x-a"],
        )
        if rng.random() < 0.4:
            start = message.index(b"From: a@")
            at = rng.choice([n for n in range(start, len(message)) if message[n] not in b"\r\n:"])
            message = message[:at] + rng.choice([b"y", b" ", b"\t"]) + message[at + 1 :]
        try:
            theirs = dkim.verify(message, dnsfunc=lambda *_, **__: ed_pair()[1])
        except dkim.MessageFormatError:
            continue  # a field name was hit
        ours = await one(message, ed_resolver(), block=rng.randint(1, 50))
        if ours.reason.startswith("added-"):
            continue  # dkimpy lets a second Subject stand beside a signed one
        assert (ours.result is Result.PASS) == theirs, (message, ours)
        seen.add(theirs)
    assert seen == {True, False}


# --- keys ----------------------------------------------------------------------------------------------------------


def key(**tags: str) -> list[bytes]:
    public = rsa_pair()[1].rpartition(b"p=")[2].decode()
    merged = {"v": "DKIM1", "k": "rsa", "p": public, **tags}
    return ["; ".join(f"{name}={value}" for name, value in merged.items()).encode()]


@pytest.mark.parametrize(
    ("records", "result", "reason"),
    [
        ([], Result.PERMERROR, "no-key"),
        ([b"v=DKIM1; p="], Result.PERMERROR, "key-revoked"),
        ([b"v=DKIM1; k=rsa"], Result.PERMERROR, "malformed-key"),
        ([b"v=DKIM2; p=AAAA"], Result.PERMERROR, "malformed-key"),
        ([b"p=AAAA; v=DKIM1"], Result.PERMERROR, "malformed-key"),
        ([b"v=DKIM1; p=!!!!"], Result.PERMERROR, "malformed-key"),
        ([b"v=DKIM1; p=AAAA"], Result.PERMERROR, "malformed-key"),
        ([b"\xff\xfe"], Result.PERMERROR, "malformed-key"),
        (key(k="ed25519"), Result.PERMERROR, "key-of-another-type"),
        (key(h="sha1"), Result.PERMERROR, "hash-not-allowed"),
        (key(h="sha1:sha256"), Result.PASS, ""),
        (key(s="other"), Result.PERMERROR, "key-not-for-mail"),
        (key(s="email"), Result.PASS, ""),
        (key(t="y"), Result.PASS, "testing"),
        (key(t="s"), Result.PASS, ""),
        ([b"junk", *key()], Result.PASS, ""),
        (key(n="a note"), Result.PASS, ""),
    ],
)
async def test_a_key_record_is_used_or_refused_with_its_reason(
    records: list[bytes], result: Result, reason: str
) -> None:
    dns = FakeResolver({"sel._domainkey.x.test": {"TXT": records}} if records else {})
    outcome = await one(signed(), dns)
    assert (outcome.result, outcome.reason) == (result, reason)


def by_hand(message: bytes, names: list[bytes]) -> bytes:
    """A relaxed signature of fields that dkimpy would not sign."""
    cut = head_length(message)
    body = re.search(rb"bh=([^;]+);", signed(message))
    assert body is not None
    field = b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=x.test; s=sel; h=%s;\r\n\tbh=%s;\r\n\tb=" % (
        b":".join(names), body[1],
    )  # fmt: skip
    data = canonical(split(message[:cut]), names) + relaxed_field(field + b"\r\n").removesuffix(b"\r\n")
    key = load_pem_private_key(rsa_pair()[0], None)
    assert isinstance(key, RSAPrivateKey)
    return field + base64.b64encode(key.sign(data, padding.PKCS1v15(), hashes.SHA256())) + b"\r\n" + message


async def test_rfc6376_5_4_a_signature_named_by_another_is_one_that_was_there_before() -> None:
    """Named once more than there are, so that none can be added below; never the signature itself."""
    twice = by_hand(signed(), [b"from", b"subject", b"dkim-signature", b"dkim-signature"])
    assert [item.result for item in await verify(twice, resolver())] == [Result.PASS, Result.PASS]
    added = twice.replace(b"From: Mairie", b"DKIM-Signature: v=1\r\nFrom: Mairie")
    assert (await verify(added, resolver()))[0].reason == "signature-differs"


async def test_a_strict_key_wants_the_very_domain_as_identity() -> None:
    message = signed(identity=b"a@sub.x.test")
    assert (await one(message, FakeResolver({"sel._domainkey.x.test": {"TXT": key()}}))).result is Result.PASS
    strict = FakeResolver({"sel._domainkey.x.test": {"TXT": key(t="s")}})
    assert (await one(message, strict)).reason == "identity-outside-domain"


async def test_h089_a_key_that_dns_does_not_tell_is_temporary(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await one(signed(), FakeResolver(failing=["sel._domainkey.x.test"]))).result is Result.TEMPERROR
    monkeypatch.setattr("antispam.authentication.dkim.KEY_TIMEOUT", 0.05)
    slow = FakeResolver(slow={"sel._domainkey.x.test": 5})
    assert (await one(signed(), slow)).reason == "key-timeout"


async def test_h076_ten_signatures_are_verified_and_the_rest_refused_without_a_question() -> None:
    field = signed()[: -len(MESSAGE)]
    many = b"".join(field.replace(b"s=sel", b"s=sel%d" % n) for n in range(129))
    dns = resolver()
    results = await verify(many + MESSAGE, dns)
    assert len(results) == 129
    assert sum(dns.questions.values()) == 10
    assert {item.reason for item in results[10:]} == {"too-many-signatures"}
    assert {item.result for item in results[10:]} == {Result.PERMERROR}
    good_first = await verify(field + many + MESSAGE, resolver())
    assert good_first[0].result is Result.PASS


@pytest.mark.parametrize("bits", [512, 768, 1023])
async def test_h077_keys_under_1024_bits_are_refused(bits: int) -> None:
    dns = FakeResolver({"sel._domainkey.x.test": {"TXT": [_rsa_record(bits)]}})
    outcome = await one(signed(), dns)
    assert (outcome.result, outcome.reason) == (Result.PERMERROR, "key-too-short")


def _rsa_record(bits: int) -> bytes:
    """A record with a modulus of exactly that many bits; nobody needs its private half."""
    modulus = (1 << (bits - 1)) | random.Random(bits).getrandbits(bits - 1) | 1
    public = RSAPublicNumbers(65537, modulus).public_key()
    return b"p=" + base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


async def test_h077_8192_bits_are_looked_at_and_16384_refused() -> None:
    for bits, reason in ((8192, "signature-differs"), (8200, "key-too-long"), (16384, "key-too-long")):
        dns = FakeResolver({"sel._domainkey.x.test": {"TXT": [_rsa_record(bits)]}})
        assert (await one(signed(), dns)).reason == reason


async def test_h077_1024_bits_pass_and_can_be_made_weak() -> None:
    message = signed(bits=1024)
    assert not (await one(message, resolver(1024))).weak
    strict = await one(message, resolver(1024), weak_below=2048)
    assert (strict.result, strict.weak, strict.reason) == (Result.PASS, True, "short-key")


async def test_an_underscore_in_a_selector_is_taken() -> None:
    """Only the name of the key's record: it is absent, so the question itself shows that it was asked."""
    dns = FakeResolver({})
    outcome = await one(signed().replace(b"s=sel;", b"s=s_el;"), dns)
    assert [name for _, name in dns.questions] == ["s_el._domainkey.x.test"]
    assert outcome.reason == "no-key"


async def test_h078_a_length_that_leaves_text_unsigned_is_weak() -> None:
    message = signed(length=True)
    exact = await one(message)
    assert (exact.result, exact.weak) == (Result.PASS, False)
    appended = await one(message + b"Payez ici: http://evil.test\r\n")
    assert (appended.result, appended.weak, appended.reason) == (Result.PASS, True, "body-partly-signed")
    cut = await one(message[:-30])
    assert (cut.result, cut.reason) == (Result.FAIL, "body-shorter-than-signed")


@pytest.mark.parametrize(
    ("selector", "identity", "told"),
    [("clé", "maïté@école.test", "@xn--cole-9oa.test"), ("xn--cl-cja", "x@cm2.école.test", "x@cm2.xn--cole-9oa.test")],
)
async def test_rfc8616_names_in_letters_are_asked_for_and_told_as_a_labels(
    selector: str, identity: str, told: str
) -> None:
    """RFC 8616 4: U-labels in d=, s= and i=, and a local part beyond ASCII, which no field of ours repeats."""
    field = dkim.sign(
        MESSAGE, selector.encode(), "école.test".encode(), rsa_pair(2048)[0], identity=identity.encode(),
        canonicalize=(b"relaxed", b"relaxed"), include_headers=[b"from", b"to", b"subject", b"date"], linesep=b"\r\n",
    )  # fmt: skip
    assert "école".encode() in field
    dns = FakeResolver({"xn--cl-cja._domainkey.xn--cole-9oa.test": {"TXT": [rsa_pair(2048)[1]]}})
    [found] = await verify(field + MESSAGE, dns)
    assert (found.result, found.domain, found.selector) == (Result.PASS, "xn--cole-9oa.test", "xn--cl-cja")
    assert found.identity == told
    [broken] = await verify(field + MESSAGE.replace(b"From: ", b"From: X "), dns)
    assert broken.result is Result.FAIL


@pytest.mark.parametrize("domain", ["xn--a.test", "a\u202eb.test", "école..test", "écol\u00ade..test"])
async def test_rfc8616_what_is_no_name_costs_no_question(domain: str) -> None:
    dns = FakeResolver()
    message = retag(signed(), b"d", domain.encode())
    [found] = await verify(message, dns)
    assert (found.result, dns.questions.total()) == (Result.PERMERROR, 0)


async def test_h079_from_must_be_signed() -> None:
    outcome = await one(retag(signed(), b"h", b"to:subject"))
    assert (outcome.result, outcome.reason) == (Result.PERMERROR, "from-not-signed")


@pytest.mark.parametrize("name", [b"From", b"Subject", b"To", b"Date", b"Message-ID"])
async def test_h079_a_field_added_to_signed_mail_fails(name: bytes) -> None:
    outcome = await one(name + b": forged@evil.test\r\n" + signed())
    assert (outcome.result, outcome.reason) == (Result.FAIL, f"added-{name.decode().lower()}")


async def test_h079_added_trace_fields_do_no_harm() -> None:
    assert (await one(b"Received: by z.test\r\nX-Spam: no\r\n" + signed())).result is Result.PASS


async def test_h080_expiry_has_five_minutes_of_grace_and_a_future_start_is_ignored() -> None:
    signer, record = signer_and_record("ed25519")
    message = sign_whole(MESSAGE, [signer], NOW)
    dns = FakeResolver({"sel._domainkey.x.test": {"TXT": [record]}})
    for now, result in (
        (NOW - 3600, Result.PASS),
        (NOW + LIFETIME + 299, Result.PASS),
        (NOW + LIFETIME + 301, Result.FAIL),
    ):
        assert (await one(message, dns, now=now)).result is result
    assert (await one(message, dns, now=NOW + LIFETIME + 301)).reason == "expired"


@pytest.mark.parametrize(
    ("tag", "value", "reason"),
    [
        (b"s", b"sel._domainkey.evil.test.\x00.any", "malformed-signature"),
        (b"s", b"sel..a", "malformed-selector"),
        (b"s", b"sel'a", "malformed-selector"),
        (b"s", b"a" * 64, "malformed-selector"),
        (b"s", b"a." * 120 + b"a", "malformed-selector"),
        (b"s", b"", "malformed-selector"),
        (b"d", b"x.test'a.evil.test", "malformed-domain"),
        (b"d", b"x.test(a", "malformed-domain"),
        (b"d", b"test", "malformed-domain"),
        (b"d", b"x.test.", "malformed-domain"),
        (b"d", b"x..test", "malformed-domain"),
        (b"d", b"192.0.2.1", "malformed-domain"),
        (b"i", b"a@evil.test", "identity-outside-domain"),
        (b"i", b"a@notx.test", "identity-outside-domain"),
        (b"a", b"rsa-sha1", "unusable-algorithm"),
        (b"a", b"none", "unusable-algorithm"),
        (b"v", b"2", "unknown-version"),
        (b"q", b"dns/other", "unknown-query-method"),
        (b"c", b"nofws", "unknown-canonicalisation"),
        (b"h", b"from::to", "malformed-header-list"),
        (b"h", b"from:t\xc3\xa9", "malformed-header-list"),
        (b"bh", b"!", "malformed-base64"),
        (b"b", b"", "empty-signature"),
        (b"l", b"-1", "malformed-number"),
        (b"l", b"9" * 77, "malformed-number"),
        (b"t", b"1e3", "malformed-number"),
        (b"x", b"1", "expires-before-signed"),
    ],
)
async def test_h082_signatures_outside_the_grammar_cost_no_question(tag: bytes, value: bytes, reason: str) -> None:
    message = signed(identity=b"a@x.test", length=True)
    if tag == b"x":
        message = message.replace(b"v=1;", b"v=1; x=" + value + b";", 1)
    elif tag == b"v":
        message = message.replace(b"v=1;", b"v=" + value + b";", 1)
    else:
        message = retag(message, tag, value)
    dns = resolver()
    outcome = await one(message, dns)
    assert (outcome.result, outcome.reason) == (Result.PERMERROR, reason)
    assert not dns.questions
    assert f"{outcome.domain}{outcome.selector}".isascii()


async def test_a_duplicate_tag_is_no_signature() -> None:
    assert (await one(signed().replace(b"v=1;", b"v=1; s=sel;", 1))).reason == "malformed-signature"
    assert (await one(b"DKIM-Signature: v=1\r\n" + MESSAGE)).reason == "missing-tag"


async def test_f144_a_signature_of_64_kib_is_read_in_no_time() -> None:
    with cheap(2):
        for bomb in (
            b"h=" + b"from:" * 12_000,
            b";" * 60_000,
            b"b=" + b" " * 60_000,
            (b"a" * 50 + b"=1;") * 1000,
            b" b" * 30_000,
        ):
            await verify(b"DKIM-Signature: v=1; " + bomb + b"\r\n" + MESSAGE, resolver())
