"""Every reply the server sends, as values: code, enhanced status, text (RFC 5321 4.2, RFC 2034, RFC 3463).

Knows how a reply looks on the wire; refuses to know when one is due. Texts never echo input (promise P9). The banner,
every answer to HELO and EHLO (refusals, too), 334 and 354 carry no enhanced code, as RFC 2034 4 says; all others do.
"""

from __future__ import annotations

import re
from functools import lru_cache

from core.frozen import dataclass
from core.status import Status
from smtp.gate import Refusal

MAX_TEXT = 400  # RFC 5321 4.5.3.1.5 allows 512 octets a line with code and CRLF
_NOT_PRINTABLE = re.compile(r"[^ -~]")


@dataclass(frozen=True, slots=True)
class Reply:
    """`lines`: printable ASCII; several make a multi-line reply, sent in one write."""

    code: int
    lines: tuple[str, ...]
    enhanced: str = ""

    @property
    def good(self) -> bool:
        return self.code < 400

    def encode(self) -> bytes:
        return _octets(self.code, self.lines, self.enhanced)


@lru_cache(maxsize=256)  # few of the replies that a message gets are not those of the one before
def _octets(code: int, lines: tuple[str, ...], enhanced: str) -> bytes:
    prefix = f"{enhanced} " if enhanced else ""
    text = f"{code} {prefix}{lines[-1]}\r\n"
    if len(lines) > 1:
        text = "".join([f"{code}-{prefix}{line}\r\n" for line in lines[:-1]]) + text
    return text.encode("ascii")


def reply(code: int, enhanced: str, text: str) -> Reply:
    return Reply(code, (text,), enhanced)


def of(status: Status) -> Reply:
    """A decision of another room as a reply; whatever is not printable ASCII becomes "?"."""
    text = _NOT_PRINTABLE.sub("?", status.text[:MAX_TEXT])
    return Reply(status.code, (text,), status.enhanced)


# --- greeting and ordinary answers
OK = reply(250, "2.0.0", "OK")
SENDER_OK = reply(250, "2.1.0", "Sender OK")
RECIPIENT_OK = reply(250, "2.1.5", "Recipient OK")
GOODBYE = reply(221, "2.0.0", "Goodbye")
START_MAIL = Reply(354, ("End data with <CR><LF>.<CR><LF>",))
CANNOT_VERIFY = reply(252, "2.0.0", "Cannot VRFY; send some mail and it will be tried")
HELP = Reply(214, ("HELO EHLO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY HELP", "See RFC 5321"), "2.0.0")
READY_FOR_TLS = reply(220, "2.0.0", "Ready to start TLS")

# --- syntax and order
BAD_SYNTAX = reply(500, "5.5.2", "Syntax error")
BAD_LINE = reply(500, "5.5.2", "Command lines end in CRLF and hold no control characters")
LINE_TOO_LONG = reply(500, "5.5.2", "Command line too long")
AUTH_LINE_TOO_LONG = reply(500, "5.5.6", "Authentication exchange line is too long")  # RFC 4954 4
UNKNOWN_COMMAND = reply(500, "5.5.1", "Command not recognized")
NOT_IMPLEMENTED = reply(502, "5.5.1", "Command not implemented")
FOREIGN_PROTOCOL = reply(500, "5.5.1", "This is a mail server")
BAD_HELO = Reply(501, ("A domain name or an address literal is needed",))
NOT_HERE = Reply(500, ("This door speaks LMTP",))
BAD_SENDER = reply(501, "5.1.7", "Bad sender address syntax")
BAD_RECIPIENT = reply(501, "5.1.3", "Bad recipient address syntax")
BAD_MAIL = reply(501, "5.5.4", "Syntax: MAIL FROM:<address> [parameters]")
BAD_RCPT = reply(501, "5.5.4", "Syntax: RCPT TO:<address> [parameters]")
BAD_PARAMETER = reply(501, "5.5.4", "Bad parameter value")
TOO_SOON = reply(555, "5.5.4", "The time limit is shorter than what was announced")  # RFC 2852 4
UNKNOWN_PARAMETER = reply(555, "5.5.4", "Parameter not recognized")  # RFC 5321 4.1.1.11
NO_ARGUMENTS = reply(501, "5.5.4", "This command takes no argument")
HELO_FIRST = reply(503, "5.5.1", "Send HELO or EHLO first")
MAIL_FIRST = reply(503, "5.5.1", "Send MAIL first")
CHUNKS_FIRST = reply(503, "5.5.1", "The message comes by BDAT; end it, or send RSET")
CHUNKS_ONLY = reply(503, "5.5.1", "BODY=BINARYMIME comes by BDAT only")
BAD_CHUNK = reply(501, "5.5.4", "Syntax: BDAT size [LAST]")
BAD_VRFY = reply(501, "5.5.4", "Syntax: VRFY address")
BAD_AUTH = reply(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]")
RCPT_FIRST = reply(503, "5.5.1", "Send RCPT first")
NESTED_MAIL = reply(503, "5.5.1", "A transaction is open already")
NO_RECIPIENTS = reply(554, "5.5.1", "No valid recipients")
PIPELINING = reply(554, "5.5.0", "Improper use of pipelining")
EARLY_TALKER = reply(554, "5.5.0", "Talked before the greeting")

# --- limits
TOO_MANY_RECIPIENTS = reply(452, "4.5.3", "Too many recipients")  # RFC 5321 4.5.3.1.10
ONE_PER_BOUNCE = reply(452, "4.5.3", "One recipient at a time for the null sender")
TOO_BIG = reply(552, "5.3.4", "Message is larger than this server accepts")
TOO_MANY_ERRORS = reply(421, "4.7.0", "Too many errors")
TOO_MANY_COMMANDS = reply(421, "4.7.0", "Too many commands without mail")
TOO_MANY_CONNECTIONS = reply(421, "4.7.0", "Too many connections from your network")
TOO_MANY_SESSIONS = reply(421, "4.7.0", "Too many connections of this account")
TOO_MANY_ATTEMPTS = reply(421, "4.7.0", "Too many connections in a short time")
BANNED = reply(421, "4.7.0", "Too many unknown recipients were asked for from your address, try again later")
BUSY = reply(421, "4.3.2", "Too many connections, try again later")
TIMEOUT = reply(421, "4.4.2", "Timeout")
TOO_SLOW = reply(421, "4.4.2", "Data arrives too slowly")
SHUTTING_DOWN = reply(421, "4.3.2", "Service is restarting")
OUT_OF_STEP = reply(421, "4.5.0", "What follows cannot be read; closing")

# --- internationalised mail (RFC 6531 3.5)
SENDER_NEEDS_UTF8 = reply(550, "5.6.7", "Internationalized address needs SMTPUTF8")
RECIPIENT_NEEDS_UTF8 = reply(553, "5.6.7", "Internationalized address needs SMTPUTF8")

# --- TLS and authentication (RFC 3207, RFC 4954, RFC 8689)
TLS_FIRST = reply(530, "5.7.0", "Must issue a STARTTLS command first")
TLS_ACTIVE = reply(503, "5.5.1", "TLS is active already")
TLS_IN_TRANSACTION = reply(503, "5.5.1", "Not inside a transaction")
REQUIRETLS_NEEDS_TLS = reply(530, "5.7.10", "REQUIRETLS needs TLS")
AUTH_FIRST = reply(530, "5.7.0", "Authentication required")
AUTH_NEEDS_TLS = reply(538, "5.7.11", "Encryption required for authentication")
AUTH_NOT_HERE = reply(502, "5.5.1", "No authentication on this port")
AUTH_AGAIN = reply(503, "5.5.1", "Already authenticated")
AUTH_IN_TRANSACTION = reply(503, "5.5.1", "Not inside a transaction")
AUTH_MECHANISM = reply(504, "5.5.4", "Authentication mechanism not supported")
AUTH_CANCELLED = reply(501, "5.7.0", "Authentication cancelled")
AUTH_MALFORMED = reply(501, "5.5.2", "Malformed authentication exchange")
AUTH_OK = reply(235, "2.7.0", "Authentication successful")
AUTH_REFUSED = reply(535, "5.7.8", "Authentication credentials invalid")
AUTH_UNAVAILABLE = reply(454, "4.7.0", "Temporary authentication failure")

# --- failures
INTERNAL = reply(451, "4.3.0", "Internal error, try again later")

# What the gate says to those it turns away.
TURNED_AWAY: dict[Refusal, Reply] = {
    Refusal.CONNECTIONS: TOO_MANY_CONNECTIONS,
    Refusal.RATE: TOO_MANY_ATTEMPTS,
    Refusal.BANNED: BANNED,
    Refusal.FULL: BUSY,
}


def chunk(size: int) -> Reply:
    """RFC 3030 2: each chunk has its own reply."""
    return reply(250, "2.0.0", f"{size} octets received")


def priority(assigned: int) -> Reply:
    """RFC 6710 4.1: another priority than was asked for."""
    return reply(250, "2.3.6", f"{assigned} is the new priority assigned to the message")


def challenge(encoded: str) -> Reply:
    """A SASL challenge; `encoded` is base64 (RFC 4954 4)."""
    return Reply(334, (encoded,))
