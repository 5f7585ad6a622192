"""Views of a message's bytes that delivery makes: a new header block before an old body. Knows no header syntax."""

from __future__ import annotations

from message.content import Content


class Rewritten:
    """`head` instead of the first `skip` octets of `content`; implements `message.content.Content` without copying."""

    __slots__ = ("_content", "_head", "_skip")

    def __init__(self, head: bytes, content: Content, skip: int) -> None:
        self._head = head
        self._content = content
        self._skip = skip

    @property
    def size(self) -> int:
        return len(self._head) + self._content.size - self._skip

    @property
    def head(self) -> bytes:
        return self._head

    def read(self, start: int, stop: int) -> bytes:
        cut = len(self._head)
        first = self._head[start:stop]
        if stop <= cut:
            return first
        return first + self._content.read(max(start - cut, 0) + self._skip, stop - cut + self._skip)
