"""Clients people really use: swaks sends, curl, imaplib, aioimaplib and mbsync read."""

from __future__ import annotations

import asyncio
import smtplib
import subprocess
from pathlib import Path

import aioimaplib
import pytest

from tests.interop.conftest import AUBIN, FLEURI, PARTNER, PASSWORD, World
from tests.interop.mail import JUNK, SENT, await_mark, body, imap, marked
from tests.peers.process import program, wait_until

pytestmark = pytest.mark.interop


def swaks(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program("swaks", "swaks"), "--server", "127.0.0.1", "--timeout", "30", *arguments],
        capture_output=True, text=True,
    )  # fmt: skip


def test_swaks_delivers_over_starttls_to_the_mx(world: World) -> None:
    message = marked(f"alice@{PARTNER}", f"maire@{AUBIN}")
    done = swaks(
        world, "--port", str(world.ports["mx"]), "--tls", "--from", f"alice@{PARTNER}", "--to", f"maire@{AUBIN}",
        "--helo", "mx.partner.test", "--data", message.raw.decode().replace("\r\n", "\n"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    await_mark(world, f"maire@{AUBIN}", message.mark)


@pytest.mark.parametrize(("door", "tls"), [("submission", "--tls"), ("submissions", "--tls-on-connect")])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks_submits_with_tls_and_auth(world: World, door: str, tls: str, mechanism: str) -> None:
    message = marked(f"compta@{FLEURI}", f"mairie@{FLEURI}")
    done = swaks(
        world, "--port", str(world.ports[door]), tls, "--auth", mechanism, "--auth-user", f"compta@{FLEURI}",
        "--auth-password", PASSWORD, "--from", f"compta@{FLEURI}", "--to", f"mairie@{FLEURI}",
        "--data", message.raw.decode().replace("\r\n", "\n"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    await_mark(world, f"mairie@{FLEURI}", message.mark)


def test_swaks_is_refused_with_a_wrong_password_and_without_tls(world: World) -> None:
    arguments = ("--port", str(world.ports["submission"]), "--from", f"compta@{FLEURI}", "--to", f"mairie@{FLEURI}")
    wrong = swaks(
        world, *arguments, "--tls", "--auth", "PLAIN", "--auth-user", f"compta@{FLEURI}", "--auth-password", "x"
    )
    assert wrong.returncode == 28, wrong.stdout  # authentication failed
    assert "535 5.7.8" in wrong.stdout
    clear = swaks(world, *arguments, "--auth", "PLAIN", "--auth-user", f"compta@{FLEURI}", "--auth-password", PASSWORD)
    assert clear.returncode != 0
    assert PASSWORD not in world.suite.log()


def curl(world: World, user: str, path: str, *arguments: str) -> bytes:
    done = subprocess.run(
        [
            program("curl", "curl"), "--silent", "--show-error", "--max-time", "30",
            "--cacert", str(world.suite.data / "tls/certificate.pem"),
            "--resolve", f"mx.dept.test:{world.ports['imaps']}:127.0.0.1",
            "--user", f"{user}:{PASSWORD}", f"imaps://mx.dept.test:{world.ports['imaps']}/{path}", *arguments,
        ],
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl_lists_folders_and_reads_a_message(world: World) -> None:
    user = f"urbanisme@{AUBIN}"
    message = marked(user, user)
    client = imap(world, user)
    client.append("INBOX", r"(\Seen)", None, message.raw)
    uid = client.uid("SEARCH", "ALL")[1] if client.select("INBOX")[0] == "OK" else None
    assert uid
    last = uid[0].split()[-1].decode()
    client.logout()
    listing = curl(world, user, "")
    for folder in (b"INBOX", b"Brouillons", SENT.encode(), JUNK.encode(), b"Corbeille", b"Archives"):
        assert folder in listing
    assert curl(world, user, f"INBOX;UID={last}") == message.raw


async def test_aioimaplib_reads_and_idles(world: World) -> None:
    user = f"maire@{AUBIN}"
    first, second = marked(user, user), marked(f"alice@{PARTNER}", user)
    client = aioimaplib.IMAP4_SSL("127.0.0.1", world.ports["imaps"], timeout=30, ssl_context=world.suite.tls())
    await client.wait_hello_from_server()
    assert (await client.login(user, PASSWORD)).result == "OK"
    assert (await client.append(first.raw, "INBOX")).result == "OK"
    assert (await client.select("INBOX")).result == "OK"
    idle = await client.idle_start(timeout=60)
    await asyncio.to_thread(deliver_to_mx, world, f"alice@{PARTNER}", user, second.raw)
    pushed = await client.wait_server_push(timeout=30)
    assert any(line.endswith(b"EXISTS") for line in pushed), pushed
    client.idle_done()
    await asyncio.wait_for(idle, 30)
    answer = await client.uid("fetch", "1:*", "(FLAGS BODY.PEEK[])")
    assert answer.result == "OK"
    text = b"".join(bytes(line) for line in answer.lines if isinstance(line, bytes | bytearray))
    assert first.raw in text
    assert body(second.raw) in text
    await client.logout()


def deliver_to_mx(world: World, sender: str, recipient: str, raw: bytes) -> None:
    with smtplib.SMTP("127.0.0.1", world.ports["mx"], local_hostname="mx.partner.test", timeout=30) as client:
        client.sendmail(sender, [recipient], raw, mail_options=["BODY=8BITMIME"])


SIZE = 20_000


def mbsyncrc(world: World, folder: Path, user: str) -> str:
    return f"""
IMAPAccount {user}
Host 127.0.0.1
Port {world.ports["imaps"]}
User {user}
PassCmd "echo '{PASSWORD}'"
AuthMechs PLAIN
SSLType IMAPS
CertificateFile {world.suite.data}/tls/certificate.pem

IMAPStore {user}-remote
Account {user}

MaildirStore {user}-local
Path {folder}/{user}/
Inbox {folder}/{user}/INBOX
SubFolders Verbatim

Channel {user}
Far :{user}-remote:
Near :{user}-local:
Patterns *
Create Near
SyncState *
"""


def mbsync(config: Path) -> str:
    done = subprocess.run(
        [program("mbsync", "isync"), "-V", "-c", str(config), "-a"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_mbsync_fetches_two_mailboxes_and_the_second_run_transfers_nothing(world: World, tmp_path: Path) -> None:
    users = [f"secretariat@{AUBIN}", f"mairie@{FLEURI}"]
    sent = {}
    for user in users:
        client = imap(world, user)
        sent[user] = [marked(user, user, size=SIZE) for _ in range(3)]
        for message in sent[user]:
            client.append("INBOX", None, None, message.raw)
        client.logout()
    config = tmp_path / "mbsyncrc"
    config.write_text("".join(mbsyncrc(world, tmp_path, user) for user in users))
    for user in users:
        (tmp_path / user).mkdir()
    mbsync(config)
    for user in users:
        local = [p.read_bytes() for p in (tmp_path / user).rglob("*") if p.parent.name in ("cur", "new")]
        for message in sent[user]:
            assert any(body(message.raw).replace(b"\r\n", b"\n") in raw for raw in local)
    before = snapshot(tmp_path)
    told = len(world.suite.events("imap-session-ended"))
    mbsync(config)
    assert snapshot(tmp_path) == before
    wait_until(lambda: len(world.suite.events("imap-session-ended")) == told + 2, what="both sessions to end")
    # Six folders' SELECT answers and flags, but no message: each of them alone is larger than a session's answers.
    assert all(int(str(event["sent"])) < SIZE for event in world.suite.events("imap-session-ended")[told:])


def snapshot(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Every local message with its time and bytes."""
    files = [path for path in folder.rglob("*") if path.parent.name in ("cur", "new")]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}
