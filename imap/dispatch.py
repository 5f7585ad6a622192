"""From one complete command to its tagged answer: find the row, check the state, parse, run, translate, tell updates.

The only place where errors become NO, BAD or BYE. A bug is answered NO [SERVERBUG] and logged with its traceback.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from core.errors import MailError
from core.frozen import dataclass
from core.log import get
from imap import capability, responses, updates
from imap.command import Command, Waiting
from imap.errors import Bad, BadSyntax, Bye, Code, ImapError, No, translate
from imap.responses import Ok
from imap.session import Session
from imap.types import State
from imap.wire.scanner import Scanner

log = get(__name__)

TOGETHER = 16  # commands: as many as the store puts on the event loop at once (`store.light`)

Table = Mapping[str, Command[Any]]  # the arguments' type is between a row's parse and its handle


@dataclass(frozen=True, slots=True)
class Answer:
    """The tagged answer: `status` OK, NO or BAD; `bad` counts against the client."""

    status: str
    text: str
    code: str = ""

    @property
    def bad(self) -> bool:
        return self.status == "BAD"


async def run(session: Session, table: Table, data: bytes) -> Answer | None:
    """Run one command and send its answer; None: it comes with the next one's, which has come already (RFC 9051 5.5:
    in their order). Raises `Bye` and `ConnectionError`, nothing else."""
    scanner = Scanner(data, utf8=session.utf8)
    tag, command, answer = await _attempt(session, table, scanner)
    if isinstance(answer, Waiting):
        session.waiting.append((tag, answer, partial(_tell_spelling, session, command, scanner)))
        if answer.small and len(session.waiting) < TOGETHER and session.link.append_at_hand:
            return None
        *before, (tag, answer, _) = await _together(session)
    else:
        before = await _together(session) if session.waiting else []
    parting = await _tell(session, command) if command is not None and command.tells_updates else None
    for earlier, theirs, spelling in before:
        if theirs.status == "OK":
            spelling()
        session.writer.write(responses.tagged(earlier, theirs.status, session.words(theirs.text), theirs.code))
    if answer.status == "OK":
        _tell_spelling(session, command, scanner)
    session.writer.write(responses.tagged(tag, answer.status, session.words(answer.text), answer.code))
    await session.writer.drain()
    if parting is not None:
        raise parting
    follow, session.after_answer = session.after_answer, None
    if follow is not None and answer.status == "OK":
        await follow()
    return answer


def _tell_spelling(session: Session, command: Command[Any] | None, scanner: Scanner) -> None:
    """What the names it was given have become (RFC 9051 7.3.1, OLDNAME)."""
    if command is None or not session.utf8:
        return
    for attributes, (named, spelt) in zip(command.tells_spelling, scanner.names, strict=False):
        if spelt:
            session.writer.write(responses.listed("LIST", attributes, named, utf8=True, old_name=spelt))


async def _together(session: Session) -> list[tuple[str, Answer, Callable[[], None]]]:
    """Do what waits, and each one's answer under its tag, with what tells its names. Raises nothing of its own."""
    waiting, session.waiting = session.waiting, []
    session.tag = waiting[0][0]
    try:
        outcomes = await waiting[0][1].perform(session, [each.load for _, each, _ in waiting])
        answers = [_ok(outcome) if isinstance(outcome, Ok) else _refusal(outcome, session) for outcome in outcomes]
    except MailError as error:
        answers = [_refusal(error, session)] * len(waiting)
    except Exception:  # as below, for all of them
        log.exception("imap-command-failed", command="together")
        answers = [_bug()] * len(waiting)
    finally:
        await _closed([each for _, each, _ in waiting])
    return [(tag, answer, spelling) for (tag, _, spelling), answer in zip(waiting, answers, strict=True)]


async def _closed(waiting: Sequence[Waiting]) -> None:
    for each in waiting:
        await each.close()


async def forget(session: Session) -> None:
    """The connection ends: what waits was answered to nobody and is not done (promise P2)."""
    waiting, session.waiting = session.waiting, []
    await _closed([each for _, each, _ in waiting])


async def _attempt(
    session: Session, table: Table, scanner: Scanner
) -> tuple[str, Command[Any] | None, Answer | Waiting]:
    """The tag ("*" when there was none), the row (None: unknown) and what is to be answered, or to be done."""
    tag, command = "*", None
    try:
        tag = session.tag = scanner.tag()
        if not scanner.try_space():
            raise BadSyntax("command expected")
        session.keep_numbers = False
        command = _row(session, table, scanner)
        done = await _begun(session, command, scanner)
        return tag, command, done if isinstance(done, Waiting) else _ok(done)
    except (Bye, ConnectionError):
        raise
    except ImapError as error:
        return tag, command, Answer("BAD" if isinstance(error, Bad) else "NO", error.text, error.code)
    except MailError as error:
        return tag, command, _refusal(error, session, command.name if command else "")
    except Exception:  # a bug of ours must cost one command, not the session
        log.exception("imap-command-failed", command=command.name if command else "")
        return tag, command, _bug()


def _row(session: Session, table: Table, scanner: Scanner) -> Command[Any]:
    name = scanner.keyword()
    if name == "UID":
        scanner.space()
        name = f"UID {scanner.keyword()}"
    command = table.get(name)
    if command is None or (session.withheld and capability.refused(session, name)):
        raise Bad("unknown command")
    return command


def _begun(session: Session, command: Command[Any], scanner: Scanner) -> Awaitable[Ok | Waiting]:
    if session.state not in command.states:
        raise Bad(_wrong_state(session.state, command.states))
    if command.by_number and session.uid_only:
        raise Bad("message numbers are not used once UIDONLY is enabled", Code.UIDREQUIRED)  # RFC 9586 3
    arguments = command.parse(scanner)
    return command.handle(session, arguments)


def _wrong_state(state: State, wanted: frozenset[State]) -> str:
    """What the client has to do before (RFC 9051 3)."""
    if state is State.NOT_AUTHENTICATED:
        return "log in first"
    return "select a mailbox first" if State.SELECTED in wanted else "you are logged in already"


def _bug() -> Answer:
    return Answer("NO", "internal error", Code.SERVERBUG)


def _ok(done: Ok) -> Answer:
    return Answer("OK", done.text, done.code)


def _refusal(error: MailError, session: Session, command: str = "APPEND") -> Answer:
    no: No = translate(error)
    account = session.login.account.id if session.login else ""
    log.info("imap-refused", reason=error.code, account=account, command=command, fields=error.fields)
    return Answer("NO", no.text, no.code)


async def _tell(session: Session, command: Command[Any]) -> Bye | None:
    """Updates come before the tagged answer; a store that fails here changes nothing of what the command did, and a
    mailbox that is gone ends the session only after the answer: what was done must be known as done (promise P1)."""
    try:
        if session.tells or command.removes:
            await updates.tell(session, expunge=not (command.uses_sequence_numbers or session.keep_numbers))
        if session.annotations is not None:
            await session.annotations.tell(session)
    except MailError as error:
        log.warning("imap-updates-failed", reason=error.code)
    except Bye as bye:
        return bye
    except ConnectionError:
        raise
    except Exception:  # the answer itself is sent all the same
        log.exception("imap-updates-failed")
    return None
