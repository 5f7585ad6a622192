"""Fuzz target of the message room: any octets have facts, bounded and harmless.

`one_input` is what a fuzzer calls; tests/message/test_fuzz.py runs seeded mutations through it in the normal suite,
`python -m tests.fuzz.message` runs Atheris (the `fuzz` extra) until it is stopped.
"""

from __future__ import annotations

import contextlib
import sys

from message import address_list, decode, facts, header, mime, subject, text
from message.content import BytesContent
from message.parts import PackError, Tree


def one_input(data: bytes) -> None:
    """Raises when a promise of the room does not hold for these octets."""
    content = BytesContent(data)
    found = facts.gather(content)
    structure = mime.scan(content)
    if Tree.unpack(found.parts).pack() != found.parts:
        raise AssertionError("pack and unpack disagree")
    for part in structure.walk():
        if not part.header_start <= part.body_start <= part.body_end <= len(data):
            raise AssertionError(f"part outside the message: {part}")
    for form in (found.envelope, found.bodystructure, found.body):
        if form.count(b"\n") != form.count(b"}\r\n") or b"\0" in form:
            raise AssertionError("a line end in an IMAP string")
    address_list.from_domains(header.split(data))
    subject.parse(decode.words(data[:500]))
    text.contains(content, "pattern", body_only=False, structure=structure)
    with contextlib.suppress(PackError):
        Tree.unpack(data)


def main() -> None:
    import atheris  # only here: the extra `fuzz` is not part of the normal tests

    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
