"""From a stream of octets to complete commands, without I/O (RFC 9051 4.3, RFC 7888).

The driver feeds octets and asks `next_event` until it answers None; commands therefore come one by one and what is not
asked for stays in the driver's socket. Bounds count whole commands, never single words (security.md finding 8): the
text lines of one command together `line`, its literals together `literals`. Only CRLF ends a line. The messages of
APPEND and REPLACE are not collected but streamed; what stands before each literal is an event of its own, so that the
handler can refuse before a "+" is sent.

What is over a bound is refused and then kept in step (rows 91-93): a client that waits for "+" gets its tagged answer
instead; one that does not wait has the exact octets discarded, or is told BYE when they are too many.
"""

from __future__ import annotations

import re
from enum import Enum

from core.frozen import dataclass
from imap.errors import Bad, Code, ImapError, No

_LITERAL = re.compile(rb"\{([0-9]+)(\+?)\}\Z")
_TAG = re.compile(rb"([!#$&',\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]{1,100}) ")
# What brings messages: APPEND (RFC 3502), REPLACE (RFC 8508).
_BRINGS = re.compile(rb"[^ ]+ (?:APPEND|(?:UID )?REPLACE [^ ]+) [^ ]", re.IGNORECASE)
# An APPEND whose message does not wait for our word, up to that message.
_APPEND = re.compile(rb"[^ ]+ APPEND [^ ].*\{([0-9]{1,9})\+\}", re.IGNORECASE | re.DOTALL)
_COMPACT = 32 * 1024
ANY_LITERAL = 2**63
LITERAL_MINUS = 4096  # RFC 7888 5
_TAIL = 32  # of an overlong line: enough to see the literal at its end


@dataclass(frozen=True, slots=True)
class Bounds:
    """Octets: text of one command, its collected literals together, and what is read and thrown away at most.
    `stream`: APPEND literals are streamed (after login). `unasked`: the largest literal that need not wait for our
    "+" (RFC 7888 5: 4096 where LITERAL- is announced)."""

    line: int
    literals: int
    discard: int
    stream: bool
    unasked: int = ANY_LITERAL


@dataclass(frozen=True, slots=True)
class Complete:
    """A command without its final CRLF, literals in place."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Streamed:
    """The head of an APPEND or REPLACE; ends with the announcement of a literal, which waits for `accept` or
    `abandon`."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Continue:
    """Send "+": the client waits with a literal that will be collected."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Octets of the accepted literal; `last` with the final ones."""

    data: bytes
    last: bool


@dataclass(frozen=True, slots=True)
class Rest:
    """What followed the accepted literal, without CRLF. `more`: it ends with the announcement of another literal, which
    waits for `accept` or `abandon` in its turn."""

    data: bytes
    more: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """Over a bound: answer `error` under `tag` ("*" when unknown); `fatal`: then BYE, the stream cannot be followed."""

    tag: str
    error: ImapError
    fatal: bool


Event = Complete | Streamed | Continue | Piece | Rest | Refused


class _Mode(Enum):
    LINE = "line"  # collecting text of a command
    LITERAL = "literal"  # collecting a literal
    OFFERED = "offered"  # a streamed literal waits for the handler
    STREAM = "stream"
    REST = "rest"  # after a streamed literal
    SKIP_LINE = "skip-line"
    SKIP_LITERAL = "skip-literal"
    OVER = "over"  # a fatal refusal was given: nothing is read any more


class Framer:
    """`bounds` may be replaced between commands (login)."""

    __slots__ = (
        "_buffer",
        "_command",
        "_literals",
        "_mode",
        "_need",
        "_scan",
        "_skipped",
        "_start",
        "_sync",
        "bounds",
    )

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._buffer = bytearray()
        self._start = 0  # of what is not consumed yet
        self._scan = 0  # no CRLF before this
        self._mode = _Mode.LINE
        self._command = bytearray()
        self._literals = 0
        self._need = 0  # octets of the literal still missing
        self._sync = False
        self._skipped = 0

    def feed(self, data: bytes) -> None:
        if self._start > _COMPACT:
            del self._buffer[: self._start]
            self._scan -= self._start
            self._start = 0
        self._buffer += data

    @property
    def pending(self) -> int:
        """Octets received and not consumed."""
        return len(self._buffer) - self._start

    @property
    def needed(self) -> int:
        """Octets of the present literal that have not come yet."""
        return self._need

    @property
    def midway(self) -> bool:
        """A command has begun and is not complete."""
        return bool(self.pending or self._command or self._mode is not _Mode.LINE)

    @property
    def append_at_hand(self) -> bool:
        """Between two commands: the next one is an APPEND of one message, within all bounds, and has come to its
        end. `next_event` is then `Streamed`, and nothing that it brings is waited for."""
        if self._mode is not _Mode.LINE or self._command or not self.bounds.stream:
            return False
        end = self._buffer.find(b"\r\n", self._start, self._start + self.bounds.line + 2)
        announced = _APPEND.fullmatch(self._buffer, self._start, end) if end >= 0 else None
        if announced is None or (size := int(announced[1])) > self.bounds.unasked:
            return False
        return self._buffer.startswith(b"\r\n", end + 2 + size)

    def next_event(self) -> Event | None:
        """The next event, None when more octets are needed (or, after `Streamed`, the handler's word)."""
        while True:
            before = self._mode, self._start
            event = self._step()
            if event is not None or (self._mode, self._start) == before:
                return event

    def next_line(self, limit: int) -> bytes | None:
        """A raw line instead of a command (AUTHENTICATE, IDLE). Raises `Bad` past `limit`, having dropped the line."""
        line = self._take_line()
        if (len(line) if line is not None else self.pending) <= limit:
            return line
        if line is None:
            self._mode, self._skipped = _Mode.SKIP_LINE, 0
        raise Bad("line too long", Code.TOOBIG)

    def accept(self) -> bool:
        """Read the offered literal; True when a "+" must be sent for it."""
        self._mode = _Mode.STREAM
        return self._sync

    def abandon(self) -> bool:
        """The command that owns the streamed literal is over; False when it cannot be skipped (say BYE)."""
        if self._mode is _Mode.OFFERED and self._sync:
            self._reset()  # RFC 9051 4.3: a tagged NO or BAD instead of "+", and nothing is sent
            return True
        if self._mode in (_Mode.OFFERED, _Mode.STREAM):
            return self._skip_literal(self._need)
        if self._mode is _Mode.REST:
            self._mode, self._skipped = _Mode.SKIP_LINE, 0
        return True

    # --- steps -----------------------------------------------------------------------------------------------------

    def _step(self) -> Event | None:
        match self._mode:
            case _Mode.LINE:
                return self._line()
            case _Mode.LITERAL:
                return self._literal()
            case _Mode.STREAM:
                return self._stream()
            case _Mode.REST:
                return self._rest()
            case _Mode.SKIP_LINE:
                return self._skip_line()
            case _Mode.SKIP_LITERAL:
                return self._skip_more()
        return None

    def _line(self) -> Event | None:
        line = self._take_line()
        length = self.pending if line is None else len(line)
        if len(self._command) - self._literals + length > self.bounds.line:
            return self._too_long(line)
        if line is None:
            return None
        announced = _LITERAL.search(line, max(0, len(line) - self.bounds.line))
        if announced:
            return self._announced(line, announced)
        data = bytes(self._command) + line
        self._reset()
        return Complete(data)

    def _announced(self, line: bytes, announced: re.Match[bytes]) -> Event | None:
        size, self._sync = _size(announced[1]), not announced[2]
        prefix = bytes(self._command) + line[: announced.start()]
        if not self._sync and size > self.bounds.unasked:
            return self._refused(_tag(prefix), _unasked(), fatal=not self._skip_literal(size))
        if self.bounds.stream and _BRINGS.match(prefix):
            self._mode, self._need = _Mode.OFFERED, size
            return Streamed(prefix + announced.group())
        if self._literals + size > self.bounds.literals:
            return self._refuse_literal(prefix, size)
        self._command += line + b"\r\n"
        self._literals += size
        self._mode, self._need = _Mode.LITERAL, size
        return Continue() if self._sync else None

    def _literal(self) -> Event | None:
        piece = self._take(self._need)
        self._command += piece
        self._need -= len(piece)
        if not self._need:
            self._mode = _Mode.LINE
        return None

    def _stream(self) -> Event | None:
        piece = self._take(self._need)
        self._need -= len(piece)
        if not self._need:
            self._mode = _Mode.REST
        return Piece(piece, last=not self._need) if piece or not self._need else None

    def _rest(self) -> Event | None:
        line = self._take_line()
        if (self.pending if line is None else len(line)) > self.bounds.line:
            return self._too_long(line)
        if line is None:
            return None
        announced = _LITERAL.search(line)
        if announced is None:
            self._reset()
            return Rest(line, more=False)
        self._need, self._sync = _size(announced[1]), not announced[2]
        if not self._sync and self._need > self.bounds.unasked:
            return self._refused("*", _unasked(), fatal=not self._skip_literal(self._need))
        self._mode = _Mode.OFFERED
        return Rest(line, more=True)

    # --- refusing and keeping in step ------------------------------------------------------------------------------

    def _refuse_literal(self, prefix: bytes, size: int) -> Refused:
        error: ImapError = Bad("literal too large", Code.TOOBIG)
        if self.bounds.stream:
            error = No("literal too large", Code.TOOBIG)
        tag = _tag(prefix)
        if self._sync:
            self._reset()
            return Refused(tag, error, fatal=False)
        return self._refused(tag, error, fatal=not self._skip_literal(size))

    def _too_long(self, line: bytes | None) -> Refused:
        tag = _tag(bytes(self._command) or line or bytes(self._buffer[self._start : self._start + 128]))
        if line is None:
            self._mode, self._skipped = _Mode.SKIP_LINE, 0
        else:
            self._after_skipped_line(_LITERAL.search(line[-_TAIL:]))
        self._command.clear()
        # Before login nothing is owed to a stranger who sends that much.
        return self._refused(tag, Bad("command too long", Code.TOOBIG), fatal=not self.bounds.stream)

    def _refused(self, tag: str, error: ImapError, *, fatal: bool) -> Refused:
        if fatal:
            self._mode = _Mode.OVER
            self._buffer.clear()
            self._start = self._scan = 0
        return Refused(tag, error, fatal)

    def _skip_line(self) -> Event | None:
        line = self._take_line()
        if line is None:
            drop = max(0, self.pending - _TAIL)
            self._skipped += drop
            self._start += drop
            self._scan = max(self._scan, self._start)
            if self._skipped > self.bounds.discard:
                return self._refused("*", Bad("line without end", Code.TOOBIG), fatal=True)
            return None
        self._after_skipped_line(_LITERAL.search(line[-_TAIL:]))
        return None

    def _after_skipped_line(self, announced: re.Match[bytes] | None) -> None:
        """A dropped line that announced a literal takes the literal with it, unless the client waits for our "+"."""
        if announced and announced[2]:
            self._skip_literal(_size(announced[1]))
        else:
            self._reset()

    def _skip_literal(self, size: int) -> bool:
        self._command.clear()
        self._literals = 0
        self._mode, self._need = _Mode.SKIP_LITERAL, size
        return size <= self.bounds.discard

    def _skip_more(self) -> Event | None:
        if self._need > self.bounds.discard:
            return self._refused("*", Bad("literal too large", Code.TOOBIG), fatal=True)
        self._need -= len(self._take(self._need))
        if not self._need:
            self._mode, self._skipped = _Mode.SKIP_LINE, 0
        return None

    # --- the buffer ------------------------------------------------------------------------------------------------

    def _reset(self) -> None:
        self._mode = _Mode.LINE
        self._command = bytearray()
        self._literals = self._need = 0

    def _take(self, size: int) -> bytes:
        stop = min(len(self._buffer), self._start + size)
        piece = bytes(self._buffer[self._start : stop])
        self._start = stop
        self._scan = max(self._scan, stop)
        return piece

    def _take_line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n", self._scan)
        if end < 0:
            self._scan = max(self._start, len(self._buffer) - 1)  # a CR may stand at the end
            return None
        line = bytes(self._buffer[self._start : end])
        self._start = self._scan = end + 2
        if self._start == len(self._buffer):
            self._buffer.clear()
            self._start = self._scan = 0
        return line


def _unasked() -> Bad:
    return Bad("a literal of this size must wait for our +", Code.TOOBIG)  # RFC 7888 5: LITERAL-


def _size(digits: bytes) -> int:
    """number64 (RFC 9051 9); longer numbers are not even converted."""
    return int(digits) if len(digits) <= 19 else 2**63


def _tag(data: bytes) -> str:
    match = _TAG.match(data)
    return match[1].decode("ascii") if match else "*"
