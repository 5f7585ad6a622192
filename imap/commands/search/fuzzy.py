"""FUZZY (RFC 6203): what a person meant by a pattern, and how well each message fits.

A message matches when it holds each word of the pattern, or one that is nearly the same: of the same stem, or a slip or
two away, among the words of the account that are indexed. Order does not matter. Keys that are no texts (dates, sizes,
flags, numbers) are matched exactly. The pattern as it stands scores 100, words in any order at most 90, similar ones
less; several FUZZY keys of one command are averaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from imap.commands.search.criteria import Among, HeaderHas, Key, TextHas, leaves, rewrite
from imap.types import ranges_of
from message.collation import searchable
from message.words import WORD
from store.store import Mailbox, UidRanges

MOST_WORDS = 4  # of a pattern: its longest
MOST_ALIKE = 5  # words like each of them
WORDS_ONLY = 90  # the score of a message that holds all words, but not the pattern

Scores = Mapping[int, int]  # by UID, 1 to 100


@dataclass(frozen=True, slots=True)
class Settled:
    """A criterion whose FUZZY keys have become sets of UIDs, and the scores of these."""

    key: Key
    scores: Scores = field(default_factory=dict)


async def settle(mailbox: Mailbox, uids: Sequence[int], key: Key) -> Settled:
    asked = [leaf for leaf in dict.fromkeys(leaves(key)) if isinstance(leaf, TextHas | HeaderHas) and leaf.fuzzy]
    if not asked or not uids:
        return Settled(key)
    ranges: UidRanges = [(uids[0], uids[-1])]
    found = {leaf: await _scores(mailbox, ranges, leaf) for leaf in asked}
    together: dict[int, list[int]] = {}
    for scores in found.values():
        for uid, score in scores.items():
            together.setdefault(uid, []).append(score)
    settled = rewrite(key, lambda leaf: Among(ranges_of(sorted(found[leaf]))) if leaf in found else leaf)
    return Settled(settled, {uid: round(sum(scores) / len(scores)) for uid, scores in together.items()})


async def _scores(mailbox: Mailbox, ranges: UidRanges, leaf: TextHas | HeaderHas) -> Scores:
    """What one key scores; nothing for a message that does not match it."""
    words = sorted(set(WORD.findall(searchable(leaf.pattern))), key=lambda word: (-len(word), word))[:MOST_WORDS]
    by_word = [await _word(mailbox, ranges, leaf, word) for word in words]
    scores: dict[int, int] = {}
    if by_word:
        for uid in set.intersection(*(set(each) for each in by_word)):
            scores[uid] = max(1, round(WORDS_ONLY * sum(each[uid] for each in by_word) / len(by_word)))
    for uid in await _holding(mailbox, ranges, leaf, leaf.pattern):
        scores[uid] = 100
    return scores


async def _word(mailbox: Mailbox, ranges: UidRanges, leaf: TextHas | HeaderHas, word: str) -> dict[int, float]:
    """How well each message holds this word."""
    best: dict[int, float] = {}
    for like, likeness in ((word, 1.0), *await mailbox.similar_words(word, MOST_ALIKE)):
        for uid in await _holding(mailbox, ranges, leaf, like):
            best[uid] = max(best.get(uid, 0.0), likeness)
    return best


async def _holding(mailbox: Mailbox, ranges: UidRanges, leaf: TextHas | HeaderHas, pattern: str) -> Sequence[int]:
    if isinstance(leaf, TextHas):
        return await mailbox.search_text(ranges, pattern, body_only=leaf.body_only)
    return await mailbox.search_field(ranges, leaf.field.decode("ascii"), pattern)


def fuzzily(key: Key, *, searched: frozenset[bytes]) -> Key:
    """The keys below FUZZY: texts, and the fields that the store searches, loosely; all others as they are."""

    def loose(leaf: Key) -> Key:
        if isinstance(leaf, TextHas) or (isinstance(leaf, HeaderHas) and leaf.pattern and leaf.field in searched):
            return replace(leaf, fuzzy=True)
        return leaf

    return rewrite(key, loose)
