"""What can be asked about a mailbox and of folders, at random: SEARCH with every key, RETURN, SORT, LIST, LSUB.

Seeded. The words are those of `letter`, so that most searches find something and not everything.
"""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Callable

PEOPLE = (
    '"Zoé Arnaud" <zoe@a.test>', "bruno@b.test", "Carla <carla@c.test>", "<dany@d.test>", "anne@e.test",
    '"Dupont, Jean" <jean@a.test>', "=?utf-8?q?H=C3=A9l=C3=A8ne?= <helene@b.test>", "Elus: <un@c.test>, deux@d.test;",
)  # fmt: skip
SUBJECTS = (
    "budget", "Re: budget", "Fwd: [liste] budget", "conseil municipal", "RE: Re: conseil municipal", "", "Zone",
    "=?utf-8?b?RsOpdGUgZGUgbCfDqXTDqQ==?=", "[mairie] Re: [liste] zone (fwd)", "Re[2]: zone", "conseil\r\n municipal",
)  # fmt: skip
TEXTS = ("alpha", "beta", "gamma", "été", "l'eau de la ville", "delta-9")
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Draft", "$Work", "Later")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def letter(number: int, dice: random.Random, most: int) -> bytes:
    """A message with CRLF lines. Each has its own Date, so that an order by it is one."""
    date = f"{dice.randint(1, 28)} {dice.choice(MONTHS)} {dice.choice((2023, 2024, 2025))}"
    clock = f"{dice.randint(0, 23):02}:{number % 60:02}:{number // 60:02} {dice.choice('+-')}0{dice.randint(0, 9)}00"
    lines = [
        f"From: {dice.choice(PEOPLE)}",
        f"To: {', '.join(dice.sample(PEOPLE, dice.randint(1, 2)))}",
        f"Subject: {dice.choice(SUBJECTS)}",
        f"Date: {date} {clock}",
        f"Message-ID: <{number}@x.test>",
        "MIME-Version: 1.0",
    ]
    for name, chance in (("Cc", 0.3), ("Bcc", 0.2), ("Reply-To", 0.2)):
        if dice.random() < chance:
            lines.append(f"{name}: {dice.choice(PEOPLE)}")
    if dice.random() < 0.2:
        lines.append(f"X-Odd: {dice.choice(TEXTS[:3])}")
    if number > 1 and dice.random() < 0.5:
        lines.append("References: " + " ".join(f"<{dice.randint(1, most)}@x.test>" for _ in range(dice.randint(1, 3))))
    elif dice.random() < 0.2:
        lines.append(f"In-Reply-To: <{dice.randint(1, most)}@x.test>")
    return ("\r\n".join(lines)).encode() + _body(dice)


def _body(dice: random.Random) -> bytes:
    text = "\r\n".join(" ".join(dice.choices(TEXTS, k=dice.randint(1, 6))) for _ in range(dice.randint(1, 3)))
    form = dice.randrange(4)
    if form == 0:
        encoded = base64.encodebytes(text.encode()).replace(b"\n", b"\r\n")
        return b"\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" + encoded
    if form == 1:
        latin = text.encode("iso-8859-1")
        return b"\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + latin
    if form == 2:
        part = f"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n--b\r\n"
        other = f"Content-Type: text/plain\r\n\r\n{dice.choice(TEXTS[:3])}\r\n--b--\r\n"
        return b'\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n' + (part + other).encode()
    return b"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + text.encode() + b"\r\n"


# --- SEARCH ----------------------------------------------------------------------------------------------------------


# What Dovecot 2.3 gets wrong when it simplifies a search, and what is therefore not asked. OR of two flags that are not
# set means to it neither: "OR NOT DRAFT UNSEEN" does not find what is seen and no draft.
NEGATIVE = re.compile(r"\(*(NOT|UN[A-Z]+)\b", re.IGNORECASE)
# Of two dates or sizes of one kind below NOT it keeps the wrong one: "NOT (SINCE 1-Jan-2023 SINCE 1-Jan-2024)", "NOT
# BEFORE ... NOT BEFORE ...", "NOT SMALLER 392 NOT SMALLER 191".
_BOUND = "((?:SENT)?(?:BEFORE|ON|SINCE)|OLDER|YOUNGER|LARGER|SMALLER)"
TWICE = re.compile(rf"\b{_BOUND} .*\bNOT\b.*\b\1 |\bNOT\b.*\b{_BOUND} .*\b\2 ", re.IGNORECASE | re.DOTALL)


def sound(asked: str) -> bool:
    """Whether both can be asked."""
    return not TWICE.search(asked)


def string(dice: random.Random, text: str) -> str:
    """An atom where it can be one, a quoted string, a literal."""
    octets = text.encode()
    forms = [f"{{{len(octets)}+}}\r\n{text}"]
    if text.isascii():
        forms.append('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')
    if text.isascii() and text and not set(text) & set(' (){%*"\\]'):
        forms.append(text)
    return dice.choice(forms)


def number_set(dice: random.Random, most: int) -> str:
    """Of numbers that exist; with "*", turned round, overlapping."""

    def one() -> str:
        low, high = (dice.choice([str(dice.randint(1, most)), "*"]) for _ in range(2))
        return dice.choice((low, f"{low}:{high}"))

    return ",".join(one() for _ in range(dice.randint(1, 3)))


def day(dice: random.Random) -> str:
    text = f"{dice.randint(1, 28)}-{dice.choice(MONTHS)}-{dice.choice((2023, 2024, 2025))}"
    return dice.choice((text, f'"{text}"', text.upper() if dice.random() < 0.2 else text))


def key(dice: random.Random, most: int, depth: int = 2, *, saved: bool = False) -> str:
    """A search-key. `most`: messages there are; `saved`: "$" may be named."""
    shape = dice.randrange(7) if depth else 0
    if shape == 1:
        return f"NOT {key(dice, most, depth - 1, saved=saved)}"
    if shape == 2:
        left, right = (key(dice, most, depth - 1, saved=saved) for _ in range(2))
        while NEGATIVE.match(left) and NEGATIVE.match(right):
            right = key(dice, most, depth - 1, saved=saved)
        return f"OR {left} {right}"
    if shape == 3:
        return f"({' '.join(key(dice, most, depth - 1, saved=saved) for _ in range(dice.randint(1, 3)))})"
    found = dice.choice(LEAVES)(dice, most)
    return "$" if saved and dice.random() < 0.15 else found


def keys(dice: random.Random, most: int, *, saved: bool = False) -> str:
    return " ".join(key(dice, most, saved=saved) for _ in range(dice.choice((1, 1, 2))))


Leaf = Callable[[random.Random, int], str]


def _fixed(word: str) -> Leaf:
    return lambda dice, _: word if dice.random() < 0.8 else word.lower()


def _of(name: str, *texts: str) -> Leaf:
    return lambda dice, _: f"{name} {string(dice, dice.choice(texts))}"


def _dated(name: str) -> Leaf:
    return lambda dice, _: f"{name} {day(dice)}"


ENTRIES = ("", '"/flags/\\\\Seen" all ', '"/flags/$Work" shared ')  # of MODSEQ (RFC 7162 3.1.5)
FIELDS = {
    "X-Odd": ("", "alpha", "bet"), "Message-ID": ("1@x", "<2@x.test>", ""), "References": ("7@x", ""),
    "reply-to": ("carla", ""), "Subject": ("budget",), "X-None": ("", "x"), "Content-Type": ("mixed", "text"),
}  # fmt: skip
SUBJECT_WORDS = ("budget", "Re:", "conseil municipal", "FÊTE", "[liste]", "zone (", "")
BODY_WORDS = ("alpha", "beta gamma", "été", "ÉTÉ", "eau de", "delta-9", "lta-", "GAMMA", "nowhere", "")
WHO = ("carla", "bruno@b.test", "Zo", "zoe@a", "Dupont, Jean", "Hélène", "HELENE", "test", "<dany", "un@c", "")
LEAVES: tuple[Leaf, ...] = (
    *map(_fixed, ("ALL", "ANSWERED", "DELETED", "DRAFT", "FLAGGED", "SEEN", "UNANSWERED", "UNDELETED", "UNDRAFT",
                  "UNFLAGGED", "UNSEEN", "KEYWORD $Work", "KEYWORD later", "UNKEYWORD Later", "UNKEYWORD $None")),
    *(_of(name, *WHO) for name in ("FROM", "TO", "CC", "BCC")),
    _of("SUBJECT", *SUBJECT_WORDS),
    _of("SUBJECT", *SUBJECT_WORDS),
    *(_of(name, *BODY_WORDS) for name in ("BODY", "TEXT")),
    *(_of(f"HEADER {field}", *words) for field, words in FIELDS.items()),
    *(_dated(name) for name in ("BEFORE", "ON", "SINCE", "SENTBEFORE", "SENTON", "SENTSINCE") for _ in range(2)),
    lambda dice, _: f"LARGER {dice.randint(100, 900)}",
    lambda dice, _: f"SMALLER {dice.randint(100, 900)}",
    lambda dice, _: f"OLDER {dice.choice((1, 86400, 30_000_000, 90_000_000))}",
    lambda dice, _: f"YOUNGER {dice.choice((1, 86400, 30_000_000, 90_000_000))}",
    number_set,
    number_set,
    lambda dice, most: f"UID {number_set(dice, most + 5)}",
    lambda dice, most: f"UID {number_set(dice, most + 5)}",
    lambda dice, _: "MODSEQ " + dice.choice(ENTRIES) + "{after0}",
)  # fmt: skip


def returns(dice: random.Random, *, save: bool = False, partial: bool = True) -> str:
    """RETURN (...) and the space behind it, or nothing."""
    options = dice.sample(["MIN", "MAX", "ALL", "COUNT"], dice.randint(0, 4))
    if save:
        options.append("SAVE")
    elif partial and "ALL" not in options and options and dice.random() < 0.3:
        low = dice.randint(1, 30)
        options.append(f"PARTIAL {low}:{low + dice.randint(0, 9)}")
    return f"RETURN ({' '.join(options)}) "


# --- SORT, THREAD ----------------------------------------------------------------------------------------------------

CRITERIA = ("ARRIVAL", "CC", "DATE", "FROM", "SIZE", "SUBJECT", "TO")


def criteria(dice: random.Random, among: tuple[str, ...] = CRITERIA) -> str:
    chosen = dice.sample(among, dice.randint(1, min(3, len(among))))
    return " ".join(f"{'REVERSE ' if dice.random() < 0.3 else ''}{each}" for each in chosen)


# --- LIST, LSUB ------------------------------------------------------------------------------------------------------

LEVELS = ("a", "b", "c", "d", "e", "x", "INBOX", "inbox", "Caf&AOk-")
REFERENCES = ("", "", "", "a/", "a/b/", "d/", "INBOX/", "nowhere/")
SELECTIONS = ("SUBSCRIBED", "SUBSCRIBED RECURSIVEMATCH", "REMOTE", "SUBSCRIBED REMOTE", "RECURSIVEMATCH SUBSCRIBED", "")
ITEMS = ("MESSAGES", "UNSEEN", "UIDNEXT")


def pattern(dice: random.Random) -> str:
    """Names, and names with wildcards in and between their levels."""
    levels = []
    for _ in range(dice.choice((1, 1, 2, 2, 3))):
        level = dice.choice(LEVELS)
        levels.append(
            dice.choice((level, "%", "*", f"{level[:1]}%", f"%{level[-1:]}", f"{level[:1]}*", f"*{level[-1:]}"))
        )
    text = "/".join(levels)
    return f'"{text}"' if dice.random() < 0.3 else text


def question(dice: random.Random) -> str:
    """LIST in its plain and its extended form, LSUB."""
    reference, asked = f'"{dice.choice(REFERENCES)}"', pattern(dice)
    form = dice.randrange(5)
    if form == 0:
        return f"LSUB {reference} {asked}"
    if form == 1:
        return f"LIST {reference} {asked}"
    several = f"({' '.join(pattern(dice) for _ in range(dice.randint(1, 3)))})" if dice.random() < 0.4 else asked
    selection = f"({dice.choice(SELECTIONS)}) " if form != 2 else ""
    chosen = dice.sample(["SUBSCRIBED", "CHILDREN", f"STATUS ({' '.join(dice.sample(ITEMS, 2))})"], dice.randint(0, 3))
    returned = f" RETURN ({' '.join(chosen)})" if dice.random() < 0.7 else ""
    return f"LIST {selection}{reference} {several}{returned}"
