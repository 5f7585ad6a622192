"""Every mechanism by programs that have nothing of ours: msmtp and gsasl (the SASL of GNU), mbsync (that of Cyrus), at
submission and IMAP; the right secret, and each way in which one is wrong. What they hear is what their users would."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.interop.logins import BROKEN, DOMAIN, PASSWORD, TOKEN, USER, Doors
from tests.interop.mail import Marked, marked
from tests.peers.process import program, wait_until
from tests.peers.suite import HOSTNAME

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

NOBODY = f"personne@{DOMAIN}"
BAD_TOKENS = ["d-un-autre-service", "perime", "d-un-inconnu", "quelque-chose"]
ELSEWHERE = ["192.0.2.0/24"]  # a network that nobody here comes from
REFUSED = 77  # sysexits(3): EX_NOPERM
MSMTPRC = """account default
host 127.0.0.1
port {port}
tls on
tls_starttls {starttls}
tls_trust_file {trust}
tls_host_override {hostname}
domain client.test
from {sender}
auth {mechanism}
user {user}
{credential}
"""


@dataclass(frozen=True)
class Try:
    """One start of msmtp: its exit code, and what the server said from AUTH on (its own complaint if it never did)."""

    code: int
    said: list[str]

    @property
    def refused(self) -> bool:
        return (self.code, self.said[-1]) == (REFUSED, "535 5.7.8 Authentication credentials invalid")


class Msmtp:
    """One door of an installation, as msmtp sees it."""

    def __init__(self, doors: Doors, folder: Path, door: str = "submissions") -> None:
        self._doors, self._folder, self._door = doors, folder, door

    def submits(self, message: Marked, mechanism: str, credential: str, user: str = USER) -> Try:
        config = self._folder / f"{message.mark}.rc"
        config.write_text(self._config(mechanism, credential, user))
        config.chmod(0o600)
        done = subprocess.run(
            [program("msmtp", "msmtp"), "--debug", f"--file={config}", USER],
            input=message.raw.decode().replace("\r\n", "\n"), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        said = done.stdout[done.stdout.rindex("--> AUTH") :] if "--> AUTH" in done.stdout else ""
        return Try(done.returncode, re.findall(r"^<-- (.*)$", said, re.MULTILINE) or [done.stderr])

    def tries(self, mechanism: str, *logins: tuple[str, str]) -> list[Try]:
        """With each credential and user, at the same time: who is refused hears it a second later."""
        with ThreadPoolExecutor(len(logins)) as pool:
            return list(pool.map(lambda login: self.submits(marked(USER, USER), mechanism, *login), logins))

    def _config(self, mechanism: str, credential: str, user: str) -> str:
        return MSMTPRC.format(
            port=self._doors.suite.ports[self._door],
            starttls="on" if self._door == "submission" else "off",
            trust=self._doors.suite.data / "tls/certificate.pem",
            hostname=HOSTNAME, sender=USER, mechanism=mechanism, user=user, credential=credential,
        )  # fmt: skip


@pytest.fixture
def msmtp(logins: Doors, tmp_path: Path) -> Msmtp:
    return Msmtp(logins, tmp_path)


def shown(file: Path) -> str:
    """A client certificate in msmtp's words."""
    return f"tls_cert_file {file}\ntls_key_file {file}"


def good(logins: Doors, authority: trustme.CA, mechanism: str) -> str:
    match mechanism:
        case "plain" | "login":
            return f"password {PASSWORD}"
        case "external":
            return shown(logins.certificate(USER, authority))
        case "scram-sha-256":
            return f"password {logins.app_password()}"
    return f"password {TOKEN}"


@pytest.mark.parametrize("mechanism", ["plain", "login", "scram-sha-256", "external", "oauthbearer", "xoauth2"])
def test_msmtp_submits_by_every_mechanism(logins: Doors, authority: trustme.CA, tmp_path: Path, mechanism: str) -> None:
    """By STARTTLS and under TLS from the first octet."""
    credential = good(logins, authority, mechanism)
    for door in ("submission", "submissions"):
        message = marked(USER, USER)
        done = Msmtp(logins, tmp_path, door).submits(message, mechanism, credential)
        assert (done.code, done.said[-6]) == (0, "235 2.7.0 Authentication successful"), done
        arrived(logins, message)


def arrived(logins: Doors, message: Marked) -> None:
    wait_until(lambda: logins.finds("imaps", message, "--user", f"{USER}:{PASSWORD}"), what="the message")


def closed_app_passwords(logins: Doors) -> dict[str, str]:
    """Right ones that open submission not at all, not from here, not any more: by the reason that the log has."""
    ends = time.time() + 0.5
    made = {
        "protocol": logins.app_password(scope="imap"),
        "network": logins.app_password(networks=ELSEWHERE),
        "expired": logins.app_password(expires_at=ends),
    }
    wait_until(lambda: time.time() > ends, what="one to expire")
    return made


@pytest.mark.parametrize("mechanism", ["plain", "scram-sha-256"])
def test_msmtp_with_an_app_password_of_another_door_hears_what_a_wrong_one_hears(
    logins: Doors, msmtp: Msmtp, mechanism: str
) -> None:
    """RFC 4954 6: 535, whatever is wrong; only the log tells, and tells the same for each mechanism."""
    closed, told = closed_app_passwords(logins), len(logins.suite.events("app-password-refused"))
    wrong = [(password, USER) for password in (*closed.values(), "faux")] + [(logins.app_password(), NOBODY)]
    done = msmtp.tries(mechanism, *((f"password {password}", user) for password, user in wrong))
    assert all(one.refused for one in done), done
    reasons = [event["reason"] for event in logins.suite.events("app-password-refused")[told:]]
    assert sorted(map(str, reasons)) == sorted(closed)
    assert not [password for password in closed.values() if password in logins.suite.log()]


@pytest.mark.parametrize(("mechanism", "status"), [("oauthbearer", "invalid_token"), ("xoauth2", "401")])
def test_msmtp_is_told_in_json_that_a_token_is_not_taken_and_then_refused(
    logins: Doors, msmtp: Msmtp, mechanism: str, status: str
) -> None:
    """RFC 7628 3.2.2 and 3.2.3: an error as challenge, the client's dummy answer, 535."""
    wrong = [(token, USER) for token in BAD_TOKENS] + [(TOKEN, NOBODY)]
    done = msmtp.tries(mechanism, *((f"password {token}", user) for token, user in wrong))
    assert all(one.refused for one in done), done
    errors = [json.loads(base64.b64decode(one.said[-2].removeprefix("334 "))) for one in done]
    assert [error["status"] for error in errors] == [status] * len(wrong)
    assert not [token for token, _ in wrong if token in logins.suite.log()]


def test_msmtp_is_told_to_come_again_while_nobody_can_say_what_a_token_is(logins: Doors, msmtp: Msmtp) -> None:
    """RFC 4954 4.7.0, not 5.7.8: a program that hears that its token is wrong may throw it away."""
    done = msmtp.submits(marked(USER, USER), "oauthbearer", f"password {BROKEN}")
    assert done.said == ["454 4.7.0 Temporary authentication failure"]
    assert msmtp.submits(marked(USER, USER), "oauthbearer", f"password {TOKEN}").code == 0


def test_msmtp_with_a_certificate_is_who_the_certificate_says(
    logins: Doors, authority: trustme.CA, msmtp: Msmtp
) -> None:
    """RFC 4422 A.1: the name that is asked for must be the certificate's; without one there is no EXTERNAL."""
    mine, others = shown(logins.certificate(USER, authority)), shown(logins.certificate(NOBODY, authority))
    done = msmtp.tries("external", (mine, NOBODY), (others, USER), (others, NOBODY))
    assert all(one.refused for one in done), done
    failures = len(logins.suite.events("smtp-tls-failed"))
    assert msmtp.submits(marked(USER, USER), "external", shown(logins.certificate(USER, trustme.CA()))).code != 0
    wait_until(lambda: len(logins.suite.events("smtp-tls-failed")) == failures + 1, what="the log to say so")
    without = msmtp.submits(marked(USER, USER), "external", "")
    assert "does not support authentication method EXTERNAL" in without.said[0], without


# --- IMAP ------------------------------------------------------------------------------------------------------------


def gsasl(logins: Doors, mechanism: str, *arguments: str, user: str = USER) -> str:
    """All that was said at the IMAP door, by STARTTLS (of names it knows none but our address)."""
    done = subprocess.run(
        [
            program("gsasl", "gsasl"), "--imap", "--verbose", "--no-cb", "--x509-ca-file", "",
            "--connect", f"127.0.0.1:{logins.suite.ports['imap']}",
            "--mechanism", mechanism, "--authentication-id", user, *arguments,
        ],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


IN, OUT = "Client authentication finished (server trusted)", ". NO [AUTHENTICATIONFAILED] authentication failed"


def test_gsasl_proves_an_app_password_at_imap_and_is_proved_that_the_server_has_it(logins: Doors) -> None:
    app = logins.app_password(scope="imap")
    assert IN in gsasl(logins, "SCRAM-SHA-256", "--password", app)
    assert OUT in gsasl(logins, "SCRAM-SHA-256", "--password", PASSWORD)  # that has no keys of SCRAM


def test_gsasl_with_what_opens_another_door_hears_what_a_wrong_password_hears(logins: Doors) -> None:
    closed = (logins.app_password(scope="submission"), logins.app_password(networks=ELSEWHERE))
    for mechanism in ("PLAIN", "LOGIN", "SCRAM-SHA-256"):
        assert all(OUT in gsasl(logins, mechanism, "--password", password) for password in closed), mechanism
        assert OUT in gsasl(logins, mechanism, "--password", logins.app_password(), user=NOBODY), mechanism
        assert IN in gsasl(logins, mechanism, "--password", logins.app_password()), mechanism


def test_gsasl_with_a_certificate_is_who_the_certificate_says(logins: Doors, authority: trustme.CA) -> None:
    file = str(logins.certificate(USER, authority))
    shows = ("--x509-cert-file", file, "--x509-key-file", file, "--authorization-id")
    assert IN in gsasl(logins, "EXTERNAL", *shows, USER)
    assert OUT in gsasl(logins, "EXTERNAL", *shows, NOBODY)
    assert not logins.suite.tracebacks()


MBSYNCRC = """IMAPAccount a
Host 127.0.0.1
Port {port}
User {user}
PassCmd "echo '{password}'"
AuthMechs SCRAM-SHA-256
SSLType IMAPS
CertificateFile {trust}

IMAPStore far
Account a

MaildirStore near
Path {folder}/
Inbox {folder}/INBOX

Channel c
Far :far:
Near :near:
Create Near
SyncState *
"""


def mbsync(logins: Doors, folder: Path, password: str) -> tuple[int, str]:
    port, trust = logins.suite.ports["imaps"], logins.suite.data / "tls/certificate.pem"
    config = folder / "mbsyncrc"
    config.write_text(MBSYNCRC.format(port=port, user=USER, password=password, trust=trust, folder=folder))
    done = subprocess.run(
        [program("mbsync", "isync"), "-c", str(config), "-a"], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stderr


def test_mbsync_proves_an_app_password_by_scram_of_cyrus(logins: Doors, tmp_path: Path) -> None:
    """Another library than that of msmtp, mutt and gsasl, and its first message comes with the command (RFC 4959)."""
    assert mbsync(logins, tmp_path, logins.app_password(scope="imap")) == (0, "")
    code, said = mbsync(logins, tmp_path, logins.app_password(scope="submission"))
    assert code == 1
    assert "NO [AUTHENTICATIONFAILED] authentication failed" in said
