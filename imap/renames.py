"""What became of the names of mailboxes between two looks: made, gone, renamed, and the levels above them (RFC 5465
5.4). Pure; who is told of it is `imap.notify`'s."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from imap.listing import parents
from store.types import DELIMITER, INBOX, Folder

Folders = Mapping[str, Folder]  # by id
Home = Callable[[str], str]  # what stands before all names of the account that a name belongs to; "" for one's own


@dataclass(frozen=True, slots=True)
class NameChange:
    """One LIST response. `old`: what it was called before."""

    folder: Folder
    attributes: tuple[str, ...]
    old: str = ""


def name_changes(before: Folders, now: Folders, home: Home = lambda name: "") -> Iterator[NameChange]:
    """Removals first, then what was made, the level above each, then what was renamed. A folder that only went along
    with the level above it is not told (RFC 5465 5.4)."""
    above = {up for folder in now.values() for up in parents(folder.name)}
    gone = [folder for each, folder in before.items() if each not in now]
    made = [folder for each, folder in now.items() if each not in before]
    for folder, inbox in _from_inbox(before, now, made, home):
        made.remove(folder)
        yield NameChange(folder, state(folder, above), inbox)
    for folder in gone:
        yield NameChange(folder, of_nothing(folder.name, above))
    for folder in made:
        yield NameChange(folder, state(folder, above))
    yield from _levels_above([*gone, *made], now, above)
    renamed = {before[each].name: folder.name for each, folder in now.items() if _other_name(before.get(each), folder)}
    for each, folder in now.items():
        old = before[each].name if each in before else folder.name
        if old != folder.name and not _went_along(old, folder.name, renamed):
            yield NameChange(folder, state(folder, above), old)


def _from_inbox(before: Folders, now: Folders, made: Sequence[Folder], home: Home) -> Iterator[tuple[Folder, str]]:
    """Somebody's INBOX renamed: its messages are in a new mailbox, it stays behind, and is not told (RFC 5465 5.4). Who
    compares knows it by its messages: those of before have all left, and none is missing in the two together."""
    for each, folder in now.items():
        was = before.get(each)
        if was is None or not was.messages or not folder.name.endswith(INBOX):
            continue
        prefix = home(folder.name)
        if folder.name != prefix + INBOX:
            continue
        arrived = folder.uidnext - was.uidnext
        moved = was.messages + arrived - folder.messages
        theirs = (new for new in made if home(new.name) == prefix)
        new = next((new for new in theirs if new.messages == new.uidnext - 1 == moved), None)
        if new is not None and folder.messages <= arrived:
            yield new, folder.name


def state(folder: Folder, above: Container[str]) -> tuple[str, ...]:
    """The attributes of a folder that is there; `above`: names with others below them."""
    children = "\\HasChildren" if folder.name in above else "\\HasNoChildren"
    return ("\\Subscribed", children) if folder.subscribed else (children,)


def of_nothing(name: str, above: Container[str]) -> tuple[str, ...]:
    """The attributes of a name that no mailbox has."""
    return ("\\NonExistent", "\\HasChildren") if name in above else ("\\NonExistent",)


def _levels_above(changed: list[Folder], now: Folders, above: Container[str]) -> Iterator[NameChange]:
    """The direct parent counts as changed, whether it is a mailbox or not."""
    told = {folder.name for folder in changed}
    there = {folder.name: folder for folder in now.values()}
    for folder in changed:
        name = folder.name.rpartition(DELIMITER)[0]
        if name and name not in told:
            told.add(name)
            if name in there:
                yield NameChange(there[name], state(there[name], above))
            else:
                level = folder._replace(id="", name=name, special_use="", subscribed=False)
                yield NameChange(level, of_nothing(name, above))


def _other_name(before: Folder | None, now: Folder) -> bool:
    return before is not None and before.name != now.name


def _went_along(old: str, new: str, renamed: Mapping[str, str]) -> bool:
    return any(up in renamed and new == renamed[up] + old[len(up) :] for up in parents(old))
