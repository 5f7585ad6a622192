"""A header block is split into fields that keep their octets; what is odd is told, nothing is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config import Limits
from message import header
from message.header import Defect, Field, Head, split


def test_fields_keep_their_octets_and_lose_nothing() -> None:
    data = b"From: a@b\r\nSubject:  one\r\n\t two \r\nX: y\r\n\r\n"
    head = split(data)
    assert bytes(head) == data
    assert [field.name for field in head.fields] == [b"from", b"subject", b"x"]
    assert head.fields[1].raw == b"Subject:  one\r\n\t two \r\n"
    assert head.fields[1].value == b"one\t two"
    assert head.value(b"from") == b"a@b"
    assert head.value(b"to") is None
    assert head.defects is Defect.NONE


def test_what_follows_the_empty_line_is_not_the_head() -> None:
    assert bytes(split(b"A: b\r\n\r\nbody\r\n\r\n")) == b"A: b\r\n\r\n"
    assert bytes(split(b"\r\nbody")) == b"\r\n"
    assert split(b"").fields == ()
    assert bytes(split(b"A: b")) == b"A: b"


@given(st.binary(max_size=300) | st.text("ab:\r\n \t\0From", max_size=200).map(str.encode))
def test_any_octets_split_and_join_to_the_same_head(data: bytes) -> None:
    head = split(data)
    end = 2 if data.startswith(b"\r\n") else (data.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in data else len(data))
    assert bytes(head) == data[:end]


@pytest.mark.parametrize(
    ("line", "name", "defect"),
    [
        (b"no colon here", b"", Defect.NO_COLON),
        (b": empty name", b"", Defect.NO_COLON),
        (b"bad name: x", b"", Defect.NO_COLON),
        (b"From : maire@mairie.test", b"from", Defect.SPACE_BEFORE_COLON | Defect.MBOX_FROM),
        (b"To\t: x", b"to", Defect.SPACE_BEFORE_COLON),
        (b"From maire@mairie.test Sun Nov 22 10:00:00 2026", b"", Defect.NO_COLON | Defect.MBOX_FROM),
        (b" starts blank", b"", Defect.CONTINUATION_FIRST),
        (b"Subject: x\r\ty", b"subject", Defect.LONE_CR),
        (b"Subject: x\nBcc: y", b"subject", Defect.LONE_LF),
        (b"Subject: x\0y", b"subject", Defect.NUL),
    ],
)
def test_h065_what_is_odd_is_kept_verbatim_and_told(line: bytes, name: bytes, defect: Defect) -> None:
    data = line + b"\r\nTo: x@y\r\n\r\n"
    head = split(data)
    assert bytes(head) == data
    assert head.fields[0].name == name
    assert head.fields[0].defects == defect
    assert head.defects == defect
    assert head.fields[-1].name == b"to"


def test_h058_bounds_at_the_limit_and_one_past_it() -> None:
    limits = Limits(header_fields=3, header_field=20, header_block=60)
    ok = b"A: b\r\n" * 3 + b"\r\n"
    assert split(ok, limits).defects is Defect.NONE
    more = split(b"A: b\r\n" * 4 + b"\r\n", limits)
    assert len(more.fields) == 3
    assert more.defects is Defect.TOO_MANY_FIELDS
    assert bytes(more) == b"A: b\r\n" * 4 + b"\r\n"
    assert split(b"A: " + b"x" * 15 + b"\r\n\r\n", limits).defects is Defect.NONE
    assert split(b"A: " + b"x" * 16 + b"\r\n\r\n", limits).defects is Defect.FIELD_TOO_LONG
    full = b"A: " + b"x" * 15 + b"\r\n"
    assert split(full * 3 + b"\r\n", limits).defects is Defect.NONE
    over = split(full * 2 + b"A: " + b"x" * 16 + b"\r\n\r\n", limits)
    assert over.defects is Defect.BLOCK_TOO_LONG
    assert len(over.fields) == 2
    assert bytes(over).endswith(b"x\r\n\r\n")


def test_edits_touch_only_what_they_name() -> None:
    data = b"Bcc:  secret@x\r\nTo: a@b\r\nbcc : more\r\n fold\r\nX: 1\r\n\r\n"
    head = split(data)
    assert bytes(head.without_names(b"bcc")) == b"To: a@b\r\nX: 1\r\n\r\n"
    assert bytes(head.replaced(b"bcc", b"Bcc: z\r\n")) == b"Bcc: z\r\nTo: a@b\r\nX: 1\r\n\r\n"
    assert bytes(head.replaced(b"date", b"Date: d\r\n")) == data[:-2] + b"Date: d\r\n\r\n"
    assert head.values(b"bcc") == [b"secret@x", b"more fold"]
    assert head.value(b"bcc") == b"secret@x"
    assert not head.values(b"cc")


@given(
    st.lists(st.sampled_from([b"A: b\r\n", b"b :c\r\n", b"From x\r\n", b" on\r\n", b"x\r\n", b"D:\r\n", b"e:\xe9\r\n"]))
)
def test_sound_fields_read_at_once_are_what_a_closer_look_finds(lines: list[bytes]) -> None:
    data = b"".join(lines)
    raws = [data[a:b] for a, b in _spans(data)]
    limit = Limits().header_field
    assert list(split(data).fields) == [
        header._field(raw, first=number == 0, limit=limit, lone=False) for number, raw in enumerate(raws)
    ]


@given(
    st.lists(
        st.sampled_from(
            [b"A: b\r\n", b"c:\n\r\n", b"d:\0\r\n", b"e:\rf\r\n", b"\nG: h\r\n", b"i\r\n", b"j:\r\r\n", b" \n\r\n"]
        )
    )
)
def test_a_line_end_that_stands_alone_is_found_wherever_it_stands(lines: list[bytes]) -> None:
    data = b"".join(lines)
    raws = [data[a:b] for a, b in _spans(data)]
    assert list(split(data).fields) == [header._field(raw, first=number == 0) for number, raw in enumerate(raws)]


def _spans(data: bytes) -> list[tuple[int, int]]:
    """Where fields lie: each ends with a CRLF that no white space follows."""
    ends = [match.end() for match in header._FIELD_END.finditer(data)]
    return list(zip([0, *ends], ends, strict=False))


@given(
    st.lists(
        st.sampled_from(
            [
                b"A: b\r\n",
                b"c:\r\n d\r\n",
                b"From x\r\n",
                b" on\r\n",
                b"x\r\n",
                b"e :f\r\n",
                b"g:\0\r\n",
                b"h:\ni\r\n",
                b"j:",
            ]
        )
    ),
    st.booleans(),
)
def test_a_head_with_a_field_on_top_stands_only_where_its_octets_are_split_so(lines: list[bytes], ended: bool) -> None:
    found = split(b"".join(lines) + (b"\r\n" if ended else b""))
    head = Head((Field(b"top", b"Top: x\r\n", 4), *found.fields), found.rest, found.defects)
    if head.stands(len(bytes(head)), header.LIMITS):
        assert split(bytes(head) + b"body\r\n") == head
    assert (
        head.stands(len(bytes(head)), header.LIMITS)
        or found.defects is not Defect.NONE
        or not bytes(found).endswith(b"\r\n\r\n")
    )


@pytest.mark.parametrize("bound", ["header_block", "header_field", "header_fields"])
def test_a_head_over_a_bound_does_not_stand(bound: str) -> None:
    head = split(b"A: b\r\nC: d\r\n\r\n")
    within = {"header_block": 14, "header_field": 14, "header_fields": 2}
    assert head.stands(14, header.LIMITS.model_copy(update=within))
    assert not head.stands(14, header.LIMITS.model_copy(update={**within, bound: within[bound] - 1}))
