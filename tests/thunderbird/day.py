"""A day with Thunderbird: `make thunderbird` (Debian packages thunderbird and xvfb; not part of `make test`).

Judged by what the server was asked and holds, and by what Thunderbird shows and keeps in its files.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from imap import dispatch
from message.content import BytesContent
from store.service import MaildirStore, initialise
from store.types import AccountRef, Placement
from tests.fakes.imap_world import _CA, PASSWORD, World
from tests.peers.process import wait_until
from tests.peers.thunderbird import Thunderbird, make_profile, thunderbird

T = TypeVar("T")
pytestmark = pytest.mark.timeout(600)

MESSAGES = 7
SET_UP = """
const [port, user, password, authority] = arguments;
Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).addCertFromBase64(authority, "CTu,,");
const made = MailServices.accounts.createIncomingServer(user, "127.0.0.1", "imap");
made.port = port;
made.socketType = Ci.nsMsgSocketType.SSL;
made.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
made.password = password;
const identity = MailServices.accounts.createIdentity();
identity.email = user;
const account = MailServices.accounts.createAccount();
account.addIdentity(identity);
account.incomingServer = made;
const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
login.init("imap://127.0.0.1", null, "imap://127.0.0.1", user, password, "", "");
Services.logins.addLoginAsync(login);
made.performExpand(null);
made.getNewMessages(made.rootFolder, null, null);
"""


class House:
    """The server, on a loop in a thread of its own, and every command it was given."""

    def __init__(self, data: Path) -> None:
        self.commands: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        initialise(data)
        self.store = MaildirStore(data)
        self.do(self.store.open())
        self.world = World(store=self.store)
        self.do(self.world.__aenter__())
        self.ref = AccountRef.of(self.world.alice)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def close(self) -> None:
        self.do(self.world.__aexit__())
        self.do(self.store.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def deliver(self, number: int) -> None:
        self.do(self._deliver(number))

    async def _deliver(self, number: int) -> None:
        raw = (
            f"From: maire@mairie.test\r\nTo: alice@mairie.test\r\nSubject: dossier {number}\r\n"
            f"Date: Sun, 29 Nov 2026 10:{number:02}:00 +0000\r\nMessage-ID: <{number}@mairie.test>\r\n\r\n"
            f"repere-{number}-fin {'texte ' * 200}\r\n"
        ).encode()
        async with await self.store.stage(b"", BytesContent(raw), first=self.ref) as staged:
            await staged.deliver(self.ref, Placement())

    def ask(self, *commands: bytes) -> list[bytes]:
        """By another client; the answer to the last."""

        async def work() -> list[bytes]:
            client = await self.world.login()
            answer: list[bytes] = []
            for command in commands:
                answer = await client.ok(command)
            await client.ok(b"LOGOUT")
            return answer

        return self.do(work())

    def rest(self) -> None:
        """Wait until Thunderbird has nothing to ask: what is removed while it fetches a message it overlooks until it
        looks at the folder again (docs/quirks.md)."""

        def resting() -> bool:
            before = len(self.commands)
            time.sleep(1)
            return len(self.commands) == before and self.commands[-1].upper().endswith("IDLE")

        eventually(resting, "IDLE")

    def bodies_fetched(self) -> int:
        """Commands that download whole messages."""
        return sum("BODY" in each and "[]" in each for each in self.commands)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    made = House(tmp_path / "data")
    run = dispatch.run

    async def recorded(session: Any, table: Any, data: bytes) -> Any:
        made.commands.append(data.decode("utf-8", "replace"))
        return await run(session, table, data)

    monkeypatch.setattr(dispatch, "run", recorded)
    try:
        yield made
    finally:
        made.close()


def authority() -> str:
    pem = _CA.cert_pem.bytes().decode()
    return "".join(line for line in pem.splitlines() if "-----" not in line)


def eventually(condition: Callable[[], object], what: str) -> None:
    wait_until(condition, timeout=60, what=what)


def test_a_day_with_thunderbird(house: House, tmp_path: Path) -> None:
    profile = tmp_path / "profile"
    make_profile(profile)
    for number in range(1, MESSAGES + 1):
        house.deliver(number)
    house.ask(b"CREATE Projets/2026", b"SUBSCRIBE Projets", b"SUBSCRIBE Projets/2026")
    with thunderbird(profile) as client:
        client.run(SET_UP, house.world.tls_port, "alice@mairie.test", PASSWORD, authority())
        it_shows_the_folders_and_their_uses(client)
        it_asks_for_its_users_language(house)
        it_downloads_everything(client, profile)
        it_hears_of_changes(client, house)
        what_is_read_here_is_read_there(client, house)
        what_is_deleted_goes_to_the_trash(client, house)
        a_folder_made_here_is_there_and_subscribed(client, house)
    the_second_start_downloads_nothing(house, profile)


def it_shows_the_folders_and_their_uses(client: Thunderbird) -> None:
    client.wait("return flagged('Inbox') && server.rootFolder.descendants.length >= 8", what="the folders to be listed")
    names = client.run("return server.rootFolder.descendants.map(online)")
    assert {"INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash", "Projets", "Projets/2026"} <= set(names)
    uses = {"Trash": "Trash", "Junk": "Junk", "SentMail": "Sent", "Drafts": "Drafts", "Archive": "Archive"}
    for flag, name in uses.items():
        client.wait("return online(flagged(arguments[0])) == arguments[1]", flag, name, what=f"{name} as {flag}")


def it_asks_for_its_users_language(house: House) -> None:
    """RFC 5255 3.2: a person is shown what a NO says."""
    assert any(re.fullmatch(r"\d+ LANGUAGE [\w-]+", command) for command in house.commands), house.commands


def it_downloads_everything(client: Thunderbird, profile: Path) -> None:
    client.run("flagged('Inbox').updateFolder(null)")
    client.wait(f"return flagged('Inbox').getTotalMessages(false) == {MESSAGES}", what="all messages to be listed")
    client.run(
        "flagged('Inbox').QueryInterface(Ci.nsIMsgImapMailFolder); flagged('Inbox').downloadAllForOffline(null, null)"
    )
    client.wait(
        "return messages(flagged('Inbox')).every(each => each.flags & Ci.nsMsgMessageFlags.Offline)",
        what="all messages to be downloaded",
    )
    kept = (profile / "ImapMail" / "127.0.0.1" / "INBOX").read_bytes()
    for number in range(1, MESSAGES + 1):
        assert b"repere-%d-fin" % number in kept
    subjects = client.run("return messages(flagged('Inbox')).map(each => each.mime2DecodedSubject)")
    assert sorted(subjects) == [f"dossier {number}" for number in range(1, MESSAGES + 1)]


def it_hears_of_changes(client: Thunderbird, house: House) -> None:
    eventually(lambda: any(each.upper().endswith("IDLE") for each in house.commands), "IDLE")
    house.ask(b"SELECT INBOX", b"UID STORE 2 +FLAGS (\\Flagged)")
    client.wait(
        "return messages(flagged('Inbox')).some(each => each.messageKey == 2 && each.isFlagged)",
        what="the star to come",
    )
    house.deliver(MESSAGES + 1)
    client.wait(
        f"return messages(flagged('Inbox')).some(each => each.mime2DecodedSubject == 'dossier {MESSAGES + 1}')",
        what="the new message to come",
    )
    house.rest()
    house.ask(b"SELECT INBOX", b"UID STORE 3 +FLAGS.SILENT (\\Deleted)", b"UID EXPUNGE 3")
    client.wait("return !messages(flagged('Inbox')).some(each => each.messageKey == 3)", what="a removal to come")


def what_is_read_here_is_read_there(client: Thunderbird, house: House) -> None:
    client.run(
        "flagged('Inbox').markMessagesRead(messages(flagged('Inbox')).filter(each => each.messageKey == 4), true)"
    )
    eventually(lambda: b"\\Seen" in house.ask(b"EXAMINE INBOX", b"UID FETCH 4 FLAGS")[0], "\\Seen to arrive")


def what_is_deleted_goes_to_the_trash(client: Thunderbird, house: House) -> None:
    client.run(
        "const inbox = flagged('Inbox');"
        "inbox.deleteMessages(messages(inbox).filter(each => each.messageKey == 5), null, false, true, null, true)"
    )
    eventually(lambda: b"MESSAGES 1" in house.ask(b"STATUS Trash (MESSAGES)")[0], "the message in the trash")
    assert house.ask(b"EXAMINE INBOX", b"UID SEARCH UID 5 UNDELETED")[0] == b"* SEARCH"
    assert b"repere-5-fin" in b"".join(house.ask(b"EXAMINE Trash", b"FETCH 1 BODY.PEEK[]"))


def a_folder_made_here_is_there_and_subscribed(client: Thunderbird, house: House) -> None:
    client.run("server.rootFolder.createSubfolder('Élections', null)")
    eventually(lambda: b"&AMk-lections" in b"".join(house.ask(b'LSUB "" *')), "the new folder, subscribed")


def the_second_start_downloads_nothing(house: House, profile: Path) -> None:
    with thunderbird(profile) as client:
        client.run("server.getNewMessages(flagged('Inbox'), null, null)")
        eventually(lambda: any("STATUS" in each or "SELECT" in each for each in house.commands[-50:]), "a second start")
        house.commands.clear()
        client.run("flagged('Inbox').updateFolder(null)")
        eventually(lambda: any(each.upper().endswith("IDLE") for each in house.commands), "IDLE again")
        assert house.bodies_fetched() == 0, house.commands
