"""Transcripts as RFCs print them: a small language, its parser, and a player that puts it on the wire.

A file holds cases. `== 6.3.1 what it shows` begins one; its lines are

    @ COMMAND          said first, on connection 1; must be OK, and the answer does not matter (`@2`: on connection 2)
    @messages NAME n   n small messages into a mailbox      @message NAME (flags) "date"  one, its lines follow as `| …`
                       (another client selects it then, so that they are not recent)
    @deliver           one into INBOX, not by IMAP          @bare                         no mailbox but INBOX is left
    @stranger          connections are not logged in        @user 2 bob                   who logs in on a connection
    C: text            one line to the server (`C2:` …)
    S: text            lines from the server; neighbours may come in any order, and nothing else may come, unless one
                       of them is `...`
    see FILE::TEST     the example is a test of its own     none: reason                   it cannot be shown here

In `S:` a pattern stands between backquotes: `uv:\\d+` remembers what it matched as uv, `\\d+` does not, `uv` and `uv+1`
stand for what was remembered. Of status responses only the tag, the status and the response code count. A literal's
lines follow as they do in RFCs.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.imap_world import PASSWORD, Client, World

_STATUS = re.compile(rb"([^ ]+ (?:OK|NO|BAD|BYE|PREAUTH)(?: \[[^\]]*\])?).*", re.DOTALL)
_STEP = re.compile(r"(?P<verb>[CS])(?P<who>\d?):(?: (?P<text>.*))?")
_ORDER = re.compile(r"@(?P<who>\d?) (?P<text>.*)")
_HOLE = re.compile(rb"`([^`]*)`")
_LITERAL = re.compile(rb"~?\{(\d+)\}\Z")
_REFERENCE = re.compile(rb"([a-z]\w*)(?:\+(\d+))?")
_NAMED = re.compile(rb"([a-z]\w*):(.*)", re.DOTALL)


@dataclass
class Case:
    """`lines` as written, without the heading."""

    rfc: str
    title: str
    lines: list[str] = field(default_factory=list)

    @property
    def elsewhere(self) -> list[str]:
        return [line.removeprefix("see ") for line in self.lines if line.startswith("see ")]

    @property
    def reason(self) -> str:
        return next((line.removeprefix("none: ") for line in self.lines if line.startswith("none: ")), "")

    @property
    def playable(self) -> bool:
        return not (self.elsewhere or self.reason)


def read(path: Path) -> Iterator[Case]:
    case = None
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("== "):
            if case is not None:
                yield case
            case = Case(path.stem, line.removeprefix("== "))
        elif case is not None and line.strip() and not line.startswith("#"):
            case.lines.append(line)
    if case is not None:
        yield case


class Player:
    """Plays one case against `world`; `deliver` puts a message into INBOX behind IMAP's back."""

    def __init__(self, world: World, deliver: Callable[[bytes], Awaitable[None]]) -> None:
        self._world, self._deliver = world, deliver
        self._clients: dict[str, Client] = {}
        self._users: dict[str, str] = {}
        self._strangers = False
        self._known: dict[bytes, bytes] = {}

    async def play(self, case: Case) -> None:
        lines = case.lines
        at = 0
        while at < len(lines):
            at = await self._step(lines, at)

    async def _step(self, lines: list[str], at: int) -> int:
        """Do what stands at `at`; where the next thing stands."""
        line = lines[at]
        if match := _STEP.fullmatch(line):
            who = match["who"] or "1"
            if match["verb"] == "C":
                await (await self._client(who)).raw(self._filled((match["text"] or "").encode()) + b"\r\n")
                return at + 1
            block = []
            while at < len(lines) and (found := _STEP.fullmatch(lines[at])) and found["verb"] == "S":
                if (found["who"] or "1") != who:
                    break
                block.append((found["text"] or "").encode())
                at += 1
            await self._expect(await self._client(who), _joined(block))
            return at
        if line.startswith("@message "):
            body = []
            while at + 1 < len(lines) and lines[at + 1].startswith("|"):
                at += 1
                body.append(lines[at][2:])
            await self._put(line.removeprefix("@message "), "\r\n".join([*body, ""]).encode())
            await self._look(line.split()[1])
            return at + 1
        await self._order(line)
        return at + 1

    async def _order(self, line: str) -> None:
        words = line.split()
        if line == "@stranger":
            self._strangers = True
        elif words[0] == "@user":
            self._world.directory.add(words[2])
            self._users[words[1]] = words[2]
        elif words[0] == "@messages":
            for number in range(1, int(words[2]) + 1):
                await self._put(words[1], b"Subject: message %d\r\nFrom: a@b.test\r\n\r\nbody\r\n" % number)
            await self._look(words[1])
        elif line == "@bare":
            await self._clear()
        elif words[0] == "@deliver":
            await self._deliver(b"Subject: new\r\nFrom: a@b.test\r\n\r\nbody\r\n")
        elif match := _ORDER.fullmatch(line):
            client = await self._client(match["who"] or "1")
            answer = await client.ask(self._filled(match["text"].encode()), b"setup")
            assert answer[-1].startswith(b"setup OK"), (line, answer)
            self._world.directory.ring()  # as the directory does once it was written to
        else:
            raise ValueError(f"not understood: {line}")

    async def _clear(self) -> None:
        client = await self._client("1")
        for name in (b"INBOX", b"Archive", b"Drafts", b"Junk", b"Sent", b"Trash"):
            await client.ok(b"UNSUBSCRIBE " + name)
            if name != b"INBOX":
                await client.ok(b"DELETE " + name)

    async def _put(self, where: str, message: bytes) -> None:
        """`where`: mailbox, flags and date as APPEND has them."""
        client = await self._client("1")
        await client.raw(b"put APPEND %b {%d+}\r\n%b\r\n" % (where.encode(), len(message), message))
        answer = await client.until(b"put")
        assert answer[-1].startswith(b"put OK"), answer

    async def _look(self, name: str) -> None:
        """By a client that plays no part: what is there is not recent for those that do."""
        looker = await (await self._world.connect()).login(self._users.get("1", "alice"))
        await looker.ok(f"SELECT {name}".encode())
        await looker.close()

    async def _client(self, who: str) -> Client:
        client = self._clients.get(who)
        if client is None:
            client = self._clients[who] = await self._world.connect()
            if not self._strangers:
                await client.ok(f'LOGIN {self._users.get(who, "alice")}@mairie.test "{PASSWORD}"'.encode())
        return client

    # --- what the server says ------------------------------------------------------------------------------------

    async def _expect(self, client: Client, patterns: list[bytes]) -> None:
        anything = b"..." in patterns
        owed = [pattern for pattern in patterns if pattern != b"..."]
        told: list[bytes] = []
        while owed:
            line = _essence(await client.line())
            told.append(line)
            hit = next((pattern for pattern in owed if self._matches(pattern, line)), None)
            if hit is not None:
                owed.remove(hit)
            elif not anything:
                raise AssertionError(f"not expected: {line!r}\nowed: {owed}\ntold: {told}")
            if hit is None and not line:
                raise AssertionError(f"the connection ended\nowed: {owed}\ntold: {told}")
            if owed and hit is not None and not line.startswith((b"*", b"+")) and not _tags(owed):
                raise AssertionError(f"the command ended\nowed: {owed}\ntold: {told}")

    def _matches(self, pattern: bytes, line: bytes) -> bool:
        match = re.fullmatch(self._regex(_essence(pattern)), line, re.DOTALL)
        if match is None:
            return False
        self._known |= {name.encode(): value for name, value in match.groupdict().items()}
        return True

    def _regex(self, pattern: bytes) -> bytes:
        def piece(hole: re.Match[bytes]) -> bytes:
            text = hole[1]
            if reference := self._reference(text):
                return re.escape(reference)
            named = _NAMED.fullmatch(text)
            return b"(?P<%b>%b)" % (named[1], named[2]) if named else b"(?:%b)" % text

        parts, at = [], 0
        for hole in _HOLE.finditer(pattern):
            parts += [re.escape(pattern[at : hole.start()]), piece(hole)]
            at = hole.end()
        return b"".join([*parts, re.escape(pattern[at:])])

    def _reference(self, text: bytes) -> bytes | None:
        match = _REFERENCE.fullmatch(text)
        if match is None or match[1] not in self._known:
            return None
        value = self._known[match[1]]
        return b"%d" % (int(value) + int(match[2])) if match[2] else value

    def _filled(self, text: bytes) -> bytes:
        return _HOLE.sub(lambda hole: self._reference(hole[1]) or hole[0], text)


def _tags(patterns: list[bytes]) -> bool:
    """Another tagged answer is owed: the commands were pipelined."""
    return any(not pattern.startswith((b"*", b"+")) for pattern in patterns)


def _essence(line: bytes) -> bytes:
    if line.startswith(b"+"):
        return b"+"
    match = _STATUS.fullmatch(line)
    return match[1] if match else line


def _joined(block: list[bytes]) -> list[bytes]:
    """Lines of a literal belong to the response that announced it."""
    found: list[bytes] = []
    pending = iter(block)
    for whole in pending:
        while literal := _LITERAL.search(whole):
            rest = next(pending)
            while len(rest) < int(literal[1]):
                rest += b"\r\n" + next(pending)
            whole += b"\r\n" + rest
        found.append(whole)
    return found
