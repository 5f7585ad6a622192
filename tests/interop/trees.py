"""Messages at random: addresses in every form, MIME trees, headers in any order. Seeded; none is real mail.

Left out is what Dovecot and we read otherwise on purpose (`test_dovecot_oracle.DIFFERENT`): a multipart whose last part
is a multipart without an epilogue, types without a subtype, RFC 2231 continuations.
"""

from __future__ import annotations

import base64
import quopri
import random
from collections.abc import Callable

WORDS = ("conseil", "budget", "Mairie", "eau", "voirie", "l'école", "état civil", "x", "Zoé")
HOSTS = ("mairie.test", "a.b.test", "example.org", "[192.0.2.1]")
MONTHS = ("Jan", "Feb", "Mar", "Oct", "Dec")


def message(dice: random.Random, depth: int = 3) -> bytes:
    """With CRLF lines."""
    head = _head(dice)
    kind, body = _entity(dice, depth)
    return b"\r\n".join([*_shuffled(dice, head + kind), b"", body])


def _shuffled(dice: random.Random, lines: list[bytes]) -> list[bytes]:
    return dice.sample(lines, len(lines))


# --- header ----------------------------------------------------------------------------------------------------------


def _head(dice: random.Random) -> list[bytes]:
    lines = ["MIME-Version: 1.0"]  # without it Dovecot takes a message without Content-Type for no MIME at all
    for name in ("From", "Sender", "Reply-To", "To", "Cc", "Bcc"):
        if dice.random() < (0.9 if name in ("From", "To") else 0.3):
            lines.append(f"{name}: {_addresses(dice)}")
    if dice.random() < 0.9:
        lines.append(f"Subject: {_subject(dice)}")
    if dice.random() < 0.9:
        lines.append(f"Date: {_date(dice)}")
    if dice.random() < 0.8:
        lines.append(f"Message-ID: <{dice.randrange(10**6)}@{dice.choice(HOSTS[:3])}>")
    if dice.random() < 0.3:
        lines.append(f"In-Reply-To: <{dice.randrange(10**6)}@x.test>{dice.choice(('', ' <b@x.test>', ' (a comment)'))}")
    if dice.random() < 0.4:
        lines.append(f"X-Odd: {dice.choice(WORDS)}\r\n\t{dice.choice(WORDS)}")
    return [line.encode("utf-8") for line in lines]


def _date(dice: random.Random) -> str:
    day = f"{dice.randint(1, 28)} {dice.choice(MONTHS)} {dice.choice((1999, 2024, 2026))}"
    clock = f"{dice.randint(0, 23):02}:{dice.randint(0, 59):02}:00 +0{dice.randint(0, 9)}00"
    return f"{dice.choice(('', 'Mon, '))}{day} {clock}"


def _subject(dice: random.Random) -> str:
    text = " ".join(dice.choices(WORDS, k=dice.randint(1, 4)))
    form = dice.randrange(4)
    if form == 0:
        return f"=?utf-8?b?{base64.b64encode(text.encode()).decode()}?="
    if form == 1:
        return f"Re: {text}\r\n {dice.choice(WORDS)}"
    return text if form == 2 else f"[{text}] Fwd: x"


def _addresses(dice: random.Random) -> str:
    return dice.choice((", ", ",\r\n ", ",")).join(_address(dice) for _ in range(dice.randint(1, 3)))


def _address(dice: random.Random) -> str:
    local, host = dice.choice(("jean", "a.b", "o'neil", '"q x"', "u+tag")), dice.choice(HOSTS)
    plain = f"{local}@{host}"
    forms: tuple[Callable[[], str], ...] = (
        lambda: plain,
        lambda: f"<{plain}>",
        lambda: f"Jean Dupont <{plain}>",
        lambda: f'"Dupont, Jean \\"JD\\"" <{plain}>',
        lambda: f"=?utf-8?q?Zo=C3=A9?= <{plain}>",
        lambda: f"{plain} (Le maire)",
        lambda: f"(before) {plain}",
        lambda: f"{local} (one) @ (two) {host}",
        lambda: f"<{local} (one)@ (two) {host}> (three)",
        lambda: f"Groupe: {plain}, <b@c.test>;",
        lambda: "undisclosed-recipients:;",
        lambda: f"<@r.test,@s.test:{plain}>",
        lambda: f"Jean\r\n  Dupont  <{plain}>",
    )
    return dice.choice(forms)()


# --- body ------------------------------------------------------------------------------------------------------------


def _entity(dice: random.Random, depth: int) -> tuple[list[bytes], bytes]:
    """(MIME fields, octets)."""
    form = dice.randrange(6) if depth else dice.randrange(3)
    if form < 3:
        return _leaf(dice)
    if form == 3:
        inner = message(dice, depth - 1)
        return [b"Content-Type: message/rfc822", *_disposition(dice)], inner
    return _multipart(dice, depth)


def _multipart(dice: random.Random, depth: int) -> tuple[list[bytes], bytes]:
    boundary = f"b{depth}.{dice.randrange(10**6)}"
    kind = dice.choice(("mixed", "alternative", "related", "Digest"))
    written = dice.choice((boundary, f'"{boundary}"'))
    lines = [dice.choice((b"", b"preamble"))]
    for _ in range(dice.randint(1, 3)):
        fields, octets = _entity(dice, depth - 1)
        if kind == "Digest" and dice.random() < 0.5:
            fields, octets = [], message(dice, 0)
        elif not any(field.startswith(b"Content-Type") for field in fields):
            fields.append(b"Content-Type: text/plain")
        lines += [f"--{boundary}".encode(), *fields, b"", octets]
    lines += [f"--{boundary}--".encode(), b"epilogue", b""]
    return [f"Content-Type: multipart/{kind}; boundary={written}".encode()], b"\r\n".join(lines)


def _leaf(dice: random.Random) -> tuple[list[bytes], bytes]:
    text = "\r\n".join(" ".join(dice.choices(WORDS, k=dice.randint(1, 9))) for _ in range(dice.randint(0, 4)))
    octets = text.encode("utf-8") if dice.random() < 0.5 else text.encode("ascii", "replace")
    fields: list[bytes] = []
    if dice.random() < 0.8:
        fields.append(b"Content-Type: " + _type(dice))
    encoding = dice.choice((b"", b"7bit", b"8BIT", b"base64", b"quoted-printable"))
    if encoding:
        fields.append(b"Content-Transfer-Encoding: " + encoding)
    if encoding == b"base64":
        octets = base64.encodebytes(octets).replace(b"\n", b"\r\n")
    elif encoding == b"quoted-printable":
        octets = quopri.encodestring(octets.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    extras = (
        b"Content-ID: <c1@x>", b"Content-Description: Le plan", b"Content-Language: fr, en",
        b"Content-Location: http://x.test/a", b"Content-MD5: Q2hlY2s=",
    )  # fmt: skip
    fields += dice.sample(extras, dice.choice((0, 0, 1, 2)))
    return fields + _disposition(dice), octets


def _type(dice: random.Random) -> bytes:
    kind = dice.choice((b"text/plain", b"TEXT/HTML", b"image/png", b"application/x-y", b"text/calendar"))
    parameters = (b"charset=utf-8", b'name="a b.pdf"', b"format=flowed", b'x="q\\"r"')
    return b";\r\n ".join([kind, *dice.sample(parameters, dice.randint(0, 2))])


def _disposition(dice: random.Random) -> list[bytes]:
    if dice.random() < 0.6:
        return []
    return [
        b"Content-Disposition: " + dice.choice((b"inline", b'attachment; filename="a b.pdf"; size=10', b"Attachment"))
    ]


def section(dice: random.Random) -> str:
    """Of a FETCH; it may name no part of the message."""
    path = ".".join(str(dice.randint(1, 3)) for _ in range(dice.randint(0, 4)))
    texts = ["", "HEADER", "TEXT", "HEADER.FIELDS (Subject From)", "HEADER.FIELDS.NOT (Subject Content-Type X-Odd)"]
    text = dice.choice([*texts, "MIME"] if path else texts)
    return f"{path}{'.' if path and text else ''}{text}"
