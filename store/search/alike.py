"""Words of an account's vocabulary that are nearly the same as a given one (`message.similar`). In a worker thread."""

from __future__ import annotations

import core.log
from message.similar import SHORTEST, alike
from message.words import GRAM, grams
from store.faults import IndexDamagedError, translated
from store.handle import Handle
from store.search import textfile

log = core.log.get(__name__)

_WIDE = 5  # letters longer or shorter than the word
MOST = 5000  # words with a common piece that are compared, and as many that begin alike


def similar(handle: Handle, word: str, most: int) -> tuple[tuple[str, float], ...]:
    """(word, likeness), the likest first; none when nothing is indexed. `word` in `collation.searchable` form."""
    if len(word) < max(SHORTEST, GRAM):
        return ()
    either = " OR ".join(f'"{gram}"' for gram in sorted(grams(word)))
    try:
        with textfile.opened(handle) as db, translated():
            if db is None:
                return ()
            rows = db.all(
                "SELECT word FROM words WHERE id IN (SELECT rowid FROM grams WHERE grams MATCH ?) "
                "AND length(word) BETWEEN ? AND ? LIMIT ?",
                (either, len(word) - _WIDE, len(word) + _WIDE, MOST),
            )
            # Two letters exchanged leave a short word no piece: what begins alike is compared, too.
            begin = word[:2]
            rows += db.all(
                "SELECT word FROM words WHERE word BETWEEN ? AND ? AND length(word) BETWEEN ? AND ? LIMIT ?",
                (begin, begin + chr(0x10FFFF), len(word) - 1, len(word) + 1, MOST),
            )
    except IndexDamagedError as error:
        log.warning("store-text-damaged", account=handle.ref.id, cause=str(error))
        return ()
    return alike(word, {found for (found,) in rows}, most)
