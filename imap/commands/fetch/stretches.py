"""FLAGS alone, with the UID or without, of stretches of a mailbox: what a mail program asks of all messages whenever it
opens a mailbox. The store gives an octet a message; a line is a form, made once for all that have the same flags, with
numbers put in. A whole mailbox takes a fifth of the time that it takes message by message.
"""

from __future__ import annotations

from collections.abc import Sequence

from imap.commands.fetch.items import FLAGS, UID
from imap.commands.fetch.plan import Plan
from imap.responses import flag_list, recent_flag_list
from imap.types import Ranges
from store.types import Flag, Stretch

MOST = 4096  # messages between two turns of the loop: some 2 ms
LEAST = 32  # fewer are as quick message by message
_TOGETHER = 1024  # lines written at once, some 30 KB


def fits(plan: Plan) -> bool:
    return FLAGS in plan.attributes and not plan.bodies and all(each in (FLAGS, UID) for each in plan.attributes)


class FlagLines:
    """Lines for the messages of one plan that `fits`."""

    def __init__(self, plan: Plan, *, uid_only: bool, recent: Ranges) -> None:
        """`uid_only`, `recent`: as for `lines.Lines`."""
        self._names = [each.name for each in plan.attributes]
        self._word = b"* %d UIDFETCH (" if uid_only else b"* %d FETCH ("
        self._uid_only, self._with_uid = uid_only, UID in plan.attributes
        self._recent = recent
        self._forms: dict[tuple[int, tuple[str, ...], bool], bytes] = {}

    def of(self, first: int, uids: Sequence[int], found: Stretch) -> list[bytes] | None:
        """A line for each message of a stretch, many in a piece: `uids`, numbered from `first` on. None where they
        differ in more than what `Stretch` tells of each."""
        recent = self._all_recent(uids[0], uids[-1])
        if found.keywords is None or recent is None:
            return None
        numbers: Sequence[int] = uids if self._uid_only else range(first, first + len(uids))
        forms = {flags: self._form(flags, found.keywords, recent) for flags in set(found.flags)}
        return [
            self._piece(
                forms, found.flags[at : at + _TOGETHER], numbers[at : at + _TOGETHER], uids[at : at + _TOGETHER]
            )
            for at in range(0, len(uids), _TOGETHER)
        ]

    def _piece(self, forms: dict[int, bytes], flags: bytes, numbers: Sequence[int], uids: Sequence[int]) -> bytes:
        form = b"".join([forms[each] for each in flags]) if len(forms) > 1 else forms[flags[0]] * len(flags)
        if not self._with_uid:
            return form % tuple(numbers)
        values = [0] * (2 * len(flags))
        values[::2], values[1::2] = numbers, uids
        return form % tuple(values)

    def _all_recent(self, low: int, high: int) -> bool | None:
        """Whether all of them have \\Recent (RFC 3501 2.3.2), or none; None: some have."""
        touching = [pair for pair in self._recent if pair[0] <= high and low <= pair[1]]
        if not touching:
            return False
        return True if touching[0][0] <= low and high <= touching[0][1] else None

    def _form(self, flags: int, keywords: tuple[str, ...], recent: bool) -> bytes:
        """A line with places for the number and, where it is asked for, the UID."""
        known = self._forms.get((flags, keywords, recent))
        if known is None:
            listed = (recent_flag_list if recent else flag_list)(Flag(flags), keywords).replace(b"%", b"%%")
            values = [b"%b %b" % (name, b"%d" if name == UID.name else listed) for name in self._names]
            known = self._forms[flags, keywords, recent] = self._word + b" ".join(values) + b")\r\n"
        return known
