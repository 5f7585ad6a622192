"""Seeded mutations of good input: parsers answer with a value or their own error, in bounded time, never else."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from antispam.authentication import dkim_header, dkim_key, dmarc_record, results, spf_macro, spf_record
from antispam.rspamd import _BadAnswerError, read_verdict
from message import taglist
from tests.antispam.dkim_tools import rsa_pair, signed
from tests.cost import cheap

SPF = (
    b"v=spf1 a:%{d2r-}.x.test/24//64 mx ip4:192.0.2.0/24 -ip6:2001:db8::/32 include:y.test "
    b"exists:%{ir}.%{v}.z.test exp=e.%{d} ~all"
)
DMARC = b"v=DMARC1; p=reject; sp=none; np=quarantine; adkim=s; t=y; psd=n; rua=mailto:a@x.test!10m,https://x.test/"
AR = b'mx.test 1; spf=pass (a(b)c) smtp.mailfrom="a b"@x.test; dkim=fail reason="x" header.d=x.test header.b=AbC; none'
JSON = b'{"action": "add header", "score": 7.5, "required_score": 15, "symbols": {"A": {"score": 1}}, "messages": {}}'
JUNK = [
    b"\x00",
    b"\r\n",
    b"\xff",
    b";",
    b"=",
    b"%",
    b"{",
    b"}",
    b"(",
    b")",
    b'"',
    b"\\",
    b"/",
    b":",
    b"@",
    b" ",
    b"9" * 30,
    b"\t",
]


def mutations(seed: bytes, count: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    for _ in range(count):
        data = bytearray(seed)
        for _ in range(rng.randint(1, 6)):
            at = rng.randint(0, len(data))
            action = rng.randint(0, 3)
            if action == 0:
                data[at:at] = rng.choice(JUNK)
            elif action == 1:
                del data[at : at + rng.randint(1, 10)]
            elif action == 2:
                data[at : at + 1] = rng.choice(JUNK)
            else:
                piece = data[at : at + rng.randint(1, 20)]
                data[at:at] = piece * rng.choice([1, 2, 200])
        yield bytes(data)


def _spf_macro(data: bytes) -> object:
    return spf_macro.parse_explanation(data.decode("latin-1")).expand(dict.fromkeys("slodiphvcrt", "a.b-c@d"))


TARGETS: list[tuple[str, bytes, Callable[[bytes], object], tuple[type[Exception], ...]]] = [
    ("spf record", SPF, spf_record.parse_record, (spf_record.SpfSyntaxError,)),
    ("spf macro", SPF, _spf_macro, (spf_macro.MacroError,)),
    ("dkim signature", b"", dkim_header.parse_signature, (dkim_header.SignatureError,)),
    ("dkim key", b"", lambda data: dkim_key.parse_key(data, "rsa-sha256"), (dkim_key.KeyRecordError,)),
    ("dmarc record", DMARC, lambda data: dmarc_record.choose([data]), ()),
    ("tag list", DMARC, taglist.parse, (taglist.TagListError,)),
    ("results", AR, results.parse, ()),
    ("rspamd", JSON, read_verdict, (_BadAnswerError,)),
]


@pytest.mark.parametrize(("name", "seed", "parse", "expected"), TARGETS, ids=[target[0] for target in TARGETS])
def test_no_mutation_gets_past_the_parser(
    name: str, seed: bytes, parse: Callable[[bytes], object], expected: tuple[type[Exception], ...]
) -> None:
    if name == "dkim signature":
        seed = signed(identity=b"a@x.test").partition(b":")[2].partition(b"\r\nFrom:")[0]
    if name == "dkim key":
        seed = rsa_pair()[1]
    values = errors = 0
    for data in mutations(seed, 3000):
        with cheap(0.5, data[:200]):
            try:
                parse(data)
                values += 1
            except expected:
                errors += 1
    assert values, "some mutations do no harm"
    assert errors or not expected, "and some do"
