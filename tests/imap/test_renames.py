"""What the names of mailboxes became between two looks (RFC 5465 5.4), and that NOTIFY tells it."""

from __future__ import annotations

from pathlib import Path

from imap.namespaces import NAMESPACES
from imap.renames import name_changes
from store.types import Folder
from tests.fakes.imap_world import World
from tests.imap.test_real_store import deliver, real


def folders(*named: str, subscribed: str = "") -> dict[str, Folder]:
    """ "id=name" each."""
    pairs = [text.split("=") for text in named]
    return {key: Folder(key, name, 1, 1, 1, 0, 0, 0, 0, "", name == subscribed) for key, name in pairs}


def told(before: dict[str, Folder], now: dict[str, Folder]) -> list[tuple[str, str, str]]:
    return [(" ".join(each.attributes), each.folder.name, each.old) for each in name_changes(before, now)]


def test_what_is_made_and_gone_is_told_with_the_level_above() -> None:
    assert told(folders("1=a"), folders("1=a", "2=a/b")) == [
        ("\\HasNoChildren", "a/b", ""),
        ("\\HasChildren", "a", ""),
    ]
    assert told(folders("1=a", "2=a/b"), folders("1=a")) == [("\\NonExistent", "a/b", ""), ("\\HasNoChildren", "a", "")]
    assert told({}, folders("1=x/y")) == [("\\HasNoChildren", "x/y", ""), ("\\NonExistent \\HasChildren", "x", "")]
    assert told(folders("1=a", "2=a/b"), folders("2=a/b")) == [("\\NonExistent \\HasChildren", "a", "")]


def test_a_level_that_is_told_itself_is_not_told_twice() -> None:
    assert told({}, folders("1=a", "2=a/b", "3=a/c")) == [
        ("\\HasChildren", "a", ""),
        ("\\HasNoChildren", "a/b", ""),
        ("\\HasNoChildren", "a/c", ""),
    ]


def test_what_went_along_with_a_renamed_level_is_not_told() -> None:
    before = folders("1=a", "2=a/b", "3=a/c", "4=d")
    after = folders("1=x", "2=x/b", "3=y", "4=d")
    assert told(before, after) == [("\\HasChildren", "x", "a"), ("\\HasNoChildren", "y", "a/c")]


def test_a_subscription_that_comes_along_is_told() -> None:
    after = folders("1=b", subscribed="b")
    assert told(folders("1=a"), after) == [("\\Subscribed \\HasNoChildren", "b", "a")]


def test_a_renamed_inbox_is_known_by_its_messages() -> None:
    """RFC 5465 5.4: the new name with the old one, and nothing of INBOX, which is assumed to be created anew."""
    before = {"1": Folder("1", "INBOX", 1, 9, 1, 5, 0, 0, 0)}
    inbox = Folder("1", "INBOX", 1, 9, 2, 0, 0, 0, 0)
    moved = Folder("2", "Vieux", 1, 6, 2, 5, 0, 0, 0)
    assert told(before, {"1": inbox, "2": moved}) == [("\\Subscribed \\HasNoChildren", "Vieux", "INBOX")]
    came = moved._replace(uidnext=7, messages=6)  # one more came before, another after
    assert told(before, {"1": inbox._replace(uidnext=11, messages=1), "2": came})[0][2] == "INBOX"
    for other in (
        {"1": inbox._replace(messages=1), "2": moved._replace(uidnext=5, messages=4)},  # some stayed
        {"1": inbox, "2": moved._replace(messages=4)},  # one is missing
        {"1": inbox._replace(name="Dossier/INBOX"), "2": moved},
        {"1": inbox, "2": moved._replace(uidnext=1, messages=0)},
        {"1": inbox, "2": moved._replace(uidnext=7)},  # one of its own was there, and is gone
    ):
        assert told({"1": before["1"]._replace(name=other["1"].name)}, other)[0][1:] == ("Vieux", "")


def test_a_renamed_inbox_of_somebody_else_is_known_likewise_within_his_mailboxes() -> None:
    bob, lea = "Other Users/bob@mairie.test/", "Other Users/lea@mairie.test/"
    before = {"1": Folder("1", bob + "INBOX", 1, 9, 1, 5, 0, 0, 0)}
    inbox = before["1"]._replace(messages=0)
    moved = Folder("2", bob + "Vieux", 1, 6, 2, 5, 0, 0, 0)

    def became(new: str, old: str = bob + "INBOX") -> list[tuple[str, str]]:
        now = {"1": inbox._replace(name=old), "2": moved._replace(name=new)}
        was = {"1": before["1"]._replace(name=old)}
        return [(each.folder.name, each.old) for each in name_changes(was, now, NAMESPACES.home)]

    assert became(bob + "Vieux") == [(bob + "Vieux", bob + "INBOX")]
    for other in (became(lea + "Vieux"), became("Vieux"), became(bob + "Vieux", bob + "Projets/INBOX")):
        assert other[0][1] == ""


async def test_notify_tells_what_inbox_was_renamed_to(tmp_path: Path) -> None:
    async with real(tmp_path) as (world, store):
        one, two = await world.login(), await world.login()
        await deliver(store, world.services)
        await one.ok(b"NOTIFY SET (personal (MailboxName))")
        await two.ok(b"RENAME INBOX Vieux")
        assert (await one.line()).endswith(b'"/" Vieux ("OLDNAME" (INBOX))')
        await two.ok(b"CREATE next")
        assert (await one.line()).endswith(b'"/" next')


def test_what_stays_is_not_told() -> None:
    assert told(folders("1=a", "2=b"), folders("2=b", "1=a")) == []


async def test_notify_tells_names_as_they_are() -> None:
    async with World() as world:
        one, two = await world.login(), await world.login()
        await one.ok(b"NOTIFY SET (personal (MailboxName))")
        await two.ok(b"CREATE a")
        assert await one.line() == b'* LIST (\\HasNoChildren) "/" a'
        await two.ok(b"CREATE a/b")
        assert await one.line() == b'* LIST (\\HasNoChildren) "/" a/b'
        assert await one.line() == b'* LIST (\\HasChildren) "/" a'
        await two.ok(b"RENAME a c")
        assert await one.line() == b'* LIST (\\HasChildren) "/" c ("OLDNAME" (a))'
        await two.ok(b"DELETE c/b")
        assert await one.line() == b'* LIST (\\NonExistent) "/" c/b'
        assert await one.line() == b'* LIST (\\HasNoChildren) "/" c'


async def test_what_is_renamed_to_a_name_that_is_not_watched_leaves_the_old_name_to_nobody() -> None:
    """RFC 5465 5.4: whoever watches the old name alone would show it for ever."""
    async with World() as world:
        one, two = await world.login(), await world.login()
        for name in (b"a", b"a/b", b"a/b/c", b"d"):
            await two.ok(b"CREATE " + name)
        await one.ok(b"NOTIFY SET (subtree a (MailboxName))")
        await two.ok(b"RENAME a/b d/b")  # "a/b/c" goes along
        assert await one.line() == b'* LIST (\\NonExistent) "/" a/b'
        assert await one.line() == b'* LIST (\\NonExistent) "/" a/b/c'
        await two.ok(b"RENAME d/b a/x")
        assert await one.line() == b'* LIST (\\HasChildren) "/" a/x ("OLDNAME" (d/b))'
        await two.ok(b"RENAME a/x/c a/y")
        assert await one.line() == b'* LIST (\\HasNoChildren) "/" a/y ("OLDNAME" (a/x/c))'
        await one.ok(b"NOTIFY SET (mailboxes a/y (MailboxName))")
        await two.ok(b"RENAME a/y e")
        await two.ok(b"CREATE a/y")
        assert await one.line() == b'* LIST (\\NonExistent) "/" a/y'
        assert await one.line() == b'* LIST (\\HasNoChildren) "/" a/y'


async def test_a_notify_without_the_selected_mailbox_is_silent_about_its_messages_in_idle() -> None:
    """RFC 5465 3.1: that is SELECTED NONE; 4: IDLE tells exactly what was asked for."""
    async with World() as world:
        one, account = await world.login(), await world.account()
        await one.ok(b"SELECT INBOX")
        await one.ok(b"NOTIFY SET (personal (MessageNew MessageExpunge))")
        await one.raw(b"a IDLE\r\n")
        assert await one.line() == b"+ idling"
        account.deliver(b"Subject: x\r\n\r\n")
        account.deliver(b"Subject: y\r\n\r\n", "Archive")
        assert (await one.line()).startswith(b"* STATUS Archive ")
        await one.raw(b"DONE\r\n")
        assert await one.until(b"a") == [b"a OK IDLE terminated"]
