"""An independent verifier, the program that other people's servers run, judges our signatures."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.antispam.dkim_tools import MESSAGE
from tests.dkim_keys.keys import sign_whole, signer_and_record
from tests.peers.process import program

pytestmark = pytest.mark.interop


def judge(tmp_path: Path, message: bytes, record: bytes) -> str:
    (tmp_path / "keys").write_bytes(b"sel._domainkey.x.test " + record + b"\n")
    # opendkim's reader of files wants a Socket even when it only reads a file
    (tmp_path / "conf").write_text(
        f"Mode v\nSyslog no\nSocket inet:1@127.0.0.1\nTestPublicKeys {tmp_path}/keys\nBackground no\n"
    )
    (tmp_path / "message").write_bytes(message)
    command = [
        program("opendkim", "opendkim"),
        "-f",
        "-x",
        str(tmp_path / "conf"),
        "-t",
        str(tmp_path / "message"),
        "-v",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout


def test_opendkim_accepts_our_rsa_signature_beside_an_ed25519_one(tmp_path: Path) -> None:
    signer, record = signer_and_record("rsa")
    modern, _ = signer_and_record("ed25519", selector="ed")
    long = MESSAGE.replace(b"\r\n\r\nBonjour", b"\r\nReferences: <a@x.test>\r\n <b@x.test>\r\n\r\nBonjour")
    for message in (MESSAGE, long + b"x" * 200_000 + b"\r\n"):
        assert "succeeded" in judge(tmp_path, sign_whole(message, [signer, modern], time.time()), record)


def test_opendkim_refuses_what_was_changed(tmp_path: Path) -> None:
    signer, record = signer_and_record("rsa")
    signed = sign_whole(MESSAGE, [signer], time.time())
    assert "succeeded" not in judge(tmp_path, signed.replace(b"Bonjour", b"bonjour"), record)
