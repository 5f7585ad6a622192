"""LANGUAGE (RFC 5255 3.2): in which language a person is told what went wrong.

Allowed before login: a refused login is what people read most. A language that was chosen in clear text is forgotten
with TLS (RFC 5255 7). The names of namespaces are what the operator calls them, so there is nothing to translate
(3.4).
"""

from __future__ import annotations

from imap import responses
from imap.command import ANY, Command
from imap.errors import BadSyntax, Code, No
from imap.language import SPOKEN, chosen
from imap.responses import Ok
from imap.session import Session
from imap.wire.scanner import Scanner

MOST_RANGES = 20


def _parse(scanner: Scanner) -> tuple[str, ...]:
    """language-cmd = "LANGUAGE" *(SP lang-range-quoted)"""
    ranges: list[str] = []
    while not scanner.at_end:
        scanner.space()
        ranges.append(scanner.astring().decode("ascii", "replace"))
        if len(ranges) > MOST_RANGES:
            raise BadSyntax("too many languages")
    return tuple(ranges)


async def _handle(session: Session, ranges: tuple[str, ...]) -> Ok:
    if not ranges:
        session.writer.write(responses.languages(SPOKEN))
        return Ok("the languages that are spoken here")
    language = chosen(ranges)
    if language is None:
        raise No("this language is not spoken here", Code.CANNOT)
    session.writer.write(responses.languages((language,)))
    session.language = language  # from now on: the change takes effect behind the response
    return Ok("this language is spoken from now on")


LANGUAGE = Command("LANGUAGE", ANY, _parse, _handle)
