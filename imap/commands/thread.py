"""THREAD and UID THREAD (RFC 5256 3): messages as a forest, written without recursion however deep an answer goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from imap.command import WHEN_SELECTED, Command
from imap.commands.search.handle import check_fuzzy, matching
from imap.commands.search.parse import Program, program, read_charset
from imap.commands.share import check_asked
from imap.errors import BadSyntax
from imap.progress import working
from imap.responses import Ok
from imap.session import Session
from imap.wire.scanner import Scanner
from store.types import ThreadAlgorithm, ThreadNode

ALGORITHMS = {algorithm.value: algorithm for algorithm in ThreadAlgorithm}
TOGETHER = 1000  # threads written between two turns of the loop

Number = Callable[[int], int | None]


@dataclass(frozen=True, slots=True)
class ThreadArgs:
    algorithm: ThreadAlgorithm
    program: Program
    by_uid: bool


def _parser(*, by_uid: bool) -> Callable[[Scanner], ThreadArgs]:
    def parse(scanner: Scanner) -> ThreadArgs:
        """thread = "THREAD" SP thread-alg SP charset 1*(SP search-key)"""
        scanner.space()
        name = scanner.keyword()
        if name not in ALGORITHMS:
            raise BadSyntax("unknown threading algorithm")
        scanner.space()
        return ThreadArgs(ALGORITHMS[name], program(scanner, read_charset(scanner)), by_uid)

    return parse


async def _thread(session: Session, args: ThreadArgs) -> Ok:
    check_fuzzy(session, None, fuzzy=args.program.fuzzy)
    check_asked(session, session.selected.view.exists)  # RFC 9738 3.3
    uids = (await matching(session, args.program.key, mod_seq=args.program.mod_seq, by_uid=args.by_uid)).uids
    with working(session):
        roots = await session.selected.mailbox.threads(uids, args.algorithm) if uids else ()
    number: Number = (lambda uid: uid) if args.by_uid else session.selected.view.number_of
    session.writer.write(b"* THREAD")
    separator = b" "
    for start in range(0, len(roots), TOGETHER):
        session.writer.write(separator + b"".join(written(root, number) for root in roots[start : start + TOGETHER]))
        separator = b""
        await session.writer.drain()
        await asyncio.sleep(0)
    session.writer.write(b"\r\n")
    return Ok("THREAD completed")


def written(root: ThreadNode, number: Number) -> bytes:
    """thread-list: "(3 6 (4 23)(44 7 96))"; under a parent that is missing, "((3)(5))" (RFC 5256 4, thread-nested)."""
    out: list[str] = []
    stack: list[ThreadNode | str] = [")", root, "("]
    while stack:
        item = stack.pop()
        if isinstance(item, ThreadNode):
            stack += _below(item.children)
            told = number(item.uid) if item.uid else None
            item = "" if told is None else str(told)
        if item:
            # a blank stands between a message and what is under it, nowhere else
            out.append(f" {item}" if item != ")" and out and out[-1][-1].isdigit() else item)
    return "".join(out).encode("ascii")


def _below(children: Sequence[ThreadNode]) -> list[ThreadNode | str]:
    """What follows a message, for a stack: an only child on the same level, several each in parentheses."""
    if len(children) == 1:
        return [children[0]]
    items: list[ThreadNode | str] = []
    for child in reversed(children):
        items += (")", child, "(")
    return items


THREAD = Command("THREAD", WHEN_SELECTED, _parser(by_uid=False), _thread, by_number=True, uses_sequence_numbers=True)
UID_THREAD = Command("UID THREAD", WHEN_SELECTED, _parser(by_uid=True), _thread)
