"""The pair we compare with: Postfix + Dovecot 2.3 (LMTP, Maildir, fsync on), tuned as its users tune it.

imap-login in high-performance mode, authentication cache, `mail_fsync = optimized`, very dirty syncs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.peers.process import Process, answers, copy_tree, free_ports, peer_directory, program, wait_until

UID = 22500
DOMAIN = "bench.test"
PASSWORD = "pw"

DOVECOT = """base_dir = {base}/dovecot/run
state_dir = {base}/dovecot/state
instance_name = bench
log_path = {base}/dovecot/log
protocols = imap lmtp
listen = 127.0.0.1
ssl = yes
ssl_cert = <{base}/tls/cert.pem
ssl_key = <{base}/tls/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_cache_size = 4M
first_valid_uid = 500
mail_location = maildir:{base}/mail/%d/%n/Maildir
mail_fsync = optimized
maildir_very_dirty_syncs = yes
mail_max_userip_connections = 10000
default_client_limit = 8192
default_process_limit = 2048
passdb {{
  driver = passwd-file
  args = username_format=%u {base}/dovecot/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={uid} home={base}/mail/%d/%n
}}
namespace inbox {{
  inbox = yes
  mailbox Drafts {{
    special_use = \\Drafts
    auto = create
  }}
  mailbox Sent {{
    special_use = \\Sent
    auto = create
  }}
  mailbox Junk {{
    special_use = \\Junk
    auto = create
  }}
  mailbox Trash {{
    special_use = \\Trash
    auto = create
  }}
}}
service imap-login {{
  service_count = 0
  process_min_avail = 2
  client_limit = 8000
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service imap {{
  process_limit = 6000
}}
service lmtp {{
  process_min_avail = 2
  unix_listener lmtp-postfix {{
    mode = 0666
  }}
}}
service auth {{
  client_limit = 16384
}}
service stats {{
  client_limit = 16384
}}
service anvil {{
  client_limit = 16384
}}
protocol lmtp {{
  postmaster_address = postmaster@{domain}
}}
"""
MAIN = """compatibility_level = 3.6
queue_directory = {base}/postfix/queue
data_directory = {base}/postfix/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {base}/postfix/log
maillog_file_prefixes = {base}
myhostname = mail.{domain}
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
local_transport = error:no local mail
virtual_mailbox_domains = {domain}
virtual_mailbox_maps = lmdb:{base}/postfix/etc/mailboxes
virtual_transport = lmtp:unix:{base}/dovecot/run/lmtp-postfix
smtpd_peername_lookup = no
smtpd_tls_security_level = may
smtpd_tls_cert_file = {base}/tls/cert.pem
smtpd_tls_key_file = {base}/tls/key.pem
smtpd_client_connection_count_limit = 0
smtputf8_enable = yes
message_size_limit = 62914560
virtual_mailbox_limit = 0
default_process_limit = 200
lmtp_destination_concurrency_limit = 40
"""
SERVICES = """cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Pair:
    """`mail`: what Dovecot's mail tree starts as, a copy of it with owners and times; None: empty."""

    def __init__(self, base: Path, users: int, mail: Path | None = None) -> None:
        self.base, self.users = base, [f"u{i}@{DOMAIN}" for i in range(users)]
        self.smtp, self.imap, self.imaps = free_ports(3)
        self._mail = mail
        self._dovecot: Process | None = None

    def start(self) -> None:
        if self._mail is not None:
            copy_tree(self._mail, self.base / "mail")
        for name in ("tls", "dovecot/run", "dovecot/state", "mail", "postfix/etc", "postfix/queue", "postfix/data"):
            (self.base / name).mkdir(parents=True, exist_ok=True)
        for path in (self.base / "mail", *(self.base / "mail").iterdir()):
            os.chown(path, UID, UID)
        shutil.chown(self.base / "postfix/data", "postfix")
        subprocess.run(
            [
                program("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-nodes", "-days", "30", "-subj", f"/CN=mail.{DOMAIN}",
                "-keyout", str(self.base / "tls/key.pem"), "-out", str(self.base / "tls/cert.pem"),
            ],
            check=True, capture_output=True,
        )  # fmt: skip
        self._start_dovecot()
        self._start_postfix()

    def _start_dovecot(self) -> None:
        (self.base / "dovecot/users").write_text("".join(f"{u}:{{PLAIN}}{PASSWORD}::::::\n" for u in self.users))
        config = self.base / "dovecot/dovecot.conf"
        config.write_text(DOVECOT.format(base=self.base, uid=UID, imap=self.imap, imaps=self.imaps, domain=DOMAIN))
        command = [program("dovecot", "dovecot-imapd"), "-F", "-c", str(config)]
        self._dovecot = Process(command, self.base / "dovecot/output")
        self._dovecot.wait_port(self.imaps)

    def restart_dovecot(self) -> None:
        assert self._dovecot is not None
        self._dovecot.stop()
        self._start_dovecot()

    def _start_postfix(self) -> None:
        etc = self.base / "postfix/etc"
        (etc / "main.cf").write_text(MAIN.format(base=self.base, domain=DOMAIN))
        (etc / "master.cf").write_text(f"127.0.0.1:{self.smtp} inet n - n - - smtpd\n{SERVICES}")
        (etc / "mailboxes").write_text("".join(f"{u} OK\n" for u in self.users))
        for command in (["postmap", "-c", str(etc), f"lmdb:{etc}/mailboxes"], ["postfix", "-c", str(etc), "start"]):
            subprocess.run([program(command[0], "postfix"), *command[1:]], check=True, capture_output=True)
        wait_until(lambda: answers(self.smtp), what="postfix")

    def stop(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self.base / "postfix/queue/pid/master.pid").read_text()), signal.SIGTERM)
            wait_until(lambda: not answers(self.smtp), what="postfix to stop")
        if self._dovecot:
            self._dovecot.stop()

    def pids(self) -> list[int]:
        """Every process of the pair, by its ancestors."""
        assert self._dovecot is not None
        roots = {self._dovecot.pid, int((self.base / "postfix/queue/pid/master.pid").read_text())}
        return descendants(roots)


def descendants(roots: set[int]) -> list[int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = set(roots)
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return sorted(found)
        found |= more


@contextlib.contextmanager
def pair(users: int, mail: Path | None = None) -> Iterator[Pair]:
    with peer_directory("pair") as base:
        peer = Pair(base, users, mail)
        try:
            peer.start()
            yield peer
        finally:
            peer.stop()
