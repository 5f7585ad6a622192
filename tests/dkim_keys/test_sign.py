"""Our signatures before two judges: dkimpy and our own verifier; opendkim judges in the interop suite."""

from __future__ import annotations

import re
import time

import dkim
import pytest

from antispam.types import Result
from dkim_keys.generate import ALGORITHMS, generate
from dkim_keys.sign import LIFETIME, OVERSIGNED, Signer, sign_content
from message.content import BytesContent
from tests.antispam.dkim_tools import MESSAGE, NOW, verify
from tests.dkim_keys.keys import pair, sign_whole, signer_and_record
from tests.fakes.resolver import FakeResolver


def both() -> tuple[list[Signer], FakeResolver]:
    dns = FakeResolver()
    signers = []
    for algorithm in ALGORITHMS:
        signer, record = signer_and_record(algorithm, selector=f"s-{algorithm}")
        dns.add(f"s-{algorithm}._domainkey.x.test", "TXT", record)
        signers.append(signer)
    return signers, dns


MESSAGES = [
    MESSAGE,
    b"From: a@x.test\r\n\r\n",
    b"From: a@x.test\r\n\r\n\r\n\r\n",
    b"From: a@x.test\r\nTo: b@y.test\r\nTo: c@y.test\r\nSubject:\r\nX:  \r\n\t\r\n\r\n \r\nno end",
    "From: Évêché <a@x.test>\r\nSubject: é\r\n\r\nçà \t et  là\r\n".encode(),
    b"From: a@x.test\r\nReferences: "
    + b"<"
    + b"r" * 60
    + b"@x.test>\r\n " * 1
    + b"<z@x.test>\r\n\r\n"
    + b"x" * 70_000
    + b"\r\n",
]


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_dkimpy_and_we_accept_both_algorithms(message: bytes) -> None:
    signers, dns = both()
    result = sign_whole(message, signers, NOW, block=1000)
    assert [item.result for item in await verify(result, dns)] == [Result.PASS, Result.PASS]
    if not message.endswith(b"\r\n"):
        return  # dkimpy normalises such a body itself

    def record(name: bytes, **_: object) -> bytes:
        return bytes(dns.zone[name.decode().rstrip(".")]["TXT"][0])

    # dkimpy looks at the clock for x=, so its judgement is on a signature of now
    fresh = sign_whole(message, signers, time.time())
    judge = dkim.DKIM(fresh)
    assert [judge.verify(idx=number, dnsfunc=record) for number in range(2)] == [True, True]


async def test_sign_content_is_the_same_for_a_message_at_rest() -> None:
    signers, _ = both()
    content = BytesContent(MESSAGE)
    assert await sign_content(content, signers, NOW) + MESSAGE == sign_whole(MESSAGE, signers, NOW)
    assert await sign_content(content, [], NOW) == b""


async def test_the_field_is_folded_and_says_what_it_should() -> None:
    signers, _ = both()
    signed = sign_whole(MESSAGE, signers, NOW)
    fields = signed[: -len(MESSAGE)]
    assert fields.count(b"DKIM-Signature: v=1; a=") == 2
    assert fields.index(b"rsa-sha256") < fields.index(b"ed25519-sha256")
    assert max(len(line) for line in fields.split(b"\r\n")) <= 78
    assert all(line.startswith((b"DKIM-Signature:", b"\t")) for line in fields.split(b"\r\n")[:-1])
    assert b"c=relaxed/relaxed; d=x.test;" in fields
    assert b"t=%d; x=%d;" % (NOW, NOW + LIFETIME) in fields
    assert b"l=" not in re.sub(rb"b=[^;]*", b"", fields)


@pytest.mark.parametrize("name", [name.decode() for name in OVERSIGNED])
async def test_h079_nothing_that_people_act_on_can_be_added(name: str) -> None:
    signers, dns = both()
    signed = sign_whole(MESSAGE, signers, NOW)
    for forged in (
        f"{name}: x\r\n".encode() + signed,
        signed.replace(b"\r\n\r\n", f"\r\n{name}: x\r\n\r\n".encode(), 1),
    ):
        assert {item.result for item in await verify(forged, dns)} == {Result.FAIL}


async def test_lists_may_add_their_fields() -> None:
    signers, dns = both()
    passed = b"Received: by z\r\nList-Id: <l.test>\r\nSender: l@l.test\r\n" + sign_whole(MESSAGE, signers, NOW)
    assert [item.result for item in await verify(passed, dns)] == [Result.PASS, Result.PASS]


async def test_h081_a_signature_lives_seven_days() -> None:
    assert LIFETIME == 7 * 86400


def test_pairs_are_what_the_rfcs_ask() -> None:
    assert len(pair("rsa").public_key) == 392
    assert len(pair("ed25519").public_key) == 44
    assert "PRIVATE" not in repr(pair("rsa"))
    assert str(pair("ed25519").private_key) not in repr(pair("ed25519"))
    with pytest.raises(ValueError, match="dsa"):
        generate("dsa")
    signers, _ = both()
    assert repr(signers[0]) == "Signer(s-rsa._domainkey.x.test, rsa-sha256)"
