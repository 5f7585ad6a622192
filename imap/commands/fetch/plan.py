"""What a FETCH will cost, decided before the first row is read: columns, message bytes, \\Seen. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from imap.commands.fetch.binary import Decoded
from imap.commands.fetch.items import MOD_SEQ, OF_REV1, UID, Attribute, Body, Item, Octets
from imap.commands.fetch.section import Text
from store.types import Column


@dataclass(frozen=True, slots=True)
class Plan:
    """`marks_seen`: unseen messages get \\Seen before they are answered, and FLAGS rides in their answers."""

    attributes: tuple[Attribute, ...]
    bodies: tuple[Octets, ...]
    columns: Column
    opens_file: bool
    marks_seen: bool


def plan(
    items: tuple[Item, ...], *, by_uid: bool, read_only: bool, with_modseq: bool = False, rev2: bool = False
) -> Plan:
    """RFC 9051 6.4.9: answers to UID FETCH carry the UID. 6.3.3: EXAMINE never sets \\Seen. `with_modseq`: answers
    to CHANGEDSINCE carry the mod-sequence (RFC 7162 3.1.4.1)."""
    attributes = tuple(item if rev2 else OF_REV1.get(item, item) for item in items if isinstance(item, Attribute))
    if with_modseq and MOD_SEQ not in attributes:
        attributes = (*attributes, MOD_SEQ)
    bodies = tuple(item for item in items if isinstance(item, Body | Decoded))
    if by_uid and UID not in attributes:
        attributes = (UID, *attributes)
    columns = Column.NONE
    for attribute in attributes:
        columns |= attribute.columns
    for body in bodies:
        columns |= _columns(body)
    return Plan(
        attributes,
        bodies,
        columns,
        opens_file=any(isinstance(body, Decoded) or body.size_only or not body.section.in_index for body in bodies),
        marks_seen=not read_only and any(not body.peek for body in bodies),
    )


def _columns(body: Octets) -> Column:
    if isinstance(body, Decoded):
        return Column.PARTS
    if body.section.in_index:
        return Column.HEADERS
    whole = not body.section.path and body.section.text is Text.WHOLE
    return Column.NONE if whole else Column.PARTS
