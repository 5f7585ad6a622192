"""Dovecot's IMAP process alone, on a pipe: an independent answer to the same messages, without ports or passwords."""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.peers.process import MissingPackage, peer_directory

PROGRAM = Path("/usr/lib/dovecot/imap")
PATIENCE = 20.0  # seconds an answer may take


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
def dovecot_imap(*, crlf: bool = True, extra: str = "") -> Iterator[DovecotImap]:
    """A logged-in session on an empty Maildir that keeps CRLF, as ours does; without `crlf` it keeps LF, as most do.
    `extra`: more of its configuration, "{base}" in it a directory that it may write to."""
    if not PROGRAM.exists():
        raise MissingPackage(f"{PROGRAM} is not installed: apt-get install dovecot-imapd")
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    with peer_directory("dovecot") as base:
        for name in ("mail", "run"):
            (base / name).mkdir()
            os.chown(base / name, user.pw_uid, user.pw_gid)
        config = base / "dovecot.conf"
        config.write_text(
            f"mail_location = maildir:{base}/mail\nlog_path = {base}/run/log\nbase_dir = {base}/run\n"
            f"state_dir = {base}/run\nssl = no\nfirst_valid_uid = 1\nfirst_valid_gid = 1\n"
            f"mail_uid = {user.pw_uid}\nmail_gid = {user.pw_gid}\n"
            f"mail_save_crlf = {'yes' if crlf else 'no'}\n{extra.replace('{base}', f'{base}/run')}"
        )
        identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        process = subprocess.Popen(
            [str(PROGRAM), "-c", str(config)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env={"USER": user.pw_name, "HOME": str(base / "mail"), "TZ": "UTC"},
            **identity,  # type: ignore[call-overload]  # the keywords depend on being root
        )  # fmt: skip
        become = f"setpriv --reuid {user.pw_uid} --regid {user.pw_gid} --clear-groups " if os.geteuid() == 0 else ""
        tunnel = f"{become}env USER={user.pw_name} HOME={base}/mail TZ=UTC {PROGRAM} -c {config} 2>/dev/null"
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
