"""More programs that people read mail with: mutt, OfflineIMAP, imapclient; each does what its users do every day."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
from pathlib import Path

import imapclient
import pytest

from tests.interop.conftest import AUBIN, FLEURI, PASSWORD, World
from tests.interop.mail import SENT, body, imap, marked
from tests.peers.process import SIZED, program

pytestmark = pytest.mark.interop


def filled(world: World, user: str, count: int = 2) -> list[bytes]:
    """`count` messages in the inbox, byte for byte."""
    client = imap(world, user)
    sent = [marked(user, user).raw for _ in range(count)]
    for raw in sent:
        assert client.append("INBOX", None, None, raw)[0] == "OK"
    client.logout()
    return sent


def test_imapclient_uses_the_extensions_it_knows(world: World) -> None:
    user = f"urbanisme@{AUBIN}"
    sent = filled(world, user, 3)
    with imapclient.IMAPClient("127.0.0.1", world.ports["imaps"], ssl_context=world.suite.tls(), timeout=30) as client:
        client.login(user, PASSWORD)
        assert b"UIDPLUS" in client.capabilities()
        assert client.id_({"name": "imapclient"})
        assert client.find_special_folder(b"\\Sent") == "Envoyés"
        assert client.namespace().personal[0] == ("", "/")
        assert client.enable("CONDSTORE") == [b"CONDSTORE"]
        client.select_folder("INBOX")
        uids = client.search(["UNDELETED"])
        found = client.fetch(uids, ["BODY.PEEK[]", "FLAGS", "ENVELOPE", "BODYSTRUCTURE"])
        assert all(any(row[b"BODY[]"] == raw for row in found.values()) for raw in sent)
        assert client.sort("ARRIVAL") == uids
        assert client.thread(algorithm="REFERENCES")
        client.add_flags(uids[:1], [b"\\Flagged"])
        client.move(uids[:1], "Archives")
        client.create_folder("Délibérations/2026")
        assert any(name == "Délibérations/2026" for _, _, name in client.list_folders())
        assert client.folder_status("Archives", ["MESSAGES", "UNSEEN"])[b"MESSAGES"] >= 1
        client.multiappend("Archives", [{"msg": sent[0], "flags": [b"\\Seen"]}, {"msg": sent[1]}])
        client.idle()
        filled(world, user, 1)
        assert any(b"EXISTS" in response for response in client.idle_check(timeout=30))
        client.idle_done()


def test_mutt_opens_a_mailbox_and_moves_what_it_tagged(world: World, tmp_path: Path) -> None:
    user = f"compta@{FLEURI}"
    client = imap(world, user)
    client.create("ParMutt")
    client.logout()
    filled(world, user, 2)
    rc = tmp_path / "muttrc"
    port = world.ports["imaps"]
    rc.write_text(
        f'set folder="imaps://127.0.0.1:{port}/"\nset spoolfile="+INBOX"\nset imap_user="{user}"\nset imap_idle=yes\n'
        f'set imap_pass="{PASSWORD}"\nset certificate_file="{world.suite.data}/tls/certificate.pem"\n'
        "set ssl_verify_host=no\nset ssl_usesystemcerts=no\nset confirmappend=no\nset delete=yes\nset quit=yes\n"
        "set move=no\n"
        "set wait_key=no\nset ssl_verify_dates=no\n"
        'push "<tag-pattern>~A<enter><tag-prefix><save-message>=ParMutt<enter><sync-mailbox><quit>"\n'
    )
    done = subprocess.run(
        ["script", "-qec", f"{SIZED}{program('mutt', 'mutt')} -n -F {rc}", "/dev/null"],
        capture_output=True, timeout=60, env={"TERM": "vt100", "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    client = imap(world, user)
    assert int((client.select("ParMutt")[1][0] or b"0").decode()) >= 2, done.stdout[-2000:]
    client.logout()


def test_offlineimap_fetches_all_and_the_second_run_changes_nothing(world: World, tmp_path: Path) -> None:
    user = f"secretariat@{AUBIN}"
    sent = filled(world, user)
    config = tmp_path / "offlineimaprc"
    config.write_text(
        f"""[general]
accounts = beffroi
metadata = {tmp_path}/metadata
[Account beffroi]
localrepository = local
remoterepository = remote
[Repository local]
type = Maildir
localfolders = {tmp_path}/mail
[Repository remote]
type = IMAP
remotehost = 127.0.0.1
remoteport = {world.ports["imaps"]}
ssl = yes
cert_fingerprint = {fingerprint(world)}
remoteuser = {user}
remotepass = {PASSWORD}
"""
    )
    for _ in range(2):
        done = subprocess.run(
            [program("offlineimap", "offlineimap3"), "-c", str(config), "-o", "-1", "-u", "basic"],
            capture_output=True, text=True, timeout=120, env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    files = [path.read_bytes() for path in (tmp_path / "mail").rglob("*") if path.parent.name in ("cur", "new")]
    for raw in sent:
        assert any(body(raw).replace(b"\r\n", b"\n") in found for found in files)
    assert (tmp_path / "mail" / SENT).is_dir()
    assert "Copy message" not in done.stdout  # of the second run


def fingerprint(world: World) -> str:
    """What OfflineIMAP knows a server by: no security hangs on it here."""
    pem = (world.suite.data / "tls/certificate.pem").read_text()
    end = "-----END CERTIFICATE-----"
    certificate = ssl.PEM_cert_to_DER_cert(pem[: pem.index(end) + len(end)])
    return hashlib.sha1(certificate, usedforsecurity=False).hexdigest()
