"""Base subjects as RFC 5256 2.1 makes them."""

import pytest

from message.decode import words
from message.subject import parse


@pytest.mark.parametrize(
    ("value", "base", "reply"),
    [
        (b"plain", "plain", False),
        (b"Re: a", "a", True),
        (b"RE : a", "a", True),
        (b"Re[2]: a", "a", True),
        (b"re: Fwd: fw: [x] a", "a", True),
        (b"[list] a", "a", False),
        (b"[list] Re: [other] a", "a", True),
        (b"[only]", "[only]", False),
        (b"[a] [b]", "[b]", False),
        (b"a (fwd)", "a", True),
        (b"a (FWD)  (fwd) ", "a", True),
        (b"[fwd: Re: a (fwd)]", "a", True),
        (b"Re: =?utf-8?q?d=C3=A9lib?=", "délib", True),
        (b"=?utf-8?q?Re:_?= a", "a", True),
        (b"Re:", "", True),
        (b"  a \t b ", "a b", False),
        (b"reunion: a", "reunion: a", False),
        (b"", "", False),
    ],
)
def test_base_subject(value: bytes, base: str, reply: bool) -> None:
    subject = parse(words(value))
    assert (subject.base, subject.reply) == (base, reply)
