"""What a search found, ready for the wire: IMAP4rev1's SEARCH; ESEARCH reads the same value (RFC 9051 7.3.4)."""

from __future__ import annotations

from dataclasses import dataclass

from imap import responses


@dataclass(frozen=True, slots=True)
class Result:
    """`numbers` ascending: UIDs for UID SEARCH, sequence numbers else. `mod_seq`: the highest among the messages
    found, when the client searched by MODSEQ and found any (RFC 7162 3.1.5)."""

    numbers: tuple[int, ...]
    by_uid: bool
    mod_seq: int | None = None


def search_response(result: Result) -> bytes:
    """RFC 3501 7.2.5; sent also when nothing matched, so that the client knows."""
    line = responses.search(result.numbers)
    return line if result.mod_seq is None else b"%b (MODSEQ %d)\r\n" % (line[:-2], result.mod_seq)
