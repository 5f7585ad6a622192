"""SORT and UID SORT (RFC 5256 3), with RETURN (RFC 5267 3), by display name (RFC 5957), by relevancy (RFC 6203 6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from imap.command import WHEN_SELECTED, Command
from imap.commands.search.fuzzy import Scores
from imap.commands.search.handle import answer, check_fuzzy, matching, saving
from imap.commands.search.parse import Program, program, read_charset
from imap.commands.search.returns import Returns, try_parse
from imap.commands.search.updating import check_update, keep_up
from imap.errors import Bad, BadSyntax
from imap.progress import working
from imap.responses import Ok
from imap.session import Session
from imap.wire.scanner import Scanner
from store.store import Mailbox
from store.types import SortCriterion, SortKey

KEYS = {key.value: key for key in SortKey}
MAX_CRITERIA = 20  # there are ten keys; a longer list repeats itself


@dataclass(frozen=True, slots=True)
class Relevancy:
    """RELEVANCY among the criteria: the highest score first, the lowest with `reverse`; `after` decides among equals
    (RFC 6203 6)."""

    reverse: bool
    after: tuple[SortCriterion, ...] = ()


@dataclass(frozen=True, slots=True)
class SortArgs:
    """`criteria`: those before RELEVANCY, or all."""

    criteria: tuple[SortCriterion, ...]
    relevancy: Relevancy | None
    program: Program
    returns: Returns | None
    by_uid: bool


def _parser(*, by_uid: bool) -> Callable[[Scanner], SortArgs]:
    def parse(scanner: Scanner) -> SortArgs:
        """sort = "SORT" [SP search-return-opts] SP "(" sort-key *(SP sort-key) ")" SP charset 1*(SP search-key)"""
        scanner.space()
        returns = try_parse(scanner)
        criteria = scanner.parenthesised(lambda: _criterion(scanner))
        if len(criteria) > MAX_CRITERIA:
            raise BadSyntax("too many sort keys")
        scanner.space()
        before, relevancy = _split(criteria)
        charset = read_charset(scanner)
        returns = returns or try_parse(scanner)  # behind the charset, as some write it (docs/quirks.md)
        return SortArgs(before, relevancy, program(scanner, charset), returns, by_uid)

    return parse


def _criterion(scanner: Scanner) -> SortCriterion | Relevancy:
    """sort-criterion = ["REVERSE" SP] sort-key"""
    name = scanner.keyword()
    reverse = name == "REVERSE"
    if reverse:
        scanner.space()
        name = scanner.keyword()
    if name == "RELEVANCY":
        return Relevancy(reverse)
    if name not in KEYS:
        raise BadSyntax("unknown sort key")
    return SortCriterion(KEYS[name], reverse)


def _split(criteria: Sequence[SortCriterion | Relevancy]) -> tuple[tuple[SortCriterion, ...], Relevancy | None]:
    """At the first RELEVANCY; a second one would decide nothing."""
    plain = [(place, each) for place, each in enumerate(criteria) if isinstance(each, SortCriterion)]
    first = next((place for place, each in enumerate(criteria) if isinstance(each, Relevancy)), None)
    if first is None:
        return tuple(each for _, each in plain), None
    found = criteria[first]
    assert isinstance(found, Relevancy)
    after = tuple(each for place, each in plain if place > first)
    return tuple(each for place, each in plain if place < first), replace(found, after=after)


async def _sort(session: Session, args: SortArgs) -> Ok:
    mailbox, mod_seq = session.selected.mailbox, args.program.mod_seq
    check_update(session, args.returns, "CONTEXT=SORT")
    check_fuzzy(session, args.returns, fuzzy=args.program.fuzzy)
    if args.relevancy and not args.program.fuzzy:
        raise Bad("RELEVANCY needs a FUZZY search key")  # RFC 6203 6

    async def order(uids: Sequence[int]) -> Sequence[int]:
        return await mailbox.sort(sorted(uids), args.criteria) if uids else ()

    with saving(session, args.returns):
        matched = await matching(session, args.program.key, mod_seq=mod_seq, by_uid=args.by_uid)
        with working(session):
            if args.relevancy is None:
                ordered = await order(matched.uids)
            else:
                ordered = await by_relevancy(mailbox, matched.uids, args.criteria, args.relevancy, matched.scores)
        await answer(session, "SORT", matched, ordered, args.returns, mod_seq=mod_seq, by_uid=args.by_uid)
        fuzzy = args.program.fuzzy
        keep_up(session, args.returns, matched.key, ordered, by_uid=args.by_uid, order=order, fuzzy=fuzzy)
    return Ok("SORT completed")


async def by_relevancy(
    mailbox: Mailbox,
    uids: Sequence[int],
    before: Sequence[SortCriterion],
    relevancy: Relevancy,
    scores: Scores,
) -> Sequence[int]:
    """Groups that `before` cannot tell apart, in each of them by score, then as `after` says."""
    if not uids:
        return ()
    rest = await mailbox.sort(uids, relevancy.after) if relevancy.after else uids
    sign = 1 if relevancy.reverse else -1
    ranked = {uid: rank for rank, uid in enumerate(sorted(rest, key=lambda uid: sign * scores.get(uid, 1)))}
    groups = await _groups(mailbox, uids, before) if before else [list(uids)]
    return tuple(uid for group in groups for uid in sorted(group, key=ranked.__getitem__))


async def _groups(mailbox: Mailbox, uids: Sequence[int], criteria: Sequence[SortCriterion]) -> list[list[int]]:
    """Messages that are equal under `criteria` stand together, and in mailbox order whichever way the criteria are
    turned (RFC 5256 3): where turning them does not change the order of two neighbours, these are equal."""
    forward = await mailbox.sort(uids, criteria)
    turned = [replace(each, reverse=not each.reverse) for each in criteria]
    place = {uid: at for at, uid in enumerate(await mailbox.sort(uids, turned))}
    groups: list[list[int]] = []
    for uid in forward:
        if groups and place[groups[-1][-1]] < place[uid]:
            groups[-1].append(uid)
        else:
            groups.append([uid])
    return groups


SORT = Command("SORT", WHEN_SELECTED, _parser(by_uid=False), _sort, by_number=True, uses_sequence_numbers=True)
UID_SORT = Command("UID SORT", WHEN_SELECTED, _parser(by_uid=True), _sort)
