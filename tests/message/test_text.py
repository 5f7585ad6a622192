"""The words of a message: for search, for previews."""

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from message import mime
from message.content import BLOCK, BytesContent
from message.html import Stripper
from message.text import PREVIEW_LENGTH, _first_words, contains, pieces, preview
from message.words import gather


def html(text: str, size: int = 1 << 20) -> str:
    stripper = Stripper()
    out = [stripper.feed(text[at : at + size]) for at in range(0, len(text), size)]
    return "".join([*out, stripper.flush()])


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("<p>Bon<b>jour</b></p><p>&eacute;t&#233; &amp; co", "Bonjour été & co"),
        ("<style>p{a:b}</style>a<script>if (1<2) x</SCRIPT >b<!-- no > --> c", "a b c"),
        ("1 < 2 and <unclosed", "1 < 2 and <unclosed"),
        ("<a href='x>y'>t</a>", "y'>t"),
        ("a<br>b<td>c", "a b c"),
        ("<script>never closed", ""),
        ("<style></style>a<script></script>b", "a b"),
        ("&#99999999999999999999; &unknown; &#x0;", "\ufffd &unknown; \ufffd"),
        ("&#" + "9" * 5000 + ";x", "\ufffdx"),
    ],
)
def test_html_becomes_words(source: str, words: str) -> None:
    assert " ".join(html(source).split()) == words


UNITS = ["<p>", "<b>", "<!--", "-->", "<script>", "</script>", "&amp;", "&", "é", "<", ">", " "]


@given(st.lists(st.sampled_from(UNITS)), st.integers(1, 5))
@example(["<script>", "</script>", "<script>", "</script>"], 1)
def test_html_does_not_depend_on_the_cut(units: list[str], size: int) -> None:
    source = "".join(units)
    assert html(source, size) == html(source)


MESSAGE = """\
From: =?utf-8?q?H=C3=A9l=C3=A8ne?= <h@mairie.test>
Subject: =?utf-8?b?RMOpbGliw6lyYXRpb24=?=
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Conseil munici=
pal du 3 d=E9cembre
--b
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: base64

%s
--b
Content-Type: application/pdf; name*=utf-8''budget%%20%%C3%%A9t%%C3%%A9.pdf
Content-Transfer-Encoding: base64

aW52aXNpYmxl
--b
Content-Type: message/rfc822

Subject: inner subject
X-Other: y

inner body
--b--
""" % base64.b64encode(b"<p>La <b>mair</b>ie</p>").decode()  # noqa: UP031  # a format() would eat the braces
CONTENT = BytesContent(MESSAGE.replace("\n", "\r\n").encode())


@pytest.mark.parametrize(
    "pattern",
    ["hélène", "DÉLIBÉRATION", "municipal du 3 décembre", "mairie", "inner subject", "inner body", "budget été.pdf"],
)
def test_search_finds_what_people_read(pattern: str) -> None:
    assert contains(CONTENT, pattern, body_only=False)


def test_search_leaves_out_markup_binary_and_headers() -> None:
    assert not contains(CONTENT, "<b>", body_only=False)
    assert not contains(CONTENT, "invisible", body_only=False)
    assert not contains(CONTENT, "hélène", body_only=True)
    assert not contains(CONTENT, "délibération", body_only=True)
    assert contains(CONTENT, "inner subject", body_only=True)
    assert contains(CONTENT, "", body_only=True)


EXACT = BytesContent(
    """\
From: Maire <maire@mairie.test>
Subject: deux  blancs =?utf-8?q?d=C3=A9j=C3=A0?= =?utf-8?q?_vu?=
X-Folded: un
\tdeux
 trois
no field at all
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=limite

avant-propos
--limite
Content-Type: text/plain; charset=us-ascii; x-reste=param
Content-Language: br

le texte
--limite
Content-Type: application/pdf; name*0*=utf-8''plan%20; name*1*=%C3%A9t%C3%A9.pdf
Content-ID: <ident@x>
X-Part: =?iso-8859-1?q?=E9tage?=

binaire
--limite
Content-Type: message/rfc822
X-Around: autour

Subject: =?utf-8?q?dedans?=
X-Inner: valeur
Content-Type: multipart/mixed; boundary=autre

--autre
X-Deep: profond

fond
--autre--
--limite
Content-Type: message/delivery-status

Reporting-MTA: dns; relais.test
--limite--
apr\u00e8s-coup
""".replace("\n", "\r\n").encode()
)
# RFC 9051 6.4.4: TEXT looks in the header, in MIME header fields and in the body; BODY in the body.
IN_TEXT = [
    "subject", "SUBJECT: deux", "deux  blancs", "deux blancs", "blancs déjà vu", "x-folded: un", "un\tdeux trois",
    "un deux trois", "no field at all", "1.0\r\nContent-Type", "boundary=limite", "multipart/mixed; boundary=l",
    "charset=us-ascii", "x-reste", "Content-Language: br", "name*0*=utf-8''plan%20", "<ident@x>", "x-part: étage",
    "message/rfc822", "x-around: autour", "x-inner", "x-inner: valeur", "x-deep: profond",
    "content-type: message/delivery-status",
]  # fmt: skip
IN_BODY = ["le texte", "plan été.pdf", "dedans", "valeur", "boundary=autre", "fond", "reporting-mta: dns; relais.test"]
NOWHERE = ["=?utf-8", "q?dedans", "avant-propos", "après-coup", "binaire", "--limite", "texteContent", "MaireSubject"]


@pytest.mark.parametrize("pattern", IN_TEXT + IN_BODY + NOWHERE)
def test_text_and_body_look_where_the_rfc_says(pattern: str) -> None:
    assert contains(EXACT, pattern, body_only=False) == (pattern not in NOWHERE)
    assert contains(EXACT, pattern, body_only=True) == (pattern in IN_BODY)


def test_the_name_of_a_message_that_is_one_attachment_is_of_its_header() -> None:
    content = BytesContent(
        b"Content-Type: application/pdf\r\nContent-Disposition: x; filename*=utf-8''%C3%A9t%C3%A9\r\n\r\n%"
    )
    assert contains(content, "été", body_only=False)
    assert not contains(content, "été", body_only=True)


def test_words_of_header_fields_are_told_from_those_of_the_body() -> None:
    words = gather(pieces(EXACT))
    assert {"subject", "folded", "boundary", "language", "deep", "inner", "ident"} <= words.head
    assert {"texte", "dedans", "valeur", "boundary", "fond", "reporting"} <= words.body
    assert not words.body & {"inner", "subject", "deep", "language", "limite", "avant", "apres"}


@pytest.mark.parametrize("shift", range(-12, 3))
def test_search_across_a_block_border(shift: int) -> None:
    head = b"Content-Type: text/plain\r\n\r\n"
    data = head + b"x" * (BLOCK + shift) + "délibération".encode() + b"y" * 100
    assert contains(BytesContent(data), "Délibération", body_only=True)


def test_no_more_text_leaves_than_asked_for() -> None:
    content = BytesContent(b"Subject: s\r\n\r\n" + b"x" * 1_000_000)
    assert sum(len(piece.text) for piece in pieces(content, limit=1000)) == 1000
    assert sum(len(piece.text) for piece in pieces(content)) == len("Subject: s\r\n") + 1_000_000


def shown(data: bytes) -> str:
    content = BytesContent(data)
    return preview(content, mime.scan(content))


def test_preview_is_plain_text_before_html() -> None:
    assert shown(CONTENT.read(0, CONTENT.size)) == "Conseil municipal du 3 décembre"


def test_preview_of_html_skips_styles_and_invisible_padding() -> None:
    style = "<style>" + "p{color:red}" * 2000 + "</style>"
    body = f"{style}<p>Bonjour&zwnj;&nbsp;&#8203;</p>\r\n<p>tous</p>".encode()
    assert shown(b"Content-Type: text/html; charset=utf-8\r\n\r\n" + body) == "Bonjour tous"


def test_preview_is_short_one_line_and_clean() -> None:
    text = shown("Subject: s\r\n\r\nl1\r\n\x1b[31m\u202e {}\r\n".format("é " * 500).encode())
    assert len(text) <= PREVIEW_LENGTH
    assert text.startswith("l1 [31m é é")
    assert not any(ord(char) < 32 for char in text)
    assert text == text.strip()


@pytest.mark.parametrize("encoding", [b"7bit", b"x-odd", b"quoted-printable", b"base64"])
@given(
    st.lists(
        st.sampled_from([b"mot ", b"x" * 190, b" " * 60, b"\r\n", b"\t", b"\x01", "é".encode(), b"\xe9", b"+AOk-"])
    ),
    st.sampled_from([b"", b"utf-8", b"iso-8859-2", b"x-none", b"utf-16", b"utf-7"]),
)
def test_a_preview_is_the_same_however_soon_it_is_found(encoding: bytes, words: list[bytes], name: bytes) -> None:
    head = b"Content-Type: text/plain; charset=%b\r\nContent-Transfer-Encoding: %b\r\n\r\n" % (name, encoding)
    content = BytesContent(head + b"".join(words))
    structure = mime.scan(content)
    assert preview(content, structure) == _first_words(content, structure.root, structure.media[0])


def test_attachments_have_no_preview() -> None:
    assert shown(b"Content-Type: text/plain\r\nContent-Disposition: attachment; filename=x\r\n\r\ntext") == ""
    assert shown(b"Content-Type: image/png\r\n\r\nx") == ""
