"""Who sends no password logs in from outside, at the suite's own doors: access tokens and client certificates by curl,
SCRAM by mutt (whose SASL is the GNU library's: curl has none in Debian)."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import trustme

from tests.interop.mail import Marked, marked
from tests.peers.process import SIZED, program, wait_until
from tests.peers.suite import HOSTNAME, Settings, Suite, suite
from tests.peers.threads import serving

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

DOMAIN = "saint-aubin.test"
USER = f"maire@{DOMAIN}"
PASSWORD = "le beffroi sonne a midi"
TOKEN = "un-jeton-de-la-connexion-unique"
DENIED = 67  # curl(1): the user name, password, or similar was not accepted
AUTH = """[auth]
introspection = "http://127.0.0.1:{port}/introspect"
client_ca = "{authority}"
scram = true
"""


class Introspect(BaseHTTPRequestHandler):
    """The identity provider, asked by RFC 7662."""

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        known = form.get("token") == [TOKEN]
        body = json.dumps({"active": True, "email": USER} if known else {"active": False}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Doors:
    suite: Suite
    base: Path

    def curl(self, door: str, path: str, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        scheme = {"submission": "smtp", "submissions": "smtps", "imap": "imap", "imaps": "imaps"}[door]
        port = self.suite.ports[door]
        return subprocess.run(
            [
                program("curl", "curl"), "--silent", "--show-error", "--max-time", "30", "--ssl-reqd",
                "--cacert", str(self.suite.data / "tls/certificate.pem"),
                "--resolve", f"{HOSTNAME}:{port}:127.0.0.1", "--user", f"{USER}:", *arguments,
                "--url", f"{scheme}://{HOSTNAME}:{port}/{path}",
            ],
            input=stdin, capture_output=True, timeout=60, check=False,
        )  # fmt: skip

    def submits(self, door: str, message: Marked, *login: str) -> int:
        sent = ("--mail-from", USER, "--mail-rcpt", USER, "--upload-file", "-")
        return self.curl(door, "client.test", *sent, *login, stdin=message.raw).returncode

    def finds(self, door: str, message: Marked, *login: str) -> bool:
        done = self.curl(door, f"INBOX?HEADER%20Message-ID%20{message.mark}", *login)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip() not in (b"", b"* SEARCH")

    def person(self, name: str, authority: trustme.CA) -> tuple[str, ...]:
        """A client certificate of somebody's, as curl takes it."""
        issued = authority.issue_cert(name)
        file = self.base / f"{len(list(self.base.iterdir()))}.pem"
        file.write_bytes(issued.private_key_and_cert_chain_pem.bytes())
        return ("--cert", str(file), "--login-options", "AUTH=EXTERNAL")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[Doors]:
    base = tmp_path_factory.mktemp("logins")
    authority.cert_pem.write_to_path(str(base / "people.pem"))
    with contextlib.ExitStack() as stack:
        server = HTTPServer(("127.0.0.1", 0), Introspect)
        stack.enter_context(serving(server))
        extra = AUTH.format(port=server.server_address[1], authority=base / "people.pem")
        running = stack.enter_context(suite(Settings("127.0.0.1:1", workers=1, extra=extra)))
        running.api("POST", "/organisations", {"name": "Saint-Aubin"})
        running.api("POST", "/domains", {"name": DOMAIN, "organisation": "Saint-Aubin"})
        running.api("POST", "/mailboxes", {"address": USER, "password": PASSWORD, "quota": 1 << 30})
        yield Doors(running, base)


def bearer(mechanism: str, token: str = TOKEN) -> tuple[str, ...]:
    return ("--oauth2-bearer", token, "--login-options", f"AUTH={mechanism}")


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
@pytest.mark.parametrize(("sends", "reads"), [("submission", "imap"), ("submissions", "imaps")])
def test_an_access_token_sends_and_reads(doors: Doors, mechanism: str, sends: str, reads: str) -> None:
    """RFC 7628, by STARTTLS and under TLS from the first octet."""
    message = marked(USER, USER)
    assert doors.submits(sends, message, *bearer(mechanism)) == 0
    wait_until(lambda: doors.finds(reads, message, *bearer(mechanism)), what="the message")


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
def test_a_token_that_is_none_is_refused_at_both_doors(doors: Doors, mechanism: str) -> None:
    login = bearer(mechanism, "quelque-chose")
    assert doors.submits("submissions", marked(USER, USER), *login) == DENIED
    assert doors.curl("imaps", "", *login).returncode == DENIED
    assert "quelque-chose" not in doors.suite.log()


@pytest.mark.parametrize(("sends", "reads"), [("submission", "imap"), ("submissions", "imaps")])
def test_a_client_certificate_sends_and_reads(doors: Doors, authority: trustme.CA, sends: str, reads: str) -> None:
    """SASL EXTERNAL (RFC 4422 A): who is meant is the certificate's to say."""
    message, login = marked(USER, USER), doors.person(USER, authority)
    assert doors.submits(sends, message, *login) == 0
    wait_until(lambda: doors.finds(reads, message, *login), what="the message")


def test_certificates_of_strangers_and_of_nobody_here_are_refused(doors: Doors, authority: trustme.CA) -> None:
    nobody = doors.person(f"personne@{DOMAIN}", authority)
    for door in ("submissions", "imaps"):
        path = "client.test" if door == "submissions" else ""
        sent = ("--mail-from", USER, "--mail-rcpt", USER, "--upload-file", "-") if door == "submissions" else ()
        assert doors.curl(door, path, *sent, *nobody, stdin=b"x\r\n").returncode == DENIED, door
        stranger = doors.person(USER, trustme.CA())
        assert doors.curl(door, path, *sent, *stranger, stdin=b"x\r\n").returncode != 0, door
    assert not doors.suite.tracebacks()


# --- SCRAM (RFC 5802, RFC 7677) --------------------------------------------------------------------------------------

MUTTRC = """set from="{user}"
set folder="{imap}"
set spoolfile="+INBOX"
set imap_user="{user}"
set imap_pass="{password}"
set imap_authenticators="scram-sha-256"
set smtp_url="{smtp}"
set smtp_pass="{password}"
set smtp_authenticators="scram-sha-256"
set ssl_starttls=yes
set ssl_force_tls=yes
set certificate_file="{certificate}"
set ssl_verify_host=no
set copy=no
set use_envelope_from=yes
set envelope_from_address="{user}"
set wait_key=no
set quit=yes
set move=no
set confirmappend=no
"""


def mutt(doors: Doors, password: str, base: Path, secure: bool, *arguments: str, rc: str = "") -> tuple[int, str]:
    """Its exit code and what it said, on a terminal of its own."""
    s = "s" if secure else ""
    user = USER.replace("@", "%40")
    doors_of = {name: doors.suite.ports[f"{name}{s}"] for name in ("imap", "submission")}
    (base / "muttrc").write_text(
        MUTTRC.format(
            user=USER,
            password=password,
            imap=f"imap{s}://127.0.0.1:{doors_of['imap']}/",
            smtp=f"smtp{s}://{user}@127.0.0.1:{doors_of['submission']}/",
            certificate=doors.suite.data / "tls/certificate.pem",
        )
        + rc
    )
    command = shlex.join([program("mutt", "mutt"), "-n", "-F", str(base / "muttrc"), *arguments])
    done = subprocess.run(
        ["script", "-qec", SIZED + (f"{command} < {base / 'text'}" if arguments else command), "/dev/null"],
        capture_output=True, timeout=60, env={"TERM": "vt100", "HOME": str(base), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.decode(errors="replace")


def app_password(doors: Doors) -> str:
    made = doors.suite.api("POST", f"/mailboxes/{USER}/app-passwords", {"label": "mutt"})
    assert isinstance(made, dict)
    return str(made["password"])


@pytest.mark.parametrize("secure", [False, True])
def test_an_app_password_sends_and_reads_without_being_sent(doors: Doors, tmp_path: Path, secure: bool) -> None:
    """SCRAM-SHA-256 at both doors, by STARTTLS and under TLS from the first octet; the client checks that the server
    knew the password, too, and answers a lie with an end."""
    password, mark = app_password(doors), uuid.uuid4().hex
    (tmp_path / "text").write_text(f"Bonjour {mark}\n")
    code, said = mutt(doors, password, tmp_path, secure, "-s", mark, "--", USER)
    assert code == 0, said
    saved = 'push "<tag-pattern>~s{mark}<enter><tag-prefix><copy-message>{box}<enter>y<exit><quit>"\n'
    box = tmp_path / "box"

    def read() -> bool:
        mutt(doors, password, tmp_path, secure, rc=saved.format(mark=mark, box=box))
        return box.exists() and mark in box.read_text()

    wait_until(read, what="the message in mutt's hands", timeout=60)
    assert not doors.suite.tracebacks()


def test_a_wrong_app_password_is_refused_by_scram(doors: Doors, tmp_path: Path) -> None:
    app_password(doors)
    (tmp_path / "text").write_text("Bonjour\n")
    code, said = mutt(doors, "aaaa-bbbb-cccc-dddd", tmp_path, True, "-s", "x", "--", USER)
    assert code != 0
    assert "SASL" in said or "uthentication" in said, said
