"""What processes that were killed had said, held against what lies on the disk (the checker of security.md section 6).

What was acknowledged is there unless it was removed, whole and once; what was not may be there once; UIDs and
mod-sequences of what was seen before do not go back; the store verifies.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from store.service import MaildirStore
from store.types import AccountRef, Uid
from tests.torture import load
from tests.torture.judge import Found, look
from tests.torture.workload import MAIRIE, VOISIN


@dataclass(slots=True)
class Told:
    """What the processes said (`tests.torture.load`). Messages by name, `address:identity`; `started`: identities."""

    started: set[str] = field(default_factory=set)
    ok: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    back: set[str] = field(default_factory=set)
    swaps: list[tuple[str, str]] = field(default_factory=list)
    copies: Counter[str] = field(default_factory=Counter)
    dropped: set[str] = field(default_factory=set)
    uids: dict[tuple[str, str, int], str] = field(default_factory=dict)  # address, folder, UID > identity
    done: int = 0
    alone: bool = True  # no other process removes what this one is about to replace

    def hear(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._hear(line.split())

    def _hear(self, words: list[str]) -> None:
        match words:
            case ["done"]:
                self.done += 1
            case ["start", identity]:
                self.started.add(identity)
            case ["ok", name, folder, uid]:
                self.ok.add(name)
                address, _, identity = name.partition(":")
                self.uids[address, folder, int(uid)] = identity
            case ["gone", name]:
                self.gone.add(name)
            case ["back", name]:
                self.back.add(name)
            case ["swap", name, old]:
                self.swaps.append((name, old))
                self.gone.add(old)
            case ["copy", name]:
                self.copies[name] += 1
            case ["drop", folder]:
                self.dropped.add(folder)

    def with_more(self, lines: Iterable[str]) -> Told:
        told = copy.deepcopy(self)
        told.hear(lines)
        return told


Before = dict[AccountRef, Found]


async def examine(
    data: Path, told: Told, kills: int, before: Before, refs: Sequence[AccountRef] = (MAIRIE, VOISIN)
) -> tuple[list[str], Before]:
    """Violations, and what is there now. `before`: what an earlier look found."""
    store = MaildirStore(data)
    await store.open()
    violations: list[str] = []
    now: Before = {}
    try:
        for ref in refs:
            account = await store.account(ref)
            found = now[ref] = await look(account)
            places: dict[tuple[str, int], str] = {}
            for folder_id, uid in found.mail:
                file = await (await account.mailbox(found.folders[folder_id].name)).open(Uid(uid))
                data_read = await file.read(0, file.size + 1)
                file.close()
                identity = places[folder_id, uid] = load.identity_of(data_read)
                if data_read != load.mail(identity):
                    violations.append(f"{ref.address}: {identity} is not whole")
            violations += _account(ref, places, told, kills)
            violations += _backwards(ref, before[ref], found, told) if ref in before else []
        violations += await store.verify(None)
    finally:
        await store.close()
    return violations, now


def _account(ref: AccountRef, places: dict[tuple[str, int], str], told: Told, kills: int) -> list[str]:
    def mine(names: Iterable[str]) -> set[str]:
        return {name.partition(":")[2] for name in names if name.startswith(f"{ref.address}:")}

    counts = Counter(places.values())
    wanted = (mine(told.ok) - mine(told.gone)) | mine(told.back)
    lines = [f"{ref.address}: {identity} was acknowledged and is lost" for identity in wanted - counts.keys()]
    lines += [f"{ref.address}: {identity} was never handed over" for identity in counts.keys() - told.started]
    lines += [
        f"{ref.address}: UID {uid} was {told.uids[ref.address, folder, uid]} and is {identity}"
        for (folder, uid), identity in places.items()
        if told.uids.get((ref.address, folder, uid), identity) != identity
    ]
    doubled = sum(counts.values()) - len(counts)
    most = kills + sum(count for name, count in told.copies.items() if name.startswith(f"{ref.address}:"))
    if doubled > most:
        lines.append(f"{ref.address}: {doubled} duplicates after {kills} kills")
    for new, old in told.swaps if told.alone else ():
        if new.startswith(f"{ref.address}:") and new not in told.gone and not mine((new, old)) & counts.keys():
            lines.append(f"{new} did not take the place of {old}, which is gone")
    return lines


def _backwards(ref: AccountRef, before: Found, now: Found, told: Told) -> list[str]:
    """UIDs that mean another message, numbers that went back."""
    lines = []
    for key, mail in before.mail.items():
        if key in now.mail and now.mail[key].email_id != mail.email_id:
            lines.append(f"{ref.address}: UID {key[1]} means another message")
    for folder_id, folder in before.folders.items():
        later = now.folders.get(folder_id)
        if later is None or later.uidvalidity != folder.uidvalidity:
            if folder_id not in told.dropped:
                lines.append(f"{ref.address}: folder {folder.name} is lost or has another UIDVALIDITY")
        elif later.uidnext < folder.uidnext or later.highest_modseq < folder.highest_modseq:
            lines.append(f"{ref.address}: {folder.name} went back")
    return lines
