"""Where parts lie and which section number finds them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config import Limits
from message import mime
from message.content import BLOCK, BytesContent
from message.header import split
from message.mime import Structure, scan
from message.parts import PackError, Part, PartKind, Text, Tree
from message.transfer import Encoding

NESTED = b"""\
From: a@b
Content-Type: multipart/mixed; boundary=outer

preamble
--outer
Content-Type: text/plain

one
--outer
Content-Type: message/rfc822

From: c@d
Content-Type: multipart/alternative; boundary="in ner"

--in ner

plain
--in ner
Content-Type: text/html
Content-Transfer-Encoding: quoted-printable

html
--in ner--
--outer
Content-Type: message/rfc822

Subject: single

text
--outer--
epilogue
""".replace(b"\n", b"\r\n")


def of(data: bytes, limits: Limits | None = None) -> Structure:
    return scan(BytesContent(data), limits or Limits())


def cut(data: bytes, tree: Tree, path: tuple[int, ...], text: Text = Text.CONTENT) -> bytes | None:
    span = tree.section(path, text)
    return None if span is None else data[slice(*span)]


def shape(part: Part) -> object:
    return [shape(child) for child in part.children] if part.children else part.kind.name


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ((), Text.HEADER, b"From: a@b\r\nContent-Type: multipart/mixed; boundary=outer\r\n\r\n"),
        ((1,), Text.CONTENT, b"one"),
        ((1,), Text.MIME, b"Content-Type: text/plain\r\n\r\n"),
        ((1,), Text.HEADER, None),
        ((1,), Text.TEXT, None),
        ((1, 1), Text.CONTENT, None),
        ((2,), Text.HEADER, b'From: c@d\r\nContent-Type: multipart/alternative; boundary="in ner"\r\n\r\n'),
        ((2,), Text.MIME, b"Content-Type: message/rfc822\r\n\r\n"),
        ((2, 1), Text.CONTENT, b"plain"),
        ((2, 1), Text.MIME, b"\r\n"),
        ((2, 2), Text.CONTENT, b"html"),
        ((3,), Text.TEXT, b"text"),
        ((3,), Text.CONTENT, b"Subject: single\r\n\r\ntext"),
        ((3, 1), Text.CONTENT, b"text"),
        ((3, 1), Text.MIME, b"Subject: single\r\n\r\n"),
        ((3, 1, 1), Text.CONTENT, None),
        ((3, 2), Text.CONTENT, None),
        ((4,), Text.CONTENT, None),
        ((0,), Text.CONTENT, None),
        ((1,) * 500, Text.CONTENT, None),
    ],
)
def test_h101_each_section_is_the_octets_it_names(
    path: tuple[int, ...], text: Text, expected: bytes | None, packed: bool
) -> None:
    tree: Tree = of(NESTED)
    if packed:
        tree = Tree.unpack(tree.pack())
    assert cut(NESTED, tree, path, text) == expected


def test_the_whole_message_and_its_text() -> None:
    tree = of(NESTED)
    assert cut(NESTED, tree, ()) == NESTED
    header = cut(NESTED, tree, (), Text.HEADER)
    body = cut(NESTED, tree, (), Text.TEXT)
    assert header is not None
    assert body is not None
    assert header + body == NESTED
    assert cut(NESTED, tree, (), Text.MIME) is None


def test_a_message_that_is_no_multipart_has_one_part() -> None:
    data = b"From: a@b\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ==\r\n"
    tree = Tree.unpack(of(data).pack())
    assert cut(data, tree, (1,)) == b"YQ==\r\n"
    assert cut(data, tree, (1,), Text.MIME) == data[:-6]
    assert cut(data, tree, (2,)) is None
    assert cut(data, tree, (1, 1)) is None
    part = tree.part((1,))
    assert part is not None
    assert part.encoding is Encoding.BASE64


def multipart(body: bytes, boundary: bytes = b"b") -> bytes:
    return b'Content-Type: multipart/mixed; boundary="' + boundary + b'"\r\n\r\n' + body


@pytest.mark.parametrize(
    ("body", "contents"),
    [
        (b"--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n", [b"one", b"two"]),
        (b"pre\r\n--b\r\n\r\none\r\n--b--\r\n--b\r\n\r\nno\r\n", [b"one"]),
        (b"--b\r\n\r\nnever closed\r\n", [b"never closed\r\n"]),
        (b"--b \t \r\n\r\none\r\n--b--  ", [b"one"]),
        (b"--b\r\n\r\n x--b\r\n--bb\r\n--b-\r\n--b--x\r\n--b", [b" x--b\r\n--bb\r\n--b-\r\n--b--x", b""]),
        (b"--b\r\n--b\r\n--b--", [b"", b""]),
        (b"--b\r\nA: b\r\n--b--", [b""]),
        (b"--b\r\n\r\n\r\n--b--", [b""]),
        (b"--b\r\n\r\n\r\n\r\n--b--", [b"\r\n"]),
        (b"--b\r\n\r\nlone\n--b\nx\r\n--b--", [b"lone\n--b\nx"]),
        (b"--b--\r\n", [b""]),
        (b"nothing", [b""]),
        (b"", [b""]),
    ],
)
def test_delimiters_are_exact(body: bytes, contents: list[bytes]) -> None:
    data = multipart(body)
    tree = of(data)
    assert [data[part.body_start : part.body_end] for part in tree.root.children] == contents


def test_h061_boundaries_that_begin_like_others() -> None:
    inner = multipart(b"--abc\r\n\r\nx\r\n--abc--", b"abc")
    tree = of(multipart(b"--ab\r\n" + inner + b"\r\n--ab\r\n\r\ny\r\n--ab--", b"ab"))
    assert shape(tree.root) == [["LEAF"], "LEAF"]
    inner = multipart(b"--ab\r\n\r\nx\r\n--ab--", b"ab")
    tree = of(multipart(b"--abc\r\n" + inner + b"\r\n--abc\r\n\r\ny\r\n--abc--", b"abc"))
    assert shape(tree.root) == [["LEAF"], "LEAF"]


def test_an_outer_boundary_ends_inner_parts() -> None:
    inner = multipart(b"--in\r\n\r\nx", b"in")
    tree = of(multipart(b"--out\r\n" + inner + b"\r\n--out\r\n\r\ny\r\n--out--", b"out"))
    assert shape(tree.root) == [["LEAF"], "LEAF"]


def test_the_same_boundary_inside_belongs_to_the_outer_one() -> None:
    tree = of(multipart(b"--b\r\n" + multipart(b"--b\r\n\r\nx\r\n--b--") + b"\r\n--b--"))
    assert shape(tree.root) == [["LEAF"], "LEAF"]


def chain(depth: int) -> bytes:
    out = b""
    for level in range(depth):
        out += b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (level, level)
    return out + b"\r\nx"


def depth_of(tree: Tree) -> int:
    part, depth = tree.root, 0
    while part.children:
        part, depth = part.children[0], depth + 1
    return depth


def test_h061_depth_at_the_limit_and_past_it() -> None:
    limit = Limits().mime_depth
    assert depth_of(of(chain(limit))) == limit
    deeper = of(chain(limit + 1))
    assert depth_of(deeper) == limit
    assert deeper.media[limit].type == b"application"
    assert depth_of(of(chain(2000))) == limit
    messages = of(b"Content-Type: message/rfc822\r\n\r\n" * 2000)
    assert depth_of(messages) == limit
    assert messages.media[limit].type == b"application"


def test_h060_parts_at_the_limit_and_past_it() -> None:
    part = b"--b\r\n\r\nx\r\n"
    limits = Limits(mime_parts=10)
    assert len(of(multipart(part * 9 + b"--b--"), limits).root.children) == 9
    data = multipart(part * 10 + b"--b--")
    over = of(data, limits)
    assert len(over.media) == 10
    last = over.root.children[-1]
    assert over.media[last.index].type == b"application"
    assert data[last.body_start : last.body_end].count(b"--b\r\n") == 1
    nested = b"--b\r\nContent-Type: message/rfc822\r\n\r\n"
    assert len(of(multipart(part * 9_999 + nested)).media) == Limits().mime_parts


def test_header_octets_of_parts_have_a_budget() -> None:
    limits = Limits(header_block=1000)
    part = b"--b\r\nContent-Type: text/x; " + b"a=b;" * 200 + b"\r\n\r\nx\r\n"
    tree = of(multipart(part * 10 + b"--b--"), limits)
    kinds = [tree.media[part.index].type for part in tree.root.children]
    assert kinds.count(b"text") == 4
    assert kinds.count(b"application") == 6


def test_lines_and_octets() -> None:
    tree = of(NESTED)
    assert [tree.lines[part.index] for part in tree.root.children] == [0, 11, 2]
    inside = tree.part((2, 1))
    assert inside is not None
    assert inside.octets == 5


@pytest.mark.parametrize("shift", range(-14, 8))
def test_a_delimiter_across_a_block_border_is_found(shift: int) -> None:
    head = multipart(b"--b\r\n\r\n")
    first = b"x" * (BLOCK - len(head) + shift)
    data = head + first + b"\r\n--b\r\nContent-Type: text/x\r\n\r\nlast\r\n--b--\r\n"
    tree = of(data)
    assert [data[part.body_start : part.body_end] for part in tree.root.children] == [first, b"last"]


@pytest.mark.parametrize("shift", range(-6, 6))
def test_a_header_end_across_a_block_border_is_found(shift: int) -> None:
    data = b"A: " + b"x" * (BLOCK - 3 + shift) + b"\r\n\r\nbody"
    assert cut(data, of(data), (), Text.TEXT) == b"body"


class Blocks(BytesContent):
    """Tells how long the longest read was."""

    longest = 0

    def read(self, start: int, stop: int) -> bytes:
        self.longest = max(self.longest, stop - start)
        return super().read(start, stop)


def test_no_read_is_longer_than_a_block() -> None:
    content = Blocks(multipart(b"--b\r\n\r\n" + b"line\r\n" * 200_000 + b"--b--\r\n"))
    tree = scan(content)
    assert tree.lines[1] == 199_999
    assert content.longest == BLOCK


def test_opaque_is_one_leaf() -> None:
    tree = mime.opaque(BytesContent(NESTED))
    assert tree.root.kind is PartKind.LEAF
    assert tree.root.body_end == len(NESTED)


@given(st.binary(max_size=60))
def test_damaged_packs_are_told(data: bytes) -> None:
    try:
        tree = Tree.unpack(data)
    except PackError:
        return
    assert Tree.unpack(tree.pack()).pack() == tree.pack()


PIECES = [b"--b\r\n", b"--b--\r\n", b"--c\r\n", b"--c--", b"\r\n", b"\r", b"\n", b"x", b"Content-Type: text/plain\r\n",
          b"Content-Type: multipart/mixed; boundary=b\r\n", b"Content-Type: multipart/digest; boundary=c\r\n",
          b"Content-Type: message/rfc822\r\n", b"Content-Transfer-Encoding: base64\r\n", b": \0\xff\r\n"]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join))
def test_every_message_has_a_sane_tree_that_packs(data: bytes) -> None:
    tree = of(data)
    parts = list(tree.walk())
    assert [part.index for part in parts] == list(range(len(parts)))
    assert len(parts) == len(tree.media) == len(tree.lines)
    for part in parts:
        assert part.header_start <= part.body_start <= part.body_end <= len(data)
        assert (part.kind is PartKind.LEAF) == (not part.children)
        for child in part.children:
            assert part.body_start <= child.header_start
            assert child.body_end <= part.body_end
    assert list(Tree.unpack(tree.pack()).walk()) == parts


@given(
    st.lists(
        st.sampled_from(
            [b"Content-Type: text/html\r\n", b"Content-Type: image/png; name=x\r\n", b"Content-ID: <x>\r\n",
             b"Content-Type: message/rfc822\r\n", b"Content-Type: multipart/mixed; boundary=b\r\n", b"X: y\r\n",
             b"\r\n", b"\n", b"--b\r\n"]
        )
    )
)  # fmt: skip
def test_a_header_that_was_split_already_changes_nothing(lines: list[bytes]) -> None:
    content = BytesContent(b"".join(lines))
    assert scan(content, head=split(b"".join(lines))) == scan(content)
