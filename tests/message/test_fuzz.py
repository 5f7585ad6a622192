"""Seeded mutations of good and odd messages: nothing raises, nothing hangs, no string breaks its line."""

import random

import pytest

from tests.fakes.mutation import mutated
from tests.fuzz.message import one_input
from tests.message.samples import ODD, message

TOKENS = [
    b"\r\n", b"\r", b"\n", b"\0", b"--", b"=?utf-8?q?", b"?=", b'"', b"\\", b"(", b")", b"<", b">", b"@", b",", b";",
    b":", b"Content-Type: ", b"multipart/mixed; boundary=", b"message/rfc822", b"base64", b"\xff", b"*0*=", b"\r\n\r\n",
    b"charset=utf-7", b"charset=utf-16", b"<script>", b"&#", b"Date: 1 Jan 2000 1:1", b"From: ",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
def test_no_mutated_message_raises(seed: int) -> None:
    dice = random.Random(seed)
    for number in range(60):
        source = dice.choice(ODD) if number % 3 == 0 else message(dice.randrange(1000))
        data = mutated(dice, source, TOKENS)
        try:
            one_input(data)
        except Exception as error:
            raise AssertionError(f"seed {seed}, input {number}: {data!r}") from error
