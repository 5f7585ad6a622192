"""Character sets of mail, decoded without surprise: a fixed table, replacement instead of failure.

Python's codec registry is not asked by a stranger's name: it holds codecs that are slow (punycode, idna) or are no
character sets. An unknown name is read as UTF-8, else as Windows-1252, which is what most such mail is.
"""

from __future__ import annotations

import codecs
import re

_FALLBACK = "cp1252"
_ISO = {f"iso-8859-{n}": f"iso8859-{n}" for n in (2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16)}
_WINDOWS = {f"{prefix}{n}": f"cp{n}" for n in range(1250, 1259) for prefix in ("windows-", "cp", "cp-", "x-cp")}
_DOS = {f"{prefix}{n}": f"cp{n}" for n in (437, 850, 852, 858, 865, 866) for prefix in ("cp", "ibm", "cp-")}
# RFC 2978 names that mail carries, and the usual misspellings; ISO-8859-1 is read as its superset, as browsers do.
_TABLE: dict[str, str] = {
    **_ISO,
    **_WINDOWS,
    **_DOS,
    "utf-8": "utf-8", "utf8": "utf-8", "unicode-1-1-utf-8": "utf-8",
    "utf-16": "utf-16", "utf-16le": "utf-16-le", "utf-16be": "utf-16-be", "utf-7": "utf-7",
    "utf-32": "utf-32", "iso-8859-1": _FALLBACK, "iso8859-1": _FALLBACK, "iso_8859-1": _FALLBACK, "latin1": _FALLBACK,
    "latin-1": _FALLBACK, "l1": _FALLBACK, "iso8859-15": "iso8859-15", "latin-9": "iso8859-15", "latin9": "iso8859-15",
    "iso-8859-8-i": "iso8859-8", "iso-8859-11": "cp874", "tis-620": "cp874", "windows-874": "cp874",
    "koi8-r": "koi8-r", "koi8-u": "koi8-u", "macintosh": "mac-roman", "mac": "mac-roman", "x-mac-roman": "mac-roman",
    "gb2312": "gb18030", "gbk": "gb18030", "gb18030": "gb18030", "hz-gb-2312": "hz", "big5": "big5hkscs",
    "big5-hkscs": "big5hkscs", "iso-2022-jp": "iso2022_jp_2", "shift_jis": "cp932", "shift-jis": "cp932",
    "sjis": "cp932", "windows-31j": "cp932", "euc-jp": "euc_jp", "euc-kr": "cp949", "ks_c_5601-1987": "cp949",
    "iso-2022-kr": "iso2022_kr",
}  # fmt: skip
_SURROGATE = re.compile("[\ud800-\udfff]")
# What these decode to never holds one: looking for it would take longer than decoding.
_SOUND = frozenset({"utf-8", *_ISO.values(), *_WINDOWS.values()})
# How octets are read from the first block on that is not what the name says (None: no known name). UTF-16 and UTF-32
# without a byte order mark are little-endian, as browsers have it and `bytes.decode` on the machines we run on.
# Octets that are no ISO 2022 fill what its decoders hold back between blocks.
_OTHERWISE = {
    None: _FALLBACK, "utf-16": "utf-16-le", "utf-32": "utf-32-le", "iso2022_jp_2": _FALLBACK, "iso2022_kr": _FALLBACK,
}  # fmt: skip
# C0 and C1 controls, line and paragraph separators: they move a terminal or break a line (promise P9).
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Overrides that make shown text lie about its order (security.md row 69).
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")


def decode(data: bytes, name: str = "") -> str:
    """Text of `data`; never raises. US-ASCII, an unknown or a missing name: UTF-8 when it is, else Windows-1252."""
    codec = _TABLE.get(_normal(name))
    if codec is None:
        return guess(data)
    text = data.decode(codec, "replace")
    return text if codec in _SOUND else _SURROGATE.sub("\ufffd", text)


def keeps_ascii(name: bytes) -> bool:
    """Whether octets of ASCII are its characters wherever they stand, in a known character set or a guessed one."""
    codec = _TABLE.get(_normal(name.decode("ascii", "replace")))
    return codec is None or codec in _SOUND


def guess(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode(_FALLBACK, "replace")


class Decoder:
    """The same block by block; what the blocks split stays whole. A guess is made once, on the first odd block."""

    __slots__ = ("_decoder", "_otherwise", "_sound")

    def __init__(self, name: str = "") -> None:
        codec = _TABLE.get(_normal(name))
        self._otherwise = _OTHERWISE.get(codec)
        self._sound = codec is None or codec in _SOUND
        self._decoder = codecs.getincrementaldecoder(codec or "utf-8")("strict" if codec is None else "replace")

    def feed(self, block: bytes, *, final: bool = False) -> str:
        if self._otherwise is not None:
            text = self._tried(block, self._otherwise, final)
        else:
            text = self._decoder.decode(block, final)
        return text if self._sound else _SURROGATE.sub("\ufffd", text)

    def _tried(self, block: bytes, otherwise: str, final: bool) -> str:
        held, _ = self._decoder.getstate()
        try:
            return self._decoder.decode(block, final)
        except UnicodeError:  # no mark, or too much held back, is no UnicodeDecodeError
            self._otherwise = None
            self._decoder = codecs.getincrementaldecoder(otherwise)("replace")
            return self._decoder.decode(held + block, final)


def shown(text: str) -> str:
    """For one line that people read: controls become spaces, direction overrides go, white space is folded."""
    line = " ".join(text.split())
    if line.isprintable():  # the usual case, which has none of these
        return line
    return " ".join(_BIDI.sub("", _CONTROL.sub(" ", text)).split())


def _normal(name: str) -> str:
    return name.strip().strip("\"'").lower()[:40]
