"""unbound: one process that serves the test zones, signed, and validates them (AD bit), with live changes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import dns.dnssec
import dns.dnssectypes
import dns.name
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec

from tests.peers.process import Process, free_port, peer_directory, program

HEAD = "$ORIGIN {zone}.\n$TTL 5\n@ IN SOA ns hostmaster {serial} 3600 600 86400 1\n@ IN NS ns\nns IN A 127.0.0.1\n"


def txt(value: str) -> str:
    """A TXT value as quoted strings of at most 255 octets."""
    return " ".join(f'"{value[i : i + 250]}"' for i in range(0, len(value), 250))


def mail_zone(records: str) -> str:
    """A zone whose mail host is on loopback, with the given further lines."""
    return f"@ IN MX 10 mx\nmx IN A 127.0.0.1\n{records}\n"


class Dns:
    """`zone(name, text)` sets a zone's records while running; every zone is signed and trusted, but those that `start`
    is told are `unsigned`, and the `bogus` ones, whose anchor belongs to another key."""

    def __init__(self, base: Path, standard: str = "") -> None:
        self._standard = f"  interface: {standard}@53\n" if standard else ""
        self.port = free_port()
        self.endpoint = f"127.0.0.1:{self.port}"
        self._base = base
        self._config = base / "unbound.conf"
        self._serial = 1
        self._keys: dict[str, tuple[ec.EllipticCurvePrivateKey, object]] = {}
        self._process: Process | None = None
        self._unsigned: Sequence[str] = ()
        self._bogus: Sequence[str] = ()

    def start(self, zones: Mapping[str, str], unsigned: Sequence[str] = (), bogus: Sequence[str] = ()) -> None:
        self._unsigned, self._bogus = unsigned, bogus
        anchors = [self._write(name, text) for name, text in zones.items()]
        (self._base / "anchors.ds").write_text("\n".join(anchors) + "\n")
        self._config.write_text(self._configuration(list(zones)))
        unbound = program("unbound", "unbound")
        self._process = Process([unbound, "-d", "-c", str(self._config)], self._base / "output")
        self._process.wait_port(self.port)

    def zone(self, name: str, text: str) -> None:
        self._serial += 1
        self._write(name, text)
        control = program("unbound-control", "unbound")
        for command in (["auth_zone_reload", name], ["flush_zone", name]):
            subprocess.run([control, "-c", str(self._config), *command], check=True, capture_output=True)

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP: it is silent until SIGCONT."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    def stop(self) -> None:
        if self._process:
            self._process.stop()

    def _write(self, name: str, text: str) -> str:
        zone = dns.zone.from_text(HEAD.format(zone=name, serial=self._serial) + text, f"{name}.", relativize=False)
        if name in self._unsigned:
            zone.to_file(str(self._base / f"{name}.zone"), relativize=False)
            return ""
        if name not in self._keys:
            key = ec.generate_private_key(ec.SECP256R1())
            dnskey = dns.dnssec.make_dnskey(key.public_key(), dns.dnssectypes.Algorithm.ECDSAP256SHA256, flags=257)
            self._keys[name] = key, dnskey
        key, dnskey = self._keys[name]  # type: ignore[assignment]  # of one kind
        with zone.writer() as writer:
            dns.dnssec.sign_zone(zone, txn=writer, keys=[(key, dnskey)], lifetime=30 * 86400, dnskey_ttl=5)
        zone.to_file(str(self._base / f"{name}.zone"), relativize=False)
        origin = dns.name.from_text(name)
        if name in self._bogus:
            other = ec.generate_private_key(ec.SECP256R1())
            dnskey = dns.dnssec.make_dnskey(other.public_key(), dns.dnssectypes.Algorithm.ECDSAP256SHA256, flags=257)
        ds = dns.dnssec.make_ds(origin, dnskey, dns.dnssectypes.DSDigest.SHA256, validating=False)
        return f"{name}. IN DS {ds.to_text()}"

    def _configuration(self, zones: list[str]) -> str:
        areas = "".join(
            f'auth-zone:\n  name: "{zone}."\n  zonefile: "{self._base}/{zone}.zone"\n  for-upstream: yes\n'
            "  for-downstream: no\n  fallback-enabled: no\n"
            for zone in zones
        )
        return f"""server:
  username: ""
  chroot: ""
  directory: "{self._base}"
  pidfile: "{self._base}/unbound.pid"
  use-syslog: no
  logfile: "{self._base}/log"
  do-daemonize: no
  num-threads: 1
  interface: 127.0.0.1
  port: {self.port}
{self._standard}  do-ip6: no
  access-control: 127.0.0.0/8 allow
  module-config: "validator iterator"
  trust-anchor-file: "{self._base}/anchors.ds"
  # both names have built-in empty local zones
  local-zone: "test." nodefault
  local-zone: "127.in-addr.arpa." nodefault
  # what is not a test zone fails at once instead of hanging
  local-zone: "com." always_nxdomain
  local-zone: "net." always_nxdomain
  local-zone: "org." always_nxdomain
  local-zone: "fr." always_nxdomain
  cache-max-ttl: 1
  cache-max-negative-ttl: 1
remote-control:
  control-enable: yes
  control-interface: "{self._base}/control"
  control-use-cert: no
{areas}"""


@contextlib.contextmanager
def unbound(
    zones: Mapping[str, str], unsigned: Sequence[str] = (), bogus: Sequence[str] = (), standard: str = ""
) -> Iterator[Dns]:
    """`standard`: an address at whose port 53 it answers, too."""
    with peer_directory("dns") as base:
        server = Dns(base, standard)
        try:
            server.start(zones, unsigned, bogus)
            yield server
        finally:
            server.stop()
