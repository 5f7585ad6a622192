"""Well-formed messages made by a seeded generator, and odd ones by hand; shared by the comparisons."""

from __future__ import annotations

import base64
import quopri
import random

ODD = [
    b"\r\nbody only\r\n",
    b"From: a@b\r\n",
    b"no colon\r\n\r\nx\r\n",
    b"From : a@b.fr\r\nSubject:   sp  \t x \r\n \tfold\r\n\ttab  \r\n\r\n",
    b"From: a@b\r\nFrom: c@d\r\nTo: a@b\r\nTo: e@f\r\nSubject: one\r\nSubject: two\r\nMessage-ID: <1>\r\n\r\n",
    b'To: undisclosed:;, g:y@z,b;, bad, "q\\"d" <u@v> (com), a @ b . c, <@r:u@h>\r\nSender:\r\nReply-To: <a>\r\n\r\n',
    "From: Élodie <a@b>\r\nSubject: été\r\n\r\n".encode(),
    b"Content-Type: text/html; charset=\r\nContent-Disposition: inline\r\nContent-ID:\r\n\r\nx\r\ny",
    b"Content-Type: text/plain; x*0*=utf-8'fr'a; x*1=b; y*0=c; y*1=d\r\n\r\nx",
    b"Content-Type: multipart/mixed\r\n\r\nx",
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n--b\r\n\r\n--b--\r\n",
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\npre\r\n--b\r\n\r\n\r\n--b\r\nA: b\r\n--b--\r\nepi\r\n",
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nnever closed\r\n",
    b"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nFrom: x@y\r\n\r\nz\r\n--b--\r\n",
    b"Content-Type: message/rfc822\r\n\r\nFrom: x@y\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nz",
    b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nRnJvbTogYUBiCg==\r\n",
]
_WORDS = "maire conseil délibération séance état-civil urbanisme facture école œuvre 3€ réunion ordre du jour".split()


def sentence(dice: random.Random, count: int = 8) -> str:
    return " ".join(dice.choice(_WORDS) for _ in range(count))


_NAMES = ["Marie", '"Dupont, M."', "M. Jean"]
_OTHERS = ["b@y.test", "team: c@z.test, d@z.test;", '"q \\"x\\"" <e@z.test>']
_SUBJECTS = ["Bonjour", "=?utf-8?q?d=C3=A9lib?=", "a very\r\n folded\r\n\tsubject"]


def header(dice: random.Random) -> bytes:
    lines = [
        f"From: {dice.choice(_NAMES)} <m{dice.randrange(9)}@mairie.test>",
        f"To: a@x.test,\r\n {dice.choice(_OTHERS)}",
        f"Subject: {dice.choice(_SUBJECTS)}",
        f"Date: Sun, 22 Nov 2026 1{dice.randrange(9)}:00:00 +0100",
        f"Message-ID: <{dice.getrandbits(64):x}@x.test>",
    ]
    if dice.random() < 0.5:
        lines.append(f"In-Reply-To: <{dice.getrandbits(64):x}@y.test>")
    if dice.random() < 0.3:
        lines.append("Reply-To: r@mairie.test")
    if dice.random() < 0.3:
        lines.append("Sender: s@mairie.test")
    if dice.random() < 0.3:
        lines.append("Cc: undisclosed-recipients:;")
    dice.shuffle(lines)
    return "\r\n".join(lines).encode() + b"\r\n"


def entity(dice: random.Random, depth: int = 3) -> bytes:
    """Content- fields, the empty line and the content of one part."""
    kind = dice.random()
    if depth and kind < 0.4:
        return _multipart(dice, depth)
    if depth and kind < 0.5:
        return b"Content-Type: message/rfc822\r\n\r\n" + header(dice) + entity(dice, depth - 1)
    if kind < 0.7:
        return _text(dice)
    return _attachment(dice)


def _multipart(dice: random.Random, depth: int) -> bytes:
    boundary = f"=_{dice.getrandbits(80):x}"
    parts = [entity(dice, depth - 1) for _ in range(dice.randint(1, 4))]
    separator = f"\r\n--{boundary}\r\n".encode()
    preamble = dice.choice([b"", b"This is MIME.\r\n"])
    body = (preamble + separator)[0 if preamble else 2 :] + separator.join(parts)
    subtype = dice.choice(["mixed", "alternative", "related"])
    end = f"\r\n--{boundary}--\r\n".encode() + dice.choice([b"", b"\r\nepilogue\r\n"])
    return f'Content-Type: multipart/{subtype}; boundary="{boundary}"\r\n\r\n'.encode() + body + end


def _text(dice: random.Random) -> bytes:
    lines = "\r\n".join(sentence(dice) for _ in range(dice.randrange(6)))
    subtype = dice.choice(["plain", "html"])
    if dice.random() < 0.5:
        data = quopri.encodestring(lines.replace("\r\n", "\n").encode()).replace(b"\n", b"\r\n")
        return f"Content-Type: text/{subtype}; charset=utf-8\r\n".encode() + (
            b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + data
        )
    return f"Content-Type: text/{subtype};\r\n charset=iso-8859-15\r\n\r\n".encode() + lines.encode("iso-8859-15")


def _attachment(dice: random.Random) -> bytes:
    data = base64.encodebytes(dice.randbytes(dice.randrange(300))).replace(b"\n", b"\r\n")
    return (
        b'Content-Type: application/pdf; name="a b.pdf"\r\nContent-Transfer-Encoding: base64\r\n'
        b'Content-Disposition: attachment; filename="a b.pdf"; size=12\r\nContent-ID: <p1@x.test>\r\n'
        b"Content-Description: a   folded\r\n description\r\nContent-Language: fr, en\r\n\r\n" + data
    )


def message(seed: int) -> bytes:
    dice = random.Random(seed)
    return header(dice) + b"MIME-Version: 1.0\r\n" + entity(dice)
