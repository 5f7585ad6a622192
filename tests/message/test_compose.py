"""Messages of our own making: readable by others, never more header than we wrote."""

import email
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.address import parse
from core.errors import InvalidError
from core.ids import RandomIds
from message import compose, decode
from message.address_list import from_domains
from message.address_list import parse as parse_list
from message.compose import Person
from message.header import Defect, split

HELENE = Person(parse("h@mairie.test"), "Hélène Dupont-Œuvré")


def value(raw: bytes) -> bytes:
    head = split(raw + b"\r\n")
    assert len(head.fields) == 1
    assert head.defects is Defect.NONE
    assert max(map(len, raw.split(b"\r\n"))) <= 78
    return head.fields[0].value


@pytest.mark.parametrize(
    "text",
    ["Bonjour", "", "Délibération du conseil municipal, ordre du jour et convocation des élus de la commune, salle 3",
     "a =?utf-8?q?b?= c", "deux  blancs", "œ" * 300, "plain words " * 30 + "end"],
)  # fmt: skip
def test_a_subject_comes_back(text: str) -> None:
    assert decode.words(value(compose.field("Subject", text))) == " ".join(text.split())


@given(
    st.text(
        st.characters(blacklist_categories=["Cc", "Cs", "Zl", "Zp"], blacklist_characters="\u200f\u202a"), max_size=80
    )
)
def test_any_text_is_ascii_on_the_wire_and_adds_no_field(text: str) -> None:
    raw = compose.field("Subject", text)
    assert raw.isascii()
    assert len(split(raw + b"\r\n").fields) == 1
    assert split(raw + b"\r\n").defects is Defect.NONE


@pytest.mark.parametrize("bad", ["a\r\nBcc: x", "a\nb", "a\rb", "a\0b", "a\x7fb", "a\u2028b", "\ud800", "a\x85b"])
def test_h066_control_characters_are_refused(bad: str) -> None:
    with pytest.raises(InvalidError):
        compose.field("Subject", bad)
    with pytest.raises(InvalidError):
        compose.people("From", [Person(parse("a@b.test"), bad)])
    with pytest.raises(InvalidError):
        compose.raw_field("X-Test", bad)


def test_h066_header_names_are_checked() -> None:
    for name in ("Sub ject", "Subject:", "", "é", "X\r\nY"):
        with pytest.raises(InvalidError):
            compose.field(name, "x")


@pytest.mark.parametrize(
    "name", ["", "Marie", "Dupont, Marie", 'q "x" \\', "Hélène", "M. Dupont", "=?utf-8?q?x?=", "a@b"]
)
def test_names_come_back_beside_their_address(name: str) -> None:
    raw = compose.people("To", [Person(parse("a@b.test"), name), Person(parse('"x y"@c.test'), "z")])
    first, second = parse_list(value(raw))
    assert first.sound
    assert (first.local, first.domain) == (b"a", b"b.test")
    assert decode.words(first.name or b"") == name
    assert (second.local, second.domain) == (b"x y", b"c.test")


def test_many_recipients_fold() -> None:
    raw = compose.people("To", [Person(parse(f"agent{number}@mairie.test"), "Agent") for number in range(50)])
    assert len(parse_list(value(raw))) == 50


@pytest.mark.parametrize("eight_bit", [False, True])
def test_a_text_message_is_read_by_others(eight_bit: bool) -> None:
    text = "Bonjour,\n\nLa séance est reportée.\n.\nFrom here on\n" + "long " * 300
    data = compose.text_message(
        sender=HELENE, recipients=[Person(parse("a@x.test")), HELENE], subject="Séance reportée", text=text,
        now=1_795_362_216, message_id="m1@mx.test", extra=[compose.field("X-Beffroi", "é")], eight_bit=eight_bit,
    )  # fmt: skip
    read = email.message_from_bytes(data, policy=email.policy.default)
    assert str(read["From"]) == "Hélène Dupont-Œuvré <h@mairie.test>"
    assert read["Subject"] == "Séance reportée"
    assert read["Message-ID"] == "<m1@mx.test>"
    assert read["Date"] == "Sun, 22 Nov 2026 15:43:36 +0000"
    assert read["X-Beffroi"] == "é"
    assert read.get_content().replace("\r\n", "\n") == text.rstrip("\n") + "\n"
    assert max(map(len, data.split(b"\r\n"))) <= 998
    assert b"\n" not in data.replace(b"\r\n", b"")
    if not eight_bit:
        assert data.isascii()
        assert not any(line == b"." or line.startswith(b"From ") for line in data.split(b"\r\n"))
    assert from_domains(split(data)).domains == ("mairie.test",)


def test_a_line_too_long_for_8bit_is_quoted_printable() -> None:
    data = compose.text_message(
        sender=HELENE, recipients=[HELENE], subject="s", text="é" * 600, now=0, message_id="m@x", eight_bit=True
    )
    assert b"quoted-printable" in data
    assert data.isascii()


def test_message_ids_are_unique_and_say_nothing() -> None:
    made = {compose.message_id(RandomIds(), "mx.test") for _ in range(100)}
    assert len(made) == 100
    assert all(item.startswith(b"Message-ID: <") and item.endswith(b"@mx.test>\r\n") for item in made)
