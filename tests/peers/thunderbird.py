"""Thunderbird on a virtual screen, driven from inside by its own Marionette: nothing is clicked, no picture is read."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.peers.process import MissingPackage, free_port, wait_until

PROGRAMS = {"thunderbird": "thunderbird", "xvfb-run": "xvfb"}  # and the Debian packages they come in
STARTING = 120.0  # seconds until it answers
PREFERENCES = {
    "app.update.auto": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.server.default.offline_download": True,
    "mail.shell.checkDefaultClient": False,
    "mail.spotlight.firstRunDone": True,
    "mailnews.start_page.enabled": False,
    "network.proxy.type": 0,
    "services.settings.server": "data:,",  # it asks nobody on the Internet
}
PRELUDE = """
const {MailServices} = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const server = MailServices.accounts.accounts.map(each => each.incomingServer).find(each => each.type == "imap");
const online = folder => folder?.QueryInterface(Ci.nsIMsgImapMailFolder).onlineName;
const flagged = flag => server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags[flag]);
const messages = folder => [...folder.messages];
"""


class Thunderbird:
    """`run` executes JavaScript with all of Thunderbird's own objects in reach and gives what it returns."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), 60)
        self._number = 0
        self._receive()
        self._ask("WebDriver:NewSession", {"capabilities": {}})
        self._ask("Marionette:SetContext", {"value": "chrome"})
        self._ask("WebDriver:SetTimeouts", {"script": 60_000})

    def run(self, script: str, *arguments: object) -> Any:
        return self._ask("WebDriver:ExecuteScript", {"script": PRELUDE + script, "args": list(arguments)})["value"]

    def wait(self, script: str, *arguments: object, what: str) -> None:
        wait_until(lambda: self.run(script, *arguments), what=what, timeout=60)

    def quit(self) -> None:
        self._ask("Marionette:Quit", {"flags": ["eForceQuit"]})

    def close(self) -> None:
        self._sock.close()

    def _ask(self, command: str, parameters: dict[str, object]) -> Any:
        self._number += 1
        text = json.dumps([0, self._number, command, parameters]).encode()
        self._sock.sendall(b"%d:%b" % (len(text), text))
        _, _, error, result = self._receive()
        if error:
            raise AssertionError(f"{error['error']}: {error['message']}\n{parameters}")
        return result

    def _receive(self) -> Any:
        length = b""
        while not length.endswith(b":"):
            length += self._exactly(1)
        return json.loads(self._exactly(int(length[:-1])))

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._sock.recv(size - len(data))
            if not piece:
                raise AssertionError("Thunderbird is gone")
            data += piece
        return data


def make_profile(profile: Path) -> None:
    profile.mkdir(parents=True)
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
    (profile / "user.js").write_text("\n".join(lines) + "\n")


@contextlib.contextmanager
def thunderbird(profile: Path) -> Iterator[Thunderbird]:
    """With a profile of `make_profile`; it is quit at the end, and its files are then complete."""
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            raise MissingPackage(f"{program} is not installed: apt-get install {package}")
    port, home = free_port(), profile.parent / "home"
    home.mkdir(exist_ok=True)
    with (profile / "user.js").open("a") as preferences:
        preferences.write(f'user_pref("marionette.port", {port});\n')
    command = ["xvfb-run", "-a", "thunderbird", "--profile", str(profile), "--no-remote"]
    command += ["--marionette", "--remote-allow-system-access"]
    log = profile.parent / "thunderbird.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=os.environ | {"HOME": str(home)}, stdout=output, stderr=output, start_new_session=True
        )
    try:
        wait_until(lambda: _listens(port), what="Thunderbird to start", timeout=STARTING)
        with contextlib.closing(Thunderbird(port)) as client:
            yield client
            client.quit()
        process.wait(60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
