"""The scanner against Python's own parser, on generated well-formed messages: same tree, same contents."""

import email
import email.message

import pytest

from message import mime
from message.content import BytesContent
from message.mime import Structure
from message.parts import Part, PartKind
from message.transfer import decoded
from tests.message.samples import message


def ours(data: bytes, tree: Structure, part: Part) -> object:
    about = tree.media[part.index]
    name = f"{about.type.decode()}/{about.subtype.decode()}"
    if part.kind is not PartKind.LEAF:
        return name, [ours(data, tree, child) for child in part.children]
    content = b"".join(decoded(part.encoding, [data[part.body_start : part.body_end]]))
    return name, content.replace(b"\r\n", b"\n")


def theirs(part: email.message.Message) -> object:
    payload = part.get_payload()
    if isinstance(payload, list):
        return part.get_content_type(), [theirs(child) for child in payload if isinstance(child, email.message.Message)]
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return part.get_content_type(), content.replace(b"\r\n", b"\n")


@pytest.mark.parametrize("seed", range(300))
def test_the_same_tree_and_contents(seed: int) -> None:
    data = message(seed)
    tree = mime.scan(BytesContent(data))
    assert ours(data, tree, tree.root) == theirs(email.message_from_bytes(data))
