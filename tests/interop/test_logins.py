"""Who sends no password logs in from outside, at the suite's own doors: OAUTHBEARER and client certificates by curl,
SCRAM (its SASL is the GNU library's: curl has none in Debian) and XOAUTH2 by mutt. `test_sasl_programs` has what else
programs may do right and wrong."""

from __future__ import annotations

import shlex
import subprocess
import uuid
from pathlib import Path

import pytest
import trustme

from tests.interop.logins import DOMAIN, TOKEN, USER, Doors
from tests.interop.mail import marked
from tests.peers.process import SIZED, program, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

DENIED = 67  # curl(1): the user name, password, or similar was not accepted


def bearer(token: str = TOKEN) -> tuple[str, ...]:
    """OAUTHBEARER: curl takes it wherever it is offered, even when it is asked for XOAUTH2."""
    return ("--oauth2-bearer", token)


# By STARTTLS and by what follows a challenge; under TLS from the first octet and with the command (RFC 4954, RFC 4959).
DOORS = [("submission", "imap", ()), ("submissions", "imaps", ("--sasl-ir",))]


@pytest.mark.parametrize(("sends", "reads", "how"), DOORS)
def test_an_access_token_sends_and_reads(logins: Doors, sends: str, reads: str, how: tuple[str, ...]) -> None:
    """RFC 7628."""
    message = marked(USER, USER)
    assert logins.submits(sends, message, *bearer(), *how) == 0
    wait_until(lambda: logins.finds(reads, message, *bearer(), *how), what="the message")


def test_a_token_that_is_none_is_refused_at_both_doors(logins: Doors) -> None:
    login = bearer("quelque-chose")
    assert logins.submits("submissions", marked(USER, USER), *login) == DENIED
    assert logins.curl("imaps", "", *login).returncode == DENIED
    assert "quelque-chose" not in logins.suite.log()


@pytest.mark.parametrize(("sends", "reads", "how"), DOORS)
def test_a_client_certificate_sends_and_reads(
    logins: Doors, authority: trustme.CA, sends: str, reads: str, how: tuple[str, ...]
) -> None:
    """SASL EXTERNAL (RFC 4422 A): who is meant is the certificate's to say."""
    message, login = marked(USER, USER), (*logins.person(USER, authority), *how)
    assert logins.submits(sends, message, *login) == 0
    wait_until(lambda: logins.finds(reads, message, *login), what="the message")


def test_certificates_of_strangers_and_of_nobody_here_are_refused(logins: Doors, authority: trustme.CA) -> None:
    nobody = logins.person(f"personne@{DOMAIN}", authority)
    for door in ("submissions", "imaps"):
        path = "client.test" if door == "submissions" else ""
        sent = ("--mail-from", USER, "--mail-rcpt", USER, "--upload-file", "-") if door == "submissions" else ()
        assert logins.curl(door, path, *sent, *nobody, stdin=b"x\r\n").returncode == DENIED, door
        stranger = logins.person(USER, trustme.CA())
        assert logins.curl(door, path, *sent, *stranger, stdin=b"x\r\n").returncode != 0, door
    assert not logins.suite.tracebacks()


# --- SCRAM (RFC 5802, RFC 7677) and XOAUTH2 -------------------------------------------------------------------------

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


def mutt(logins: Doors, password: str, base: Path, secure: bool, *arguments: str, rc: str = "") -> tuple[int, str]:
    """Its exit code and what it said, on a terminal of its own."""
    s = "s" if secure else ""
    user = USER.replace("@", "%40")
    doors_of = {name: logins.suite.ports[f"{name}{s}"] for name in ("imap", "submission")}
    (base / "muttrc").write_text(
        MUTTRC.format(
            user=USER,
            password=password,
            imap=f"imap{s}://127.0.0.1:{doors_of['imap']}/",
            smtp=f"smtp{s}://{user}@127.0.0.1:{doors_of['submission']}/",
            certificate=logins.suite.data / "tls/certificate.pem",
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


def sends_and_reads(logins: Doors, password: str, base: Path, secure: bool, rc: str = "") -> None:
    mark, box = uuid.uuid4().hex, base / "box"
    (base / "text").write_text(f"Bonjour {mark}\n")
    code, said = mutt(logins, password, base, secure, "-s", mark, "--", USER, rc=rc)
    assert code == 0, said
    saved = f'push "<tag-pattern>~s{mark}<enter><tag-prefix><copy-message>{box}<enter>y<exit><quit>"\n'

    def read() -> bool:
        mutt(logins, password, base, secure, rc=rc + saved)
        return box.exists() and mark in box.read_text()

    wait_until(read, what="the message in mutt's hands", timeout=60)
    assert not logins.suite.tracebacks()


@pytest.mark.parametrize("secure", [False, True])
def test_an_app_password_sends_and_reads_without_being_sent(logins: Doors, tmp_path: Path, secure: bool) -> None:
    """SCRAM-SHA-256 at both doors, by STARTTLS and under TLS from the first octet; the client checks that the server
    knew the password, too, and answers a lie with an end."""
    sends_and_reads(logins, logins.app_password(), tmp_path, secure)


XOAUTH2 = """set imap_authenticators="xoauth2"
set imap_oauth_refresh_command="echo {token}"
set smtp_authenticators="xoauth2"
set smtp_oauth_refresh_command="echo {token}"
"""


def test_mutt_sends_and_reads_with_a_token_by_xoauth2(logins: Doors, tmp_path: Path) -> None:
    sends_and_reads(logins, "", tmp_path, True, XOAUTH2.format(token=TOKEN))
    code, said = mutt(logins, "", tmp_path, True, "-s", "x", "--", USER, rc=XOAUTH2.format(token="quelque-chose"))
    assert code != 0, said


def test_a_wrong_app_password_is_refused_by_scram(logins: Doors, tmp_path: Path) -> None:
    logins.app_password()
    (tmp_path / "text").write_text("Bonjour\n")
    code, said = mutt(logins, "aaaa-bbbb-cccc-dddd", tmp_path, True, "-s", "x", "--", USER)
    assert code != 0
    assert "SASL" in said or "uthentication" in said, said
