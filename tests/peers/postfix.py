"""Postfix: the world's mail server. Sends to our MX, receives from our queue into Maildirs the test can read."""

from __future__ import annotations

import contextlib
import email
import email.policy
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from tests.peers.process import answers, free_port, peer_directory, program, wait_until

UID = 22500

MAIN = """compatibility_level = 3.6
queue_directory = {base}/queue
data_directory = {base}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {base}/log
maillog_file_prefixes = {base}
myhostname = mx.{domain}
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
local_transport = error:no local mail
virtual_mailbox_domains = {domain}
virtual_mailbox_maps = lmdb:{base}/etc/mailboxes
virtual_mailbox_base = {base}/mail
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{uid}
virtual_mailbox_limit = 0
transport_maps = lmdb:{base}/etc/transport
smtp_host_lookup = native
smtp_tls_security_level = {client_tls}
smtp_tls_loglevel = 1
smtpd_peername_lookup = no
smtpd_tls_security_level = may
smtpd_tls_cert_file = {base}/tls/cert.pem
smtpd_tls_key_file = {base}/tls/key.pem
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtputf8_enable = yes
message_size_limit = 52428800
minimal_backoff_time = 2s
maximal_backoff_time = 5s
queue_run_delay = 2s
smtpd_milters = {milters}
milter_default_action = tempfail
{extra}
"""
MASTER = """127.0.0.1:{port} inet n - n - - smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 1 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - {chroot} - - smtp
relay     unix  - - n - - smtp
lmtp      unix  - - n - - lmtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
virtual   unix  - n n - - virtual
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """One instance for `domain`; `routes` maps foreign domains to next hops, see `_transport`."""

    def __init__(self, base: Path, domain: str) -> None:
        self.base, self.domain, self.port = base, domain, free_port()
        self._etc = base / "etc"

    def start(
        self,
        users: Sequence[str],
        routes: Mapping[str, str],
        *,
        milters: str = "",
        client_tls: str = "may",
        extra: str = "",
        doors: Mapping[str, Mapping[str, str]] | None = None,
        resolver: str = "",
        tables: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """`users`: local parts of `domain`, or whole addresses ("@host" for everybody there), each with a Maildir of
        that name. `doors`: further addresses at the same port ("[::1]:25" keeps its own), with settings of their own.
        `resolver`: a validating name server's address (port 53) for what is sent; without one only `routes` lead out.
        `tables`: further lookup tables, at {base}/etc in `extra`."""
        program("postfix", "postfix")
        for name in ("etc", "queue", "queue/etc", "data", "mail", "tls"):
            (self.base / name).mkdir(mode=0o755)
        # A chrooted client reads its resolver's address there; no other way leads past the machine's own.
        (self.base / "queue/etc/resolv.conf").write_text(f"nameserver {resolver}\noptions trust-ad edns0\n")
        os.chown(self.base / "mail", UID, UID)
        shutil.chown(self.base / "data", "postfix")
        self._certificate()
        values = {
            "base": self.base, "domain": self.domain, "uid": UID, "milters": milters, "client_tls": client_tls,
            "extra": extra, "port": self.port, "chroot": "y" if resolver else "n",
        }  # fmt: skip
        values["extra"] = extra.format(**values)
        (self._etc / "main.cf").write_text(last_of_each(MAIN.format(**values)))
        (self._etc / "master.cf").write_text(MASTER.format(**values) + self._doors(doors or {}))
        self._table("mailboxes", {user if "@" in user else f"{user}@{self.domain}": f"{user}/" for user in users})
        self._table("transport", {domain: _transport(hop) for domain, hop in routes.items()})
        for name, entries in (tables or {}).items():
            self._table(name, entries)
        self._run("postfix", "start")
        wait_until(lambda: answers(self.port), what="postfix")

    def _doors(self, doors: Mapping[str, Mapping[str, str]]) -> str:
        lines = []
        for address, options in doors.items():
            endpoint = address if address.rpartition(":")[2].isdigit() else f"{address}:{self.port}"
            settings = "".join(f"  -o {name}={value.replace(' ', ',')}\n" for name, value in options.items())
            lines.append(f"{endpoint} inet n - n - - smtpd\n{settings}")
        return "".join(lines)

    def _table(self, name: str, entries: Mapping[str, str]) -> None:
        (self._etc / name).write_text("".join(f"{key} {value}\n" for key, value in entries.items()))
        self._run("postmap", f"lmdb:{self._etc}/{name}")

    def stop(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.base / "queue/pid/master.pid").read_text())
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: not answers(self.port), what="postfix to stop")

    def flush(self) -> None:
        self._run("postqueue", "-f")

    def queued(self) -> int:
        output = self._run("postqueue", "-j")
        return len(output.splitlines())

    def log(self) -> str:
        return (self.base / "log").read_text(errors="replace")

    def messages(self, user: str) -> list[bytes]:
        """Everything delivered to `user` so far (LF lines, as Postfix stores it)."""
        folder = self.base / "mail" / user / "new"
        return [path.read_bytes() for path in sorted(folder.iterdir())] if folder.is_dir() else []

    def parsed(self, user: str) -> list[EmailMessage]:
        return [email.message_from_bytes(raw, policy=email.policy.default) for raw in self.messages(user)]

    def _run(self, name: str, *arguments: str) -> str:
        command = [program(name, "postfix"), "-c", str(self._etc), *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(f"{command}: {done.stderr}{self.log() if (self.base / 'log').exists() else ''}")
        return done.stdout

    def _certificate(self) -> None:
        subprocess.run(
            [
                program("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-nodes", "-days", "30", "-subj", f"/CN=mx.{self.domain}",
                "-keyout", str(self.base / "tls/key.pem"), "-out", str(self.base / "tls/cert.pem"),
            ],
            check=True, capture_output=True,
        )  # fmt: skip


def _transport(hop: str) -> str:
    """ "host:port" as it stands; "mx:domain:port" asks for the domain's MX; "lmtp:host:port" speaks LMTP there."""
    way, _, rest = hop.partition(":")
    if way == "mx":
        return f"smtp:{rest}"
    if way == "lmtp":
        return f"lmtp:inet:{rest}"
    host, _, port = hop.rpartition(":")
    return f"smtp:[{host}]:{port}"


def last_of_each(text: str) -> str:
    """Each parameter once, as it stands last: Postfix warns of a second one from every process, and when so many
    warnings come before its log daemon is there, all of it stands still."""
    values = dict(line.split(" =", 1) for line in text.splitlines() if " =" in line)
    return "".join(f"{name} ={value}\n" for name, value in values.items())


@contextlib.contextmanager
def postfix(domain: str, users: Sequence[str], routes: Mapping[str, str], **options: Any) -> Iterator[Postfix]:
    """`options` as `Postfix.start` takes them."""
    with peer_directory("postfix") as base:
        server = Postfix(base, domain)
        try:
            server.start(users, routes, **options)
            yield server
        finally:
            server.stop()
