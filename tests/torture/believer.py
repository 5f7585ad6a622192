"""What one IMAP client may believe of its mailbox from what it was told, and every way it can be wrong. Pure.

It is fed the lines of the server with the command that runs, and keeps messages by number with their UIDs, flags and
mod-sequences as a client would (RFC 9051 7, RFC 7162 3.2). `faults` names what no server may say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_NUMBERED = re.compile(rb"\* (\d+) (EXISTS|EXPUNGE|FETCH|UIDFETCH)(?: \((.*)\))?", re.DOTALL)
_VANISHED = re.compile(rb"\* VANISHED (\(EARLIER\) )?([0-9:,]+)")
_HIGHEST = re.compile(rb"\[HIGHESTMODSEQ (\d+)\]")
_CODE = re.compile(rb"\[([A-Z-]+) ([^]]*)\]")
_UID = re.compile(rb"(?:^| )UID (\d+)")
_FLAGS = re.compile(rb"(?:^| )FLAGS \(([^)]*)\)")
_MODSEQ = re.compile(rb"(?:^| )MODSEQ \((\d+)\)")
_SUBJECT = re.compile(rb"Subject: (\S+)")
# Commands during which no message may lose its number (RFC 9051 7.5.1); by UID they may.
BY_NUMBER = frozenset({"FETCH", "STORE", "SEARCH", "SORT", "THREAD"})


@dataclass(slots=True)
class Known:
    """`uid` 0 and `flags` None: the client was not told yet. `recent`: \\Recent, which is of the session and not of the
    message (RFC 3501 2.3.2)."""

    uid: int = 0
    flags: frozenset[bytes] | None = None
    recent: bool = False
    modseq: int = 0


def numbers(text: bytes) -> list[int]:
    """A set of the wire as its numbers."""
    found: list[int] = []
    for part in text.split(b","):
        low, _, high = part.partition(b":")
        found += range(int(low), int(high or low) + 1)
    return found


@dataclass
class Believer:
    """`messages` by number; `highest` is the mod-sequence a client may come back with (RFC 7162 6). `uid_only`: numbers
    are never told (RFC 9586), the nameless stand behind the others then. `any_time`: removals may be told
    whenever they happen (RFC 5465)."""

    name: str
    qresync: bool = False
    uid_only: bool = False
    any_time: bool = False
    messages: list[Known] = field(default_factory=list)
    selected: bool = False
    selecting: bool = False
    highest: int = 0
    uidvalidity: int = 0
    told: set[int] = field(default_factory=set)  # UIDs this session was told of
    subjects: dict[int, bytes] = field(default_factory=dict)
    expunged: list[int] = field(default_factory=list)
    codes: dict[str, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    _heard: int = 0
    _settled: int | None = None
    _back: dict[int, Known] | None = None
    _partly: bool = False

    # --- what the client does ------------------------------------------------------------------------------------

    def begin_select(self, *, back: bool, partly: bool = False) -> None:
        """`back`: with QRESYNC, so that what was known stays known unless it vanished. `partly`: of known UIDs alone,
        so that what is new is only counted (RFC 7162 3.2.5.1)."""
        known = {each.uid: each for each in self.messages if each.uid} if back else None
        self.messages, self.told = [], set()
        self.selected = self.selecting = True
        self._back, self._partly = known, partly

    def finish_select(self) -> None:
        """RFC 7162 3.2.5: what was known and did not vanish is there, in the order of its UIDs, then what is new."""
        self.selecting = False
        if self._back is not None:
            fresh = {each.uid: each for each in self.messages if each.uid}
            for uid, each in self._back.items():
                fresh.setdefault(uid, each)
            there = [fresh[uid] for uid in sorted(fresh)]
            if self._partly and len(there) < len(self.messages):
                there += [Known() for _ in range(len(self.messages) - len(there))]
            if len(there) != len(self.messages):
                self._fault(f"{len(there)} messages after QRESYNC, told {len(self.messages)}")
            for place, each in enumerate(there):
                if place < len(self.messages):
                    if not self.uid_only and self.messages[place].uid not in (0, each.uid):
                        self._fault(f"QRESYNC: number {place + 1} is UID {self.messages[place].uid}, not {each.uid}")
                    self.messages[place] = each
            self._back = None

    def leave(self) -> None:
        self.selected = False

    # --- what the server says --------------------------------------------------------------------------------------

    def hear(self, line: bytes, command: str) -> None:
        """One untagged line while `command` runs ("" for none)."""
        if match := _NUMBERED.fullmatch(line):
            self._numbered(int(match[1]), match[2], match[3] or b"", command)
        elif match := _VANISHED.fullmatch(line):
            self._vanished(bool(match[1]), numbers(match[2]), command)
        if match := _HIGHEST.search(line):
            self._settled = int(match[1])
        if line.startswith(b"* OK [UIDVALIDITY "):
            self.uidvalidity = int(line.split(b"UIDVALIDITY ")[1].split(b"]")[0])
        self._codes(line)

    def end(self, line: bytes) -> None:
        """The tagged answer."""
        if match := _HIGHEST.search(line):
            self._settled = int(match[1])
        self._codes(line)
        if self._settled is not None:
            self.highest = self._settled
        else:
            self.highest = max(self.highest, self._heard)
        self._heard, self._settled = 0, None

    def _codes(self, line: bytes) -> None:
        if match := _CODE.search(line):
            self.codes[match[1].decode()] = match[2]

    def _fault(self, text: str) -> None:
        self.faults.append(f"{self.name}: {text}")

    def _numbered(self, number: int, what: bytes, items: bytes, command: str) -> None:
        if not self.selected:
            self._fault(f"{number} {what.decode()} while nothing is selected")
        elif what == b"EXISTS":
            if number < len(self.messages):
                self._fault(f"EXISTS {number} after {len(self.messages)}")
            self.messages += [Known() for _ in range(number - len(self.messages))]
        elif what == b"EXPUNGE":
            self._expunge(number, command)
        elif (what == b"UIDFETCH") != self.uid_only:
            self._fault(f"{number} {what.decode()}")
        elif self.uid_only:
            self._fetched_by_uid(number, items)
        else:
            self._fetched(number, items)

    def _may_remove(self, what: str, command: str) -> None:
        withheld = not self.any_time and (not command or command in BY_NUMBER)
        if withheld or self.selecting:
            self._fault(f"{what} during {command or 'nothing'}")

    def _expunge(self, number: int, command: str) -> None:
        self._may_remove("EXPUNGE", command)
        if self.qresync:
            self._fault("EXPUNGE where VANISHED is due")
        if not 1 <= number <= len(self.messages):
            self._fault(f"EXPUNGE {number} of {len(self.messages)}")
            return
        self.expunged.append(self.messages.pop(number - 1).uid)

    def _vanished(self, earlier: bool, uids: list[int], command: str) -> None:
        if not self.qresync:
            self._fault("VANISHED without QRESYNC")
        if earlier:
            if self._back is not None:
                for uid in uids:
                    self._back.pop(uid, None)
            elif still := [each.uid for each in self.messages if each.uid in uids]:
                self._fault(f"VANISHED (EARLIER) of what is there: {still}")
            return
        self._may_remove("VANISHED", command)
        gone = set(uids)
        there = [each for each in self.messages if each.uid in gone]
        unknown = gone - {each.uid for each in there}
        self.messages = [each for each in self.messages if each.uid not in gone]
        self.expunged += [each.uid for each in there]
        for uid in unknown:  # announced by EXISTS, its UID not asked for yet: somewhere among the nameless ones
            nameless = next((place for place, each in enumerate(self.messages) if not each.uid), None)
            if nameless is None:
                self._fault(f"VANISHED {uid}, which is not there")
            else:
                self.messages.pop(nameless)

    def _fetched(self, number: int, items: bytes) -> None:
        if not 1 <= number <= len(self.messages):
            self._fault(f"FETCH {number} of {len(self.messages)}")
            return
        known = self.messages[number - 1]
        if match := _UID.search(items):
            self._named(number, known, int(match[1]))
        self._told_of(known, items)

    def _fetched_by_uid(self, uid: int, items: bytes) -> None:
        known = next((each for each in self.messages if each.uid == uid), None)
        if known is None:
            known = next((each for each in self.messages if not each.uid), None)
            if known is None:
                self._fault(f"UIDFETCH {uid}, which is not there")
                return
            known.uid = uid
            self.told.add(uid)
            self.messages.sort(key=lambda each: (not each.uid, each.uid))
        self._told_of(known, items)

    def _told_of(self, known: Known, items: bytes) -> None:
        match = _SUBJECT.search(items)
        if match and known.uid and self.subjects.setdefault(known.uid, match[1]) != match[1]:
            self._fault(f"UID {known.uid} is {match[1]!r}, was {self.subjects[known.uid]!r}")
        flags = frozenset(match[1].split()) if (match := _FLAGS.search(items)) else None
        if flags is not None:
            known.recent, flags = b"\\Recent" in flags, flags - {b"\\Recent"}
        modseq = int(match[1]) if (match := _MODSEQ.search(items)) else 0
        if modseq:
            self._heard = max(self._heard, modseq)
            if modseq < known.modseq:
                self._fault(f"UID {known.uid}: mod-sequence {modseq} after {known.modseq}")
            if flags is not None and modseq == known.modseq and known.flags not in (None, flags):
                self._fault(f"UID {known.uid}: {sorted(known.flags or ())} and {sorted(flags)} at {modseq}")
            known.modseq = modseq
        if flags is not None:
            known.flags = flags

    def _named(self, number: int, known: Known, uid: int) -> None:
        if known.uid not in (0, uid):
            self._fault(f"number {number} is UID {uid}, was {known.uid}")
        below = next((each.uid for each in reversed(self.messages[: number - 1]) if each.uid), 0)
        above = next((each.uid for each in self.messages[number:] if each.uid), uid + 1)
        if not below < uid < above:
            self._fault(f"number {number} is UID {uid}, between {below} and {above}")
        known.uid = uid
        self.told.add(uid)

    # --- what the client makes of its own STORE -------------------------------------------------------------------

    def changed_silently(self, uids: list[int], sign: str, flags: frozenset[bytes]) -> None:
        """Nobody tells a client what it asked for itself (RFC 9051 6.4.6)."""
        for each in self.messages:
            if each.uid in uids and each.flags is not None:
                each.flags = {"+": each.flags | flags, "-": each.flags - flags}.get(sign, flags)
