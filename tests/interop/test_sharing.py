"""A shared mailbox and an app password as a commune uses them: set up over REST, seen by imaplib and swaks."""

from __future__ import annotations

import contextlib
import imaplib
from collections.abc import Iterator, Sequence

import pytest

from tests.interop.conftest import AUBIN, FLEURI, World
from tests.interop.mail import await_mark, imap, marked
from tests.interop.test_clients import swaks
from tests.peers.process import wait_until
from tests.peers.suite import ApiError

pytestmark = pytest.mark.interop

BOX = f"Shared/urbanisme@{AUBIN}/INBOX"


@contextlib.contextmanager
def hung_up(client: imaplib.IMAP4) -> Iterator[None]:
    """`close` is a command of IMAP; this only ends the connection."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            client.shutdown()


def done(answer: tuple[str, Sequence[object]]) -> bytes:
    status, data = answer
    assert status == "OK", answer
    return b"\n".join(item if isinstance(item, bytes) else repr(item).encode() for item in data)


def test_a_function_mailbox_is_shared_by_one_call(world: World) -> None:
    """Two colleagues on two connections, which the two front processes share out between them."""
    api = world.suite.api
    owner, maire = f"urbanisme@{AUBIN}", f"maire@{AUBIN}"
    api("PATCH", f"/mailboxes/{owner}", {"shared": True})
    api("PUT", f"/mailboxes/{owner}/shares/{maire}", {"rights": "write", "send_as": True})
    with pytest.raises(ApiError) as refused:
        api("PUT", f"/mailboxes/{owner}/shares/compta@{FLEURI}", {"rights": "read"})
    assert refused.value.status == 422
    client, holder = imap(world, maire), imap(world, owner)
    with hung_up(client), hung_up(holder):
        assert b'"Shared/"' in done(client.namespace())
        assert BOX.encode() in done(client.list('"Shared/"', "*"))
        assert b"lrswipkxtecd" in done(client.myrights(BOX))
        done(client.select(BOX))
        message = marked(f"alice@{FLEURI}", owner)
        done(holder.append("INBOX", "", "", message.raw))
        wait_until(
            lambda: b"EXISTS" in repr(client.noop()).encode() or client.response("EXISTS")[1] != [None], timeout=20
        )
        assert message.mark.encode() in done(client.fetch("*", "(BODY.PEEK[])"))
        done(client.store("*", "+FLAGS", "(\\Seen)"))
        done(holder.select("INBOX"))
        wait_until(lambda: b"\\Seen" in done(holder.fetch("*", "(FLAGS)")), timeout=20)
        done(holder.setacl("INBOX", maire, "l"))
        wait_until(lambda: lost(client), timeout=20)
        other = imap(world, f"compta@{FLEURI}")
        with hung_up(other):
            assert b"Shared/" not in done(other.list('""', "*"))
            assert other.select(BOX)[0] == "NO"


def test_who_was_let_sets_the_quota_of_a_shared_mailbox(world: World) -> None:
    """RFC 9208 4.1.3, by imaplib."""
    api = world.suite.api
    owner, maire = f"elections@{AUBIN}", f"maire@{AUBIN}"
    api("POST", "/mailboxes", {"address": owner, "shared": True})
    path = f"/mailboxes/{owner}/shares/{maire}"
    api("PUT", path, {"rights": "manage", "set_quota": True})
    client = imap(world, maire)
    with hung_up(client):
        assert b"QUOTASET" in done(client.capability())
        assert owner.encode() in done(client.getquotaroot(f"Shared/{owner}/INBOX"))
        assert b"STORAGE 0 2048" in done(client.setquota(owner, "(STORAGE 2048)"))
        kept = api("GET", f"/mailboxes/{owner}")
        assert isinstance(kept, dict)
        assert kept["quota"] == 2048 * 1024
        api("PUT", path, {"rights": "manage"})
        wait_until(lambda: client.setquota(owner, "(STORAGE 4096)")[0] == "NO", timeout=20)


def lost(client: imaplib.IMAP4) -> bool:
    """The right to read is gone, and the session with it."""
    try:
        client.noop()
    except (imaplib.IMAP4.abort, OSError):
        return True
    return False


def test_a_copier_sends_with_its_own_password_and_reads_nothing(world: World) -> None:
    owner = f"secretariat@{AUBIN}"
    made = world.suite.api("POST", f"/mailboxes/{owner}/app-passwords", {"label": "Copieur", "scope": "send-only"})
    assert isinstance(made, dict)
    message = marked(owner, f"mairie@{FLEURI}")
    sent = swaks(
        world, "--port", str(world.ports["submission"]), "--tls", "--auth", "LOGIN", "--auth-user", owner,
        "--auth-password", str(made["password"]), "--from", owner, "--to", f"mairie@{FLEURI}",
        "--data", message.raw.decode().replace("\r\n", "\n"),
    )  # fmt: skip
    assert sent.returncode == 0, sent.stdout
    await_mark(world, f"mairie@{FLEURI}", message.mark)
    client = imaplib.IMAP4_SSL("127.0.0.1", world.ports["imaps"], ssl_context=world.suite.tls(), timeout=30)
    with hung_up(client), pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        client.login(owner, str(made["password"]))
    assert str(made["password"]) not in world.suite.log()
