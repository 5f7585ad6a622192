"""Whoever reads the log is gone, or its disk is full: mail and administration go on (fault 169)."""

from __future__ import annotations

import imaplib
import os
import signal
import smtplib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.peers.process import children, free_port, wait_until
from tests.peers.suite import BEFFROI, Settings, Suite, suite

pytestmark = pytest.mark.timeout(400)

PASSWORD = "les cloches sonnent a midi"
MESSAGE = b"From: a@partner.test\r\nTo: maire@brou.test\r\nSubject: sans journal\r\n\r\nbonjour\r\n"


@contextmanager
def serving(installation: Suite, output: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [BEFFROI, "serve", "--config", str(installation.config)]
    process = subprocess.Popen(command, stdout=output, stderr=output, cwd="/")
    try:
        wait_until(lambda: installation.cli("status").returncode == 0, timeout=120, what="all doors to answer")
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(60)


def delivered(installation: Suite) -> int:
    with imaplib.IMAP4_SSL("127.0.0.1", installation.ports["imaps"], ssl_context=installation.tls()) as client:
        client.login("maire@brou.test", PASSWORD)
        _, (count, *_) = client.select("INBOX", readonly=True)
        return int(count or 0)


def send(installation: Suite) -> None:
    with smtplib.SMTP("127.0.0.1", installation.ports["mx"], timeout=30) as client:
        assert client.sendmail("a@partner.test", ["maire@brou.test"], MESSAGE) == {}


@pytest.mark.parametrize("log", ["a closed pipe", "a full disk"])
def test_f169_mail_flows_and_workers_come_back_without_a_log(log: str) -> None:
    with suite(Settings(f"127.0.0.1:{free_port()}", workers=1), started=False) as installation:
        reader, writer = os.pipe()
        output = os.open("/dev/full", os.O_WRONLY) if log == "a full disk" else writer
        with serving(installation, output) as process:
            os.close(reader)  # from now on a write is EPIPE
            os.close(writer)
            installation.api("POST", "/organisations", {"name": "Brou"})
            installation.api("POST", "/domains", {"name": "brou.test", "organisation": "Brou"})
            installation.api("POST", "/mailboxes", {"address": "maire@brou.test", "password": PASSWORD})
            for number in (1, 2):
                send(installation)
                assert delivered(installation) == number
                if number == 1:
                    (front,) = _fronts(process.pid)
                    os.kill(front, signal.SIGKILL)  # the supervisor has something to tell
                    wait_until(lambda: installation.cli("status").returncode == 0, timeout=120, what="the front")
            assert _fronts(process.pid) != [front]
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        if log == "a full disk":
            os.close(output)


def _fronts(supervisor: int) -> list[int]:
    found = []
    for pid in children(supervisor):
        with open(f"/proc/{pid}/environ", "rb") as environ:
            if b'"kind": "front"' in environ.read():
                found.append(pid)
    return found
