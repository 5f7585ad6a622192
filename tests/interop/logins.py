"""An installation where every mechanism is offered, and curl at its doors."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import trustme

from tests.interop.mail import Marked
from tests.peers.process import peer_directory, program
from tests.peers.suite import HOSTNAME, Settings, Suite, suite
from tests.peers.threads import serving

DOMAIN = "saint-aubin.test"
USER = f"maire@{DOMAIN}"
PASSWORD = "le beffroi sonne a midi"
TOKEN = "un-jeton-de-la-connexion-unique"
SCOPE = "courriel"
BROKEN = "celui-qui-fait-tomber-le-service"  # the identity provider answers 500
AUTH = """[auth]
introspection = "http://127.0.0.1:{port}/introspect"
introspection_scope = "{scope}"
client_ca = "{authority}"
scram = true
"""
# What the identity provider says of each token; of all others, that it is none.
TOKENS: dict[str, dict[str, object]] = {
    TOKEN: {"email": USER, "scope": f"openid {SCOPE}"},
    "d-un-autre-service": {"email": USER, "scope": "openid agenda"},
    "perime": {"email": USER, "scope": SCOPE, "exp": time.time() - 60},
    "d-un-inconnu": {"email": f"personne@{DOMAIN}", "scope": SCOPE},
}


class Introspect(BaseHTTPRequestHandler):
    """The identity provider, asked by RFC 7662."""

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        known = TOKENS.get(form.get("token", [""])[0])
        body = json.dumps({"active": False} if known is None else {"active": True, **known}).encode()
        self.send_response(500 if form.get("token") == [BROKEN] else 200)
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

    def certificate(self, name: str, authority: trustme.CA) -> Path:
        """A client certificate of somebody's, with its key."""
        issued = authority.issue_cert(name)
        file = self.base / f"{len(list(self.base.iterdir()))}.pem"
        file.write_bytes(issued.private_key_and_cert_chain_pem.bytes())
        return file

    def person(self, name: str, authority: trustme.CA) -> tuple[str, ...]:
        """A client certificate as curl takes it."""
        return ("--cert", str(self.certificate(name, authority)), "--login-options", "AUTH=EXTERNAL")

    def app_password(self, **wanted: object) -> str:
        made = self.suite.api("POST", f"/mailboxes/{USER}/app-passwords", {"label": "programme", **wanted})
        assert isinstance(made, dict)
        return str(made["password"])


@contextlib.contextmanager
def login_doors(authority: trustme.CA) -> Iterator[Doors]:
    """`authority` signs the certificates of this installation's people."""
    with contextlib.ExitStack() as stack:
        base = stack.enter_context(peer_directory("logins"))
        authority.cert_pem.write_to_path(str(base / "people.pem"))
        server = HTTPServer(("127.0.0.1", 0), Introspect)
        stack.enter_context(serving(server))
        extra = AUTH.format(port=server.server_address[1], authority=base / "people.pem", scope=SCOPE)
        running = stack.enter_context(suite(Settings("127.0.0.1:1", workers=1, extra=extra)))
        running.api("POST", "/organisations", {"name": "Saint-Aubin"})
        running.api("POST", "/domains", {"name": DOMAIN, "organisation": "Saint-Aubin"})
        running.api("POST", "/mailboxes", {"address": USER, "password": PASSWORD, "quota": 1 << 30})
        yield Doors(running, base)
