"""What the text index says about a pattern: messages that hold it for sure, and those that must be looked at.

A pattern that is one word lies inside words: pieces of it find them in the vocabulary, the words find the messages.
Of any other pattern its words find candidates. What is not indexed, or not wholly, is a candidate always; so the answer
is complete. Runs in a worker thread.
"""

from __future__ import annotations

import contextlib
import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import core.log
from message.collation import searchable
from message.words import GRAM, WORD, grams
from store import catalog, pieces
from store.catalog import FolderRow
from store.faults import IndexDamagedError, translated, whole
from store.handle import Handle
from store.index import Connection
from store.schema import UID_MASK, key
from store.search import textfile
from store.search.scan import Question

log = core.log.get(__name__)

_TOGETHER = 100  # words in one question: each row found costs a look at all of them
_MANY_WORDS = 2000  # words that hold a piece: too many to tell candidates from others
_MANY_GRAMS = 64
_MANY_PARTS = 8  # words of a long pattern that are looked up: its longest
_FEW = 2000  # documents whose places are looked up one by one

Ranges = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Found:
    """UIDs, ascending: `sure` ones match, `candidates` may."""

    sure: list[int]
    candidates: list[int]


@dataclass(frozen=True, slots=True)
class _Docs:
    """The same of documents; `candidates` None: all."""

    sure: set[int]
    candidates: set[int] | None


def find(handle: Handle, folder_id: str, ranges: Ranges, question: Question) -> Found:
    """Among the messages present in `ranges`. Raises NotFoundError without the folder, StorageError."""
    with whole(), contextlib.closing(handle.index.another()) as index:
        try:
            with textfile.opened(handle) as db, translated():
                found = None if db is None else _find(db, index, folder_id, ranges, question)
        except IndexDamagedError as error:
            log.warning("store-text-damaged", account=handle.ref.id, cause=str(error))
            textfile.discard(handle.fs, handle.root)
            found = None
        if found is None:
            return Found([], _present(index, catalog.known(index, folder_id), ranges))
        return found if question.fold_accents else Found([], sorted([*found.sure, *found.candidates]))


def _find(db: Connection, index: Connection, folder_id: str, ranges: Ranges, question: Question) -> Found | None:
    """None when the file does not know the folder as it is."""
    with db.reading(), index.reading():
        row = catalog.known(index, folder_id)
        known = db.one("SELECT number, uidvalidity, mark, life FROM folders, state WHERE id = ?", (folder_id,))
        if known is None or (known[1], known[3]) != (row.uidvalidity, index.value("SELECT life FROM state")):
            return None
        number, mark = int(known[0]), int(known[2])
        docs = _documents(db, searchable(question.pattern), body_only=question.body_only)
        later = [(max(first, mark + 1), last) for first, last in ranges if last > mark]
        if docs.candidates is None:
            return Found([], _present(index, row, ranges))
        sure = _placed(db, index, row, number, docs.sure, ranges)
        candidates = _placed(db, index, row, number, docs.candidates - docs.sure, ranges)
        unindexed = _present(index, row, later)
        # A place past the mark is one of a turn that was compared again: it is looked at, with its neighbours.
        return Found([uid for uid in sure if uid <= mark], [uid for uid in candidates if uid <= mark] + unindexed)


def _present(index: Connection, row: FolderRow, ranges: Ranges) -> list[int]:
    question = f"SELECT key & {UID_MASK} FROM messages WHERE key {{}} ORDER BY key"  # noqa: S608 - constants
    return [
        uid
        for which, values in pieces.of(pieces.within(row.number, ranges))
        for (uid,) in index.all(question.format(which), values)
    ]


def _placed(
    db: Connection, index: Connection, row: FolderRow, number: int, docs: set[int], ranges: Ranges
) -> list[int]:
    """The UIDs of documents in this folder and `ranges`, as far as the index has them still."""
    if len(docs) > _FEW:
        rows = db.all(
            f"SELECT key & {UID_MASK}, doc FROM places WHERE key BETWEEN ? AND ?",  # noqa: S608 - constants
            (key(number, 0), key(number, UID_MASK)),
        )
        uids = {uid for uid, doc in rows if doc in docs}
        return [uid for uid in _present(index, row, ranges) if uid in uids]
    rows = db.all(
        f"SELECT key & {UID_MASK} FROM places WHERE doc IN (SELECT value FROM json_each(?)) "  # noqa: S608 - constants
        "AND key BETWEEN ? AND ? ORDER BY key",
        (json.dumps(list(docs)), key(number, 0), key(number, UID_MASK)),
    )
    keys = json.dumps([key(row.number, uid) for (uid,) in rows if _among(uid, ranges)])
    present = index.all(
        f"SELECT key & {UID_MASK} FROM messages WHERE key IN (SELECT value FROM json_each(?)) ORDER BY key",  # noqa: S608 - constants
        (keys,),
    )
    return [uid for (uid,) in present]


def _among(uid: int, ranges: Ranges) -> bool:
    position = bisect_right(ranges, uid, key=lambda span: span[0]) - 1
    return position >= 0 and uid <= ranges[position][1]


# -- documents ---------------------------------------------------------------------------------------------------------


def _documents(db: Connection, form: str, *, body_only: bool) -> _Docs:
    if WORD.fullmatch(form) and len(form) >= GRAM:
        sure = _with_words(db, _words_holding(db, form), body_only=body_only)
        return _Docs(sure, _with_grams(db, form, body_only=body_only) | _partial(db))
    candidates: set[int] | None = None
    for match in sorted(WORD.finditer(form), key=lambda match: match.start() - match.end())[:_MANY_PARTS]:
        found = _with_part(db, form, match.start(), match.end(), body_only=body_only)
        if found is not None:
            candidates = found if candidates is None else candidates & found
    return _Docs(set(), None if candidates is None else candidates | _partial(db))


def _with_part(db: Connection, form: str, start: int, end: int, *, body_only: bool) -> set[int] | None:
    """Documents that hold this word of a longer pattern; None when it tells too little. At the edges of the pattern
    it may be a part of a word."""
    part = form[start:end]
    if len(part) < GRAM:
        return None
    if start and end < len(form):
        holding = [part]
    elif start:
        holding = [word for word in _words_holding(db, part) if word.startswith(part)]
    else:
        holding = [word for word in _words_holding(db, part) if word.endswith(part)]
    if len(holding) > _MANY_WORDS:
        return None
    return _with_words(db, holding, body_only=body_only) | _with_grams(db, part, body_only=body_only)


def _words_holding(db: Connection, part: str) -> list[str]:
    rows = db.all(
        "SELECT word FROM words WHERE id IN (SELECT rowid FROM grams WHERE grams MATCH ?) AND instr(word, ?)",
        (_all_of(part), part),
    )
    return [word for (word,) in rows]


def _with_words(db: Connection, words: Sequence[str], *, body_only: bool) -> set[int]:
    columns = "body" if body_only else "{head body}"
    found: set[int] = set()
    every = db.value("SELECT count(*) FROM docs")
    for start in range(0, len(words), _TOGETHER):
        if len(found) == every:
            break
        either = " OR ".join(f'"{word}"' for word in words[start : start + _TOGETHER])
        found.update(_matching(db, f"{columns} : ({either})"))
    return found


def _with_grams(db: Connection, part: str, *, body_only: bool) -> set[int]:
    columns = "body_grams" if body_only else "{head_grams body_grams}"
    return set(_matching(db, f"{columns} : ({_all_of(part)})"))


def _all_of(part: str) -> str:
    return " AND ".join(f'"{gram}"' for gram in sorted(grams(part))[:_MANY_GRAMS])


def _matching(db: Connection, question: str) -> list[int]:
    return [doc for (doc,) in db.all("SELECT rowid FROM text WHERE text MATCH ?", (question,))]


def _partial(db: Connection) -> set[int]:
    return {doc for (doc,) in db.all("SELECT doc FROM docs WHERE partial")}
