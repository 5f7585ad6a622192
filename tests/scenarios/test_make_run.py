"""README's first command in a fresh clone: the demonstration, Ctrl-C, and the same again on the same data."""

from __future__ import annotations

import imaplib
import json
import os
import re
import select
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 300.0  # seconds for the first start, which installs; a loaded machine needs its time


def until_ready(process: subprocess.Popen[bytes], seconds: float) -> str:
    """What it printed up to "ready"; the rest of the output is left in the pipe."""
    assert process.stdout is not None
    deadline, said = time.monotonic() + seconds, b""
    while b"\nready\n" not in said:
        readable, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        assert readable, f"not ready after {seconds} s:\n{said.decode()[-4000:]}"
        block = os.read(process.stdout.fileno(), 4096)
        assert block, f"ended with {process.wait(30)}:\n{said.decode()[-4000:]}"
        said += block
    return said.decode()


def run(clone: Path, seconds: float) -> str:
    """`make run` until it is ready and its first message was read, then Ctrl-C as a terminal sends it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BEFFROI_")}
    process = subprocess.Popen(
        ["make", "run", f"PYTHON={Path(sys.base_prefix) / 'bin/python3'}"],
        cwd=clone,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        said = until_ready(process, seconds)
        read_first_message(clone, said)
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
        assert "stopped" in rest.decode()
        assert "Traceback" not in said + rest.decode()
        return said
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)
        assert process.stdout is not None
        process.stdout.close()


def read_first_message(clone: Path, said: str) -> None:
    port = re.search(r"IMAP over TLS\D+127\.0\.0\.1:(\d+)", said)
    user = re.search(r"delivered through the MX to (\S+?)\.\n", said)
    assert port is not None, said
    assert user is not None, said
    password = json.loads((clone / "demo-data/demo-secrets.json").read_text())["passwords"][user[1]]
    context = ssl.create_default_context(cafile=str(clone / "demo-data/tls/certificate.pem"))
    context.check_hostname = False
    with imaplib.IMAP4_SSL("127.0.0.1", int(port[1]), ssl_context=context, timeout=30) as client:
        client.login(user[1], password)
        _, found = client.select("INBOX")
        assert int(found[0] or b"0") >= 1


@pytest.mark.interop
@pytest.mark.timeout(900)
def test_make_run_in_a_fresh_clone_twice_with_ctrl_c(tmp_path: Path) -> None:
    clone = tmp_path / "beffroi"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True, timeout=120)
    first = run(clone, PATIENCE)
    assert first.index("Installing") < first.index("ready")
    second = run(clone, PATIENCE)
    assert "Installing" not in second
    table = re.compile(r"API token\s+(\S+)")
    assert table.findall(first) == table.findall(second) != []
    left = subprocess.run(["pgrep", "-f", str(clone)], capture_output=True, text=True, check=False, timeout=30).stdout
    assert left == "", "processes were left behind"
