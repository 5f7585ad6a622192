"""Who has no password logs in from outside: access tokens and client certificates, by curl at the suite's own doors."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import trustme

from tests.interop.mail import Marked, marked
from tests.peers.process import program, wait_until
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
