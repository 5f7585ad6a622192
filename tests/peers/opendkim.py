"""opendkim as a verifying milter behind Postfix: what a stranger's server says of our signatures.

It can only be pointed at a name server on port 53, so the keys reach it through its own test file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.peers.process import Process, free_port, peer_directory, program


class OpenDkim:
    def __init__(self, base: Path) -> None:
        self._port = free_port()
        self.milter = f"inet:127.0.0.1:{self._port}"
        self._keys = base / "keys"
        self._published: dict[str, str] = {}
        self._config = base / "opendkim.conf"
        self._process: Process | None = None

    def start(self) -> None:
        self._keys.write_text("")
        self._config.write_text(
            f"Mode v\nSyslog no\nSocket inet:{self._port}@127.0.0.1\nTestPublicKeys {self._keys}\n"
            "AuthservID verifier.test\nAlwaysAddARHeader yes\nBackground no\nInternalHosts 192.0.2.1\n"
        )
        command = [program("opendkim", "opendkim"), "-f", "-x", str(self._config)]
        self._process = Process(command, self._config.with_suffix(".out"))
        self._process.wait_port(self._port)

    def publish(self, keys: Mapping[str, str]) -> None:
        """Add `selector._domainkey.domain` > TXT value."""
        self._published |= keys
        self._keys.write_text("".join(f"{name} {value}\n" for name, value in self._published.items()))

    def stop(self) -> None:
        if self._process:
            self._process.stop()


@contextlib.contextmanager
def opendkim() -> Iterator[OpenDkim]:
    with peer_directory("opendkim") as base:
        server = OpenDkim(base)
        try:
            server.start()
            yield server
        finally:
            server.stop()
