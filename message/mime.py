"""The MIME scanner: where every part of a message lies and what it says it is (RFC 2045, RFC 2046, RFC 9051 7.5.2).

Works from the outside inwards, with a list instead of the call stack: a multipart's delimiters bound its parts, so the
boundaries of an outer part always win. Every level looks at an octet once: linear for a bounded depth. Past the
bounds on depth, parts or header octets a part is one opaque leaf (security.md rows 60, 61). Never raises on bad mail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from functools import lru_cache

from core.config import Limits
from core.frozen import dataclass
from message import media, summary
from message.content import BLOCK, Content, head_length
from message.delimiter import Finder
from message.header import LIMITS, Head, split
from message.lines import count_line_ends
from message.media import Media
from message.parts import Part, PartKind, Tree
from message.transfer import Encoding
from message.window import Window

_MAX_BOUNDARY = 2048  # octets; RFC 2046 5.1.1 allows 70
_HEADER_BUDGET = 4  # times limits.header_block: header octets of all inner parts that are looked at
KNOWN, SHORT = 256, 200  # header blocks of parts that are remembered, and their octets
_ENVELOPE_BUDGET = 512 * 1024  # octets of ENVELOPE of all messages inside; past it a message inside is opaque


@dataclass(frozen=True, slots=True)
class Structure(Tree):
    """A tree with all that a scan learns; `media` and `lines` (line ends in the content of text and message parts) are
    indexed by `Part.index`, `envelopes` holds the ENVELOPE of each message inside. `unpack` gives a plain `Tree`."""

    media: tuple[Media, ...]
    lines: tuple[int, ...]
    envelopes: Mapping[int, bytes]


def scan(content: Content, limits: Limits = LIMITS, head: Head | None = None) -> Structure:
    """The structure of a message. Reads it in blocks; on the event loop use a thread for anything long. `head`: of the
    message, split already and read to its end (no BLOCK_TOO_LONG)."""
    if head is None:
        return _Scanner(content, limits).run()
    about = media.read(head, limits.mime_parameters)
    if _kind(about) is PartKind.LEAF and content.size <= BLOCK:
        return _single(content, about)
    return _Scanner(content, limits, (head, about)).run()


def _single(content: Content, about: Media) -> Structure:
    """A message that is one part: there is nothing in it to look for."""
    data = content.read(0, content.size)
    body = head_length(data)
    lines = count_line_ends(data[body:]) if about.type == b"text" else 0
    return Structure(Part(0, PartKind.LEAF, about.encoding, 0, body, content.size), (about,), (lines,), {})


def opaque(content: Content, limits: Limits = LIMITS) -> Structure:
    """The message as one leaf, for one whose structure is not worth keeping."""
    return _Scanner(content, limits.model_copy(update={"mime_parts": 1})).run()


@dataclass(slots=True)
class _Open:
    """A part whose children are being found. `position` is where the next delimiter is looked for."""

    index: int
    kind: PartKind
    encoding: Encoding
    header_start: int
    body_start: int
    body_end: int
    depth: int
    default: Media
    finder: Finder | None
    position: int
    finished: bool
    children: list[Part] = field(default_factory=list)

    def close(self) -> Part:
        return Part(
            self.index, self.kind, self.encoding, self.header_start, self.body_start, self.body_end,
            tuple(self.children),
        )  # fmt: skip


class _Scanner:
    def __init__(self, content: Content, limits: Limits, outermost: tuple[Head, Media] | None = None) -> None:
        self._window = Window(content)
        self._outermost = outermost
        self._limits = limits
        self._budget = _HEADER_BUDGET * limits.header_block
        self._envelope_room = _ENVELOPE_BUDGET
        self._media: list[Media] = []
        self._envelopes: dict[int, bytes] = {}

    def run(self) -> Structure:
        size = self._window.size
        stack = [self._open(0, size, depth=0, default=media.PLAIN)]
        while True:
            child = self._child(stack[-1])
            if child is not None:
                stack.append(child)
                continue
            part = stack.pop().close()
            if not stack:
                tree = Tree(part)
                return Structure(part, tuple(self._media), self._count_lines(tree), self._envelopes)
            stack[-1].children.append(part)

    def _child(self, parent: _Open) -> _Open | None:
        if parent.finished:
            return None
        if parent.kind is PartKind.MESSAGE:
            parent.finished = True
            depth = parent.depth + 1
            return self._open(parent.body_start, parent.body_end, depth=depth, default=media.PLAIN, message=True)
        return self._next_part(parent)

    def _next_part(self, parent: _Open) -> _Open | None:
        """The part after the delimiter at `parent.position`; when there is none, the placeholder a multipart without
        parts needs (RFC 9051 9 demands one body at least)."""
        finder = parent.finder
        if finder is None or len(self._media) >= self._limits.mime_parts:
            return self._placeholder(parent)
        if not parent.children:
            first = finder.next(self._window, max(parent.body_start - 2, 0), parent.body_end)
            if first is None or first.closing:
                return self._placeholder(parent)
            parent.position = first.end
        start = parent.position
        if len(self._media) == self._limits.mime_parts - 1:  # the last one we number takes all that remains
            parent.finished = True
            return self._leaf(start, start, max(start, parent.body_end), parent.depth + 1, media.OPAQUE)
        after = finder.next(self._window, start - 2, parent.body_end)
        if after is None:  # no closing delimiter: the part ends where the multipart does
            parent.finished = True
            stop = parent.body_end
        else:
            parent.finished = after.closing
            parent.position = after.end
            stop = after.start
        return self._open(start, stop, depth=parent.depth + 1, default=parent.default)

    def _placeholder(self, parent: _Open) -> _Open | None:
        parent.finished = True
        if parent.children:
            return None
        end = parent.body_end
        return self._leaf(end, end, end, parent.depth + 1, media.PLAIN)

    def _open(self, start: int, stop: int, *, depth: int, default: Media, message: bool = False) -> _Open:
        """The part in [start, stop). When two delimiter lines follow each other they share a CRLF, which belongs to the
        second one (RFC 2046 5.1.1): the part between is empty, and `stop` lies before `start`."""
        body_end = max(start, stop)
        header_end = self._header_end(start, body_end)
        read = self._about(start, header_end, default)
        if read is None:
            return self._leaf(start, header_end, body_end, depth, media.OPAQUE)
        head, about = read
        index = len(self._media)
        if message:
            self._envelopes[index] = summary.envelope(head, self._limits)
            self._envelope_room -= len(self._envelopes[index])
        kind = _kind(about)
        room = depth < self._limits.mime_depth and index + 1 < self._limits.mime_parts and self._envelope_room > 0
        if kind is PartKind.LEAF or not room:
            return self._leaf(start, header_end, body_end, depth, about if kind is PartKind.LEAF else media.OPAQUE)
        self._media.append(about)
        return _Open(
            index, kind, about.encoding, start, header_end, body_end, depth, _default(about), _finder(about),
            header_end, False,
        )  # fmt: skip

    def _leaf(self, start: int, body: int, end: int, depth: int, about: Media) -> _Open:
        index = len(self._media)
        self._media.append(about)
        return _Open(
            index, PartKind.LEAF, about.encoding, start, body, end, depth, media.PLAIN, None, end, finished=True
        )

    def _header_end(self, start: int, stop: int) -> int:
        """Past the empty line that ends the header; `stop` when there is none."""
        if self._window.read(start, min(start + 2, stop)) == b"\r\n":
            return start + 2
        end = self._window.find(b"\r\n\r\n", start, stop)
        return stop if end < 0 else end + 4

    def _about(self, start: int, end: int, default: Media) -> tuple[Head, Media] | None:
        """The header fields and what they say, or None when the budget for those of inner parts is spent."""
        limits = self._limits
        if start == 0 and self._outermost is not None:
            return self._outermost
        size = min(end - start, limits.header_block)
        if start > 0:
            self._budget -= size
            if self._budget < 0:
                return None
        data = self._window.read(start, start + size)
        if size <= SHORT and limits.header_field >= SHORT <= limits.header_fields:
            return _known(data, default is media.DIGEST, limits.mime_parameters)
        head = split(data, limits)
        return head, media.read(head, limits.mime_parameters, default)

    def _count_lines(self, tree: Tree) -> tuple[int, ...]:
        """Line ends of every text and message part in one pass over what they cover."""
        if not self._envelopes:  # no message inside: no text lies in another one
            return tuple(
                [
                    self._window.count_lines(part.body_start, part.body_end) if self._counted(part) else 0
                    for part in tree.walk()
                ]
            )
        spans = {part.index: (part.body_start, part.body_end) for part in tree.walk() if self._counted(part)}
        edges = sorted([(start, 1) for start, _ in spans.values()] + [(end, -1) for _, end in spans.values()])
        seen: dict[int, int] = {}
        position = total = covering = 0
        for edge, step in edges:
            if covering:
                total += self._window.count_lines(position, edge)
            seen[edge] = total
            position, covering = edge, covering + step
        return tuple(
            seen[spans[index][1]] - seen[spans[index][0]] if index in spans else 0 for index in range(len(self._media))
        )

    def _counted(self, part: Part) -> bool:
        return part.kind is PartKind.MESSAGE or self._media[part.index].type == b"text"


@lru_cache(KNOWN)
def _known(data: bytes, digest: bool, parameters: int) -> tuple[Head, Media]:
    """A short header block. Those of parts are much the same in all mail of one program."""
    head = split(data)
    return head, media.read(head, parameters, media.DIGEST if digest else media.PLAIN)


def _kind(about: Media) -> PartKind:
    if about.type == b"multipart":
        return PartKind.MULTIPART
    return PartKind.MESSAGE if about.is_message() else PartKind.LEAF


def _default(about: Media) -> Media:
    return media.DIGEST if about.subtype == b"digest" else media.PLAIN


def _finder(about: Media) -> Finder | None:
    boundary = about.parameter(b"boundary") if about.type == b"multipart" else None
    return Finder(boundary) if boundary and len(boundary) <= _MAX_BOUNDARY else None
