"""Encoded words, charsets, transfer encodings, parameters: shown safely, never trusted."""

import base64
import quopri

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.config import Limits
from message import charset, parameters
from message.decode import filename, words
from message.transfer import Encoding, decoded, decoder, encoding


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"=?utf-8?q?D=C3=A9lib=C3=A9ration?=", "Délibération"),
        (b"=?UTF-8?B?w6k=?= =?utf-8?b?w6g=?= x", "éè x"),
        (b"=?utf-8?b?w6k=?=\r\n =?iso-8859-1?q?=E8?=", "éè"),
        (b"=?utf-8?q?a=C3?= =?utf-8?q?=A9b?=", "aéb"),
        (b"x =?utf-8?q?y_z?= t", "x y z t"),
        (b"=?iso-8859-1*fr?q?=E9t=E9?=", "été"),
        (b"caf\xc3\xa9 caf\xe9"[:5], "café"),
        (b"caf\xe9", "café"),
        (b"=?utf-8?x?abc?= =?utf-8?q?", "=?utf-8?x?abc?= =?utf-8?q?"),
    ],
)
def test_header_words(value: bytes, text: str) -> None:
    assert words(value) == text


@pytest.mark.parametrize(
    "value",
    [b"=?utf-8?q?a=0D=0ABcc:_b?=", b"=?utf-8?q?a=00b?=", b"=?utf-7?q?+AA0ACg-?=", b"=?utf-16?b?AGEA?=",
     b"=?nonsense?q?=FF=00?=", b"=?utf-8?b?!!!!?=", b"=?utf-8?q?=1B[31m?=", b"=?utf-8?b?4oCu?=", b"=?zip?b?eJw=?=",
     b"=?punycode?q?aaaa?=", b"=?unicode_escape?q?=5Cn?=", b"=?utf-8?q?=?utf-8?q?x?=?="],
)  # fmt: skip
def test_h064_nothing_dangerous_comes_out_of_encoded_words(value: bytes) -> None:
    text = words(value)
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 or char in "\u202e\u2028" for char in text)
    text.encode("utf-8")


def test_unknown_charsets_are_replaced_not_raised() -> None:
    assert charset.decode(b"\xe9\xc3", "x-nonsense") == "éÃ"
    assert charset.decode(b"\xff\xfe\xd8", "utf-16") == "\ufffd"
    assert charset.decode(b"+2AA-", "utf-7") == "\ufffd"
    assert charset.decode(b"ab", "rot13") == "ab"


@given(st.text(max_size=200), st.integers(1, 7), st.sampled_from(["utf-8", "utf-16", "", "iso-8859-15", "utf-7"]))
def test_characters_that_blocks_split_stay_whole(text: str, size: int, name: str) -> None:
    data = text.encode("utf-8" if name in ("", "iso-8859-15") else name, "ignore")
    reader = charset.Decoder(name)
    pieces = [reader.feed(data[at : at + size]) for at in range(0, len(data), size)]
    assert "".join([*pieces, reader.feed(b"", final=True)]) == charset.decode(data, name)


# What charsets begin, shift and end with, and what no text of them holds.
_ODD_OCTETS = st.lists(
    st.sampled_from([bytes((n,)) for n in b"\x00\x0e\x1b$()+-@AB\\~{}\xd8\xdc\xe9\xfe\xff"]), max_size=24
)


@pytest.mark.parametrize("name", ["utf-16", "utf-16be", "utf-32", "utf-7", "gbk", "hz-gb-2312", "sjis"])
@given(_ODD_OCTETS, st.integers(1, 7))
def test_octets_that_are_no_text_of_their_charset_are_replaced_in_any_blocks(
    name: str, octets: list[bytes], size: int
) -> None:
    data, reader = b"".join(octets), charset.Decoder(name)
    pieces = [reader.feed(data[at : at + size]) for at in range(0, len(data), size)]
    assert "".join([*pieces, reader.feed(b"", final=True)]) == charset.decode(data, name)


@pytest.mark.parametrize(
    ("name", "octets"),
    [
        ("iso-2022-jp", b"\x1b(\0(\xfe\xfe\\+}\xe9\x0e\xdc}\0\x1b\xd8"),
        ("iso-2022-kr", b"(}\x0f({\x1b$\xff\xe9\xd8$\x0e\xd8\xfe\0${"),
    ],
)
def test_what_its_decoder_cannot_hold_back_is_read_as_something_else(name: str, octets: bytes) -> None:
    reader = charset.Decoder(name)
    pieces = [reader.feed(octets[at : at + 2]) for at in range(0, len(octets), 2)]
    assert "".join([*pieces, reader.feed(b"", final=True)])


def test_a_text_without_a_byte_order_mark_is_little_endian() -> None:
    assert [charset.Decoder(name).feed("né".encode(f"{name}-le")) for name in ("utf-16", "utf-32")] == ["né", "né"]


def test_a_guess_that_fails_late_keeps_what_was_held() -> None:
    reader = charset.Decoder()
    assert [reader.feed("é".encode()), reader.feed(b"a\xc3"), reader.feed(b"(", final=True)] == ["é", "a", "Ã("]


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@given(st.binary(max_size=400), st.integers(1, 90))
def test_base64_and_quoted_printable_survive_any_cut(data: bytes, size: int) -> None:
    b64 = base64.encodebytes(data).replace(b"\n", b"\r\n")
    assert b"".join(decoded(Encoding.BASE64, _cut(b64, size))) == data
    body = data.replace(b"\r", b"").replace(b"\n", b"\r\n")
    qp = quopri.encodestring(body.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    assert b"".join(decoded(Encoding.QUOTED_PRINTABLE, _cut(qp, size))) == body


@given(st.binary(max_size=200) | st.text("= \t\r\nAa4", max_size=200).map(str.encode), st.integers(1, 20))
def test_bad_encodings_never_raise_and_do_not_depend_on_the_cut(data: bytes, size: int) -> None:
    for kind in Encoding:
        whole = b"".join(decoded(kind, [data]))
        assert b"".join(decoded(kind, _cut(data, size))) == whole


def test_quoted_printable_details() -> None:
    def qp(data: bytes) -> bytes:
        return b"".join(decoded(Encoding.QUOTED_PRINTABLE, [data]))

    assert qp(b"a=\r\nb  \r\nc=20\r\n") == b"ab\r\nc \r\n"
    assert qp(b"a= \t\r\nb") == b"ab"
    assert qp(b"=zz=e9") == b"=zz\xe9"


def test_base64_ends_at_its_padding() -> None:
    assert b"".join(decoded(Encoding.BASE64, [b"YQ==\r\n-- \r\nlist footer"])) == b"a"
    assert b"".join(decoded(Encoding.BASE64, [b"YWI"])) == b"ab"


def test_h101_an_unknown_encoding_has_no_decoder() -> None:
    assert encoding(b"X-UUENCODE") is Encoding.UNKNOWN
    assert decoder(Encoding.UNKNOWN) is None
    assert encoding(b"") is Encoding.SEVENBIT
    assert encoding(b"BASE64") is Encoding.BASE64


def _pairs(value: bytes, limit: int = 100) -> dict[str, str]:
    return parameters.decoded(parameters.parse(value, limit).pairs)


def test_parameters_with_comments_quotes_and_continuations() -> None:
    assert _pairs(b'text/plain (c;d); (x) charset=(y)utf-8; name="a;\\"b"; empty=') == {
        "charset": "utf-8",
        "name": 'a;"b',
        "empty": "",
    }
    value = b"attachment; filename*0*=utf-8'fr'd%C3%A9; filename*1=lib; filename*2*=%2Epdf; filename=old.pdf"
    assert _pairs(value) == {"filename": "délib.pdf"}
    assert _pairs(b"a; x*1=b; x*0=a; x*3=lost") == {"x": "ab"}
    assert _pairs(b"a; f*=iso-8859-1''%E9") == {"f": "é"}


@given(
    st.lists(st.sampled_from((b"a", b"text/plain", b";", b"; ", b"=", b'"', b"\\", b"(", b")", b" ", b"*0*"))).map(
        b"".join
    ),
    st.integers(min_value=0, max_value=3),
)
@example(b'text/plain; charset=utf-8; name="a; (b)"; c="";', 3)
@example(b"text/plain;a=b ", 1)
def test_a_usual_value_read_at_once_means_what_the_grammar_says(value: bytes, limit: int) -> None:
    assert parameters.parse(value, limit) == parameters._parse(value, limit)


def test_h062_no_more_parameters_than_the_limit() -> None:
    limit = Limits().mime_parameters
    many = b"x" + b"".join(b"; a*%d=v" % number for number in range(50_000))
    assert len(parameters.parse(many, limit).pairs) == limit
    assert len(_pairs(many)["a"]) == limit
    for odd in (b"", b" (c)"):  # read by one pattern, and word by word
        for count in (limit, limit + 1):
            assert len(parameters.parse(b"x" + odd + b";a=b" * count, limit).pairs) == limit


def test_h069_attachment_names_are_only_shown() -> None:
    assert filename(((b"filename", b"../../etc/x"),), ()) == "../../etc/x"
    assert filename(((b"filename", b"a\0.exe"),), ()) == "a .exe"
    assert "\u202e" not in filename((), ((b"name", "a\u202efdp.exe".encode()),))
    assert len(filename(((b"filename", b"x" * 4096),), ())) == 255
    assert filename((), ((b"name", b"=?utf-8?q?caf=C3=A9.pdf?="),)) == "café.pdf"
