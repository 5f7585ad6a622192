"""SORT and UID SORT (RFC 5256 3), with RETURN (RFC 5267 3) and by display name (RFC 5957)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from imap.command import WHEN_SELECTED, Command
from imap.commands.search.criteria import Key
from imap.commands.search.handle import answer, matching, saving
from imap.commands.search.parse import program, read_charset
from imap.commands.search.returns import Returns, try_parse
from imap.commands.search.updating import check_update, keep_up
from imap.errors import BadSyntax
from imap.progress import working
from imap.responses import Ok
from imap.session import Session
from imap.wire.scanner import Scanner
from store.types import SortCriterion, SortKey

KEYS = {key.value: key for key in SortKey}
MAX_CRITERIA = 20  # there are nine keys; a longer list repeats itself


@dataclass(frozen=True, slots=True)
class SortArgs:
    criteria: tuple[SortCriterion, ...]
    key: Key
    mod_seq: bool
    returns: Returns | None
    by_uid: bool


def _parser(*, by_uid: bool) -> Callable[[Scanner], SortArgs]:
    def parse(scanner: Scanner) -> SortArgs:
        """sort = "SORT" [SP search-return-opts] SP "(" sort-key *(SP sort-key) ")" SP charset 1*(SP search-key)"""
        scanner.space()
        returns = try_parse(scanner)
        criteria = tuple(scanner.parenthesised(lambda: _criterion(scanner)))
        if len(criteria) > MAX_CRITERIA:
            raise BadSyntax("too many sort keys")
        scanner.space()
        key, mod_seq = program(scanner, read_charset(scanner))
        return SortArgs(criteria, key, mod_seq, returns, by_uid)

    return parse


def _criterion(scanner: Scanner) -> SortCriterion:
    """sort-criterion = ["REVERSE" SP] sort-key"""
    name = scanner.keyword()
    reverse = name == "REVERSE"
    if reverse:
        scanner.space()
        name = scanner.keyword()
    if name not in KEYS:
        raise BadSyntax("unknown sort key")
    return SortCriterion(KEYS[name], reverse)


async def _sort(session: Session, args: SortArgs) -> Ok:
    mailbox = session.selected.mailbox

    async def order(uids: Sequence[int]) -> Sequence[int]:
        return await mailbox.sort(sorted(uids), args.criteria) if uids else ()

    check_update(session, args.returns, "CONTEXT=SORT")
    with saving(session, args.returns):
        matched = await matching(session, args.key, mod_seq=args.mod_seq, by_uid=args.by_uid)
        with working(session):
            ordered = await order(matched.uids)
        await answer(session, "SORT", ordered, args.returns, mod_seq=args.mod_seq, by_uid=args.by_uid)
        keep_up(session, args.returns, matched.key, ordered, by_uid=args.by_uid, order=order)
    return Ok("SORT completed")


SORT = Command("SORT", WHEN_SELECTED, _parser(by_uid=False), _sort, by_number=True, uses_sequence_numbers=True)
UID_SORT = Command("UID SORT", WHEN_SELECTED, _parser(by_uid=True), _sort)
