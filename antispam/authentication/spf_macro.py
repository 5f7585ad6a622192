"""SPF macro strings: parsed into pieces once, expanded as often as wanted (RFC 7208 7).

Knows the grammar and the letters; asks no DNS: the one letter that needs it, "p", is handed in as a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

MAX_EXPANDED = 253  # RFC 7208 7.3: longer names lose labels on the left
MAX_EXPLANATION = 512

DOMAIN_LETTERS = "slodiphv"
EXPLANATION_LETTERS = DOMAIN_LETTERS + "crt"

# macro-expand = ( "%{" macro-letter transformers *delimiter "}" ) / "%%" / "%_" / "%-"
_EXPAND = re.compile(r"%\{([a-zA-Z])([0-9]*)(r?)([-.+,/_=]*)\}|%([%_-])", re.IGNORECASE)
_LITERAL = re.compile(r"[!-$&-~]+")  # macro-literal = %x21-24 / %x26-7E
_ESCAPED = {"%": "%", "_": " ", "-": "%20"}
# toplabel = ( *alphanum ALPHA *alphanum ) / ( 1*alphanum "-" *( alphanum / "-" ) alphanum )
_TOPLABEL = re.compile(r"(?=[0-9]*[A-Za-z]|[A-Za-z0-9]+-)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")


class MacroError(ValueError):
    """The text is no macro string."""


@dataclass(frozen=True, slots=True)
class Letter:
    """`%{…}`: keep the last `keep` parts (0: all) of the value split at `delimiters`, reversed or not."""

    letter: str
    keep: int
    reverse: bool
    delimiters: str
    escape: bool  # an upper-case letter: URL-escape the result (RFC 7208 7.3)


@dataclass(frozen=True, slots=True)
class MacroString:
    pieces: tuple[str | Letter, ...]

    @property
    def needs_validated_name(self) -> bool:
        return any(isinstance(piece, Letter) and piece.letter == "p" for piece in self.pieces)

    def expand(self, values: Mapping[str, str]) -> str:
        """`values` has every letter used, in lower case."""
        return "".join(_expanded(piece, values) for piece in self.pieces)

    def name(self, values: Mapping[str, str]) -> str:
        """The expansion as a domain name. Only its end can stay, so only that is made: a giant record costs nothing."""
        pieces: list[str] = []
        octets = 0
        for piece in reversed(self.pieces):
            pieces.append(_expanded(piece, values))
            octets += len(pieces[-1])
            if octets > 2 * MAX_EXPANDED:
                break
        return shorten("".join(reversed(pieces)))


def parse(text: str, letters: str = DOMAIN_LETTERS) -> MacroString:
    """macro-string = *( macro-expand / macro-literal ), without spaces. Raises `MacroError`."""
    pieces: list[str | Letter] = []
    at = 0
    while at < len(text):
        match = _EXPAND.match(text, at) or _LITERAL.match(text, at)
        if match is None:
            raise MacroError(f"not a macro string: {text[at : at + 20]!r}")
        pieces.append(match[0] if match.re is _LITERAL else _piece(match, letters))
        at = match.end()
    return MacroString(tuple(pieces))


def parse_explanation(text: str) -> MacroString:
    """explain-string = *( macro-string / SP ), with the letters c, r and t (RFC 7208 6.2). Raises `MacroError`."""
    pieces: list[str | Letter] = []
    for number, word in enumerate(text.split(" ")):
        pieces += [" "] if number else []
        pieces += parse(word, EXPLANATION_LETTERS).pieces
    return MacroString(tuple(pieces))


def parse_domain_spec(text: str) -> MacroString:
    """domain-spec = macro-string domain-end; domain-end = ( "." toplabel [ "." ] ) / macro-expand."""
    spec = parse(text)
    last = spec.pieces[-1] if spec.pieces else ""
    if isinstance(last, Letter):
        return spec
    if text.endswith(("%%", "%_", "%-")):
        return spec
    _, dot, label = text.removesuffix(".").rpartition(".")
    if not dot or not _TOPLABEL.fullmatch(label):
        raise MacroError("domain-spec does not end in a domain")
    return spec


def shorten(name: str) -> str:
    """An expanded name that fits: labels are removed from the left past 253 characters (RFC 7208 7.3). A last label
    that is longer by itself stays; nobody asks for it."""
    name = name.removesuffix(".")
    if len(name) <= MAX_EXPANDED:
        return name
    # One cut, because a record of 64 KiB expands to megabytes and a label at a time would copy them for minutes.
    dot = name.find(".", len(name) - MAX_EXPANDED - 1)
    return name[dot + 1 :] if dot >= 0 else name[name.rfind(".") + 1 :]


def _piece(match: re.Match[str], letters: str) -> str | Letter:
    if match[5]:
        return _ESCAPED[match[5]]
    letter, digits, reverse, delimiters = match[1], match[2], match[3], match[4]
    if letter.lower() not in letters:
        raise MacroError(f"macro letter {letter!r} is not for here")
    # RFC 7208 7.3: the DIGIT, if given, must be at least 1; more than 128 labels cannot be
    if digits and not int(digits[:4]):
        raise MacroError("macro keeps zero parts")
    return Letter(letter.lower(), int(digits[:4] or 0), bool(reverse), delimiters or ".", letter.isupper())


def _expanded(piece: str | Letter, values: Mapping[str, str]) -> str:
    return piece if isinstance(piece, str) else _transform(piece, values[piece.letter])


def _transform(piece: Letter, value: str) -> str:
    parts = re.split("[" + re.escape(piece.delimiters) + "]", value)
    if piece.reverse:
        parts.reverse()
    if piece.keep:
        parts = parts[-piece.keep :]
    text = ".".join(parts)
    return quote(text, safe="-._~") if piece.escape else text
