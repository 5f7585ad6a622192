"""Dovecot's IMAP process alone, on a pipe: an independent answer to the same messages, without ports or passwords.

2.3 (Debian 12) and 2.4 (Debian 13) name their settings differently.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import subprocess
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.peers.process import MissingPackage, peer_directory, program

PROGRAM = Path("/usr/lib/dovecot/imap")
PATIENCE = 20.0  # seconds an answer may take
COMMON = """log_path = {base}/run/log
base_dir = {base}/run
state_dir = {base}/run
ssl = no
first_valid_uid = 1
first_valid_gid = 1
mail_plugins = {plugins}
"""
MAIL_2_3 = "mail_location = maildir:{base}/mail\n"
MAIL_2_4 = """dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
mail_driver = maildir
mail_path = {base}/mail
"""
# Rights that hold for anyone, and annotations, kept in a file.
SHARED_2_3 = """imap_metadata = yes
mail_attribute_dict = file:{base}/run/attributes
plugin {{
  acl = vfile
  acl_anyone = allow
}}
"""
SHARED_2_4 = """imap_metadata = yes
mail_attribute {{
  dict file {{
    path = {base}/run/attributes
  }}
}}
acl_driver = vfile
imap_acl_allow_anyone = yes
"""


@cache
def modern() -> bool:
    """2.4 or later."""
    told = subprocess.run([program("dovecot", "dovecot-core"), "--version"], capture_output=True, text=True).stdout
    major, minor, *_ = told.split(".")
    return (int(major), int(minor)) >= (2, 4)


def _settings(*, shared: bool) -> str:
    mail, more = (MAIL_2_4, SHARED_2_4) if modern() else (MAIL_2_3, SHARED_2_3)
    return mail + COMMON + (more if shared else "")  # 2.4 wants its version on the first line


class DovecotImap:
    """`ask(command)` gives all octets of the answer, the tagged line included."""

    def __init__(self, process: subprocess.Popen[bytes], mail: Path, tunnel: str) -> None:
        """`mail`: its Maildir; `tunnel`: a shell command that starts another session on it, as mbsync wants one."""
        self._process = process
        self.mail, self.tunnel = mail, tunnel
        self._number = 0
        self._held = b""
        self._read_until(b"\r\n")

    def ask(self, command: bytes) -> bytes:
        self._number += 1
        tag = b"q%d" % self._number
        assert self._process.stdin is not None
        self._process.stdin.write(tag + b" " + command + b"\r\n")
        self._process.stdin.flush()
        return self._read_until(b"\r\n" + tag + b" ", tag + b" ")

    def _read_until(self, mark: bytes, at_start: bytes = b"\0") -> bytes:
        deadline = time.monotonic() + PATIENCE
        while not self._complete(mark, at_start):
            self._held += self._more(deadline)
        answer, self._held = self._held, b""
        return answer

    def _complete(self, mark: bytes, at_start: bytes) -> bool:
        return self._held.endswith(b"\r\n") and (mark in self._held or self._held.startswith(at_start))

    def _more(self, deadline: float) -> bytes:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        data = os.read(self._process.stdout.fileno(), 1 << 16) if ready else b""
        if not data:
            raise AssertionError(f"Dovecot does not answer; so far: {self._held[-500:]!r}")
        return data


@contextlib.contextmanager
def dovecot_imap(*, crlf: bool = True, shared: bool = False) -> Iterator[DovecotImap]:
    """A logged-in session on an empty Maildir that keeps CRLF, as ours does; without `crlf` it keeps LF, as most do.
    `shared`: with METADATA and ACL, and rights may be given to anyone."""
    if not PROGRAM.exists():
        raise MissingPackage(f"{PROGRAM} is not installed: apt-get install dovecot-imapd")
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    with peer_directory("dovecot") as base:
        for name in ("mail", "run"):
            (base / name).mkdir()
            os.chown(base / name, user.pw_uid, user.pw_gid)
        config = base / "dovecot.conf"
        config.write_text(
            _settings(shared=shared).format(base=base, plugins="acl imap_acl" if shared else "")
            + f"mail_uid = {user.pw_uid}\nmail_gid = {user.pw_gid}\nmail_save_crlf = {'yes' if crlf else 'no'}\n"
        )
        given = {"USER": user.pw_name, "HOME": str(base / "mail"), "TZ": "UTC"}
        given["DOVECOT_PRESERVE_ENVS"] = " ".join(given)  # 2.4 reads its configuration in a process without them
        identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        process = subprocess.Popen(
            [str(PROGRAM), "-c", str(config)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=given,
            **identity,  # type: ignore[call-overload]  # the keywords depend on being root
        )  # fmt: skip
        become = f"setpriv --reuid {user.pw_uid} --regid {user.pw_gid} --clear-groups " if os.geteuid() == 0 else ""
        words = " ".join(f"{name}='{value}'" for name, value in given.items())
        tunnel = f"{become}env {words} {PROGRAM} -c {config} 2>/dev/null"
        try:
            yield DovecotImap(process, base / "mail", tunnel)
        finally:
            with contextlib.suppress(OSError):
                process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


@contextlib.contextmanager
def another_session(first: DovecotImap) -> Iterator[DovecotImap]:
    """A second session on the same Maildir."""
    process = subprocess.Popen(["/bin/sh", "-c", f"exec {first.tunnel}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield DovecotImap(process, first.mail, first.tunnel)
    finally:
        for end in (process.stdin, process.stdout):
            if end is not None:
                end.close()
        process.wait(5)
