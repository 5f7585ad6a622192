"""rspamd with its Redis, private configuration, no outside network, DNS from the test's unbound."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.peers.process import MissingPackage, Process, children, free_ports, peer_directory, program

# Modules that would ask the Internet, or need what is not here.
OFF = (
    "fuzzy_check asn rspamd_update phishing rbl surbl greylist neural mx_check url_redirector p0f reputation elastic "
    "clickhouse metric_exporter"
).split()
STOCK = Path("/etc/rspamd")


class Rspamd:
    def __init__(self, base: Path, dns_port: int) -> None:
        self.port, self.controller, self.redis = free_ports(3)
        self.url = f"http://127.0.0.1:{self.port}"
        self.controller_url = f"http://127.0.0.1:{self.controller}"
        self.password = "controller"
        self._base, self._dns_port = base, dns_port
        self._redis: Process | None = None
        self._scanner: Process | None = None

    def start(self) -> None:
        if not STOCK.is_dir():
            raise MissingPackage("rspamd is not installed: apt-get install rspamd")
        shutil.copytree(STOCK, self._base / "etc", dirs_exist_ok=True)
        for name in ("run", "db", "log", "redis"):
            (self._base / name).mkdir()
        self._no_outside_maps()
        self._write_local()
        for name in ("etc", "run", "db", "log"):
            for path in (self._base / name, *(self._base / name).rglob("*")):
                shutil.chown(path, "_rspamd", "_rspamd")
        self._start_redis()
        self.up()

    def up(self) -> None:
        """Start rspamd itself, at first or after `down`, on the same port."""
        variables = {"CONFDIR": "etc", "LOCAL_CONFDIR": "etc", "DBDIR": "db", "RUNDIR": "run", "LOGDIR": "log"}
        command = [program("rspamd", "rspamd"), "-f", "-u", "_rspamd", "-g", "_rspamd"]
        command += ["-p", str(self._base / "run/pid"), "-c", str(self._base / "etc/rspamd.conf")]
        command += [f"--var={key}={self._base / folder}" for key, folder in variables.items()]
        self._scanner = Process(command, self._base / "log" / "output")
        self._scanner.wait_port(self.port)
        self._scanner.wait_port(self.controller)

    def down(self) -> None:
        """End rspamd, so that its port refuses connections; Redis stays."""
        if self._scanner:
            self._scanner.stop()
            self._scanner = None

    def signal(self, number: signal.Signals) -> None:
        """To its main process and its workers (SIGSTOP: the kernel still accepts connections, nobody answers)."""
        assert self._scanner is not None
        for pid in (self._scanner.pid, *children(self._scanner.pid)):
            os.kill(pid, number)

    def stop(self) -> None:
        self.down()
        if self._redis:
            self._redis.stop()

    def check(self, message: bytes, headers: Mapping[str, str]) -> dict[str, object]:
        """What rspamd itself thinks of a message: an independent judge of our signatures."""
        request = urllib.request.Request(f"{self.url}/checkv2", message, dict(headers))
        with urllib.request.urlopen(request, timeout=30) as response:
            return dict(json.load(response))

    def lose_redis(self) -> None:
        """-9, with all it held; `find_redis` brings an empty one."""
        assert self._redis is not None
        self._redis.stop(signal.SIGKILL)

    def find_redis(self) -> None:
        self._start_redis()

    def _start_redis(self) -> None:
        command = [program("redis-server", "redis-server"), "--bind", "127.0.0.1", "--port", str(self.redis)]
        command += ["--dir", str(self._base / "redis"), "--save", "", "--appendonly", "no"]
        self._redis = Process(command, self._base / "redis" / "output")
        self._redis.wait_port(self.redis)

    def _no_outside_maps(self) -> None:
        for path in (self._base / "etc/modules.d").glob("*.conf"):
            text = path.read_text()
            text = re.sub(r'(?m)^\s*"[a-z;+]*https?://[^"]*",?\s*$', "", text)
            text = text.replace("fallback+file:", "file:")
            text = re.sub(r'"https?://maps\.[^"]*"', '"/dev/null"', text)
            text = re.sub(r"(?m)^(\s*openphish_map).*", r'\1 = "/dev/null";', text)
            path.write_text(text)

    def _write_local(self) -> None:
        local = self._base / "etc/local.d"
        # the full suffix list costs 7 s of compilation at a cold start
        (self._base / "etc/tld.dat").write_text("com\nnet\norg\ntest\nfr\n")
        for module in OFF:
            (local / f"{module}.conf").write_text("enabled = false;\n")
        (local / "options.inc").write_text(
            f'dns {{ nameserver = ["127.0.0.1:{self._dns_port}"]; timeout = 1s; retransmits = 2; }}\n'
            # loopback senders would otherwise skip SPF, DKIM and DMARC
            "check_local = true;\nlocal_addrs = [];\nmap_watch_interval = 60min;\n"
            # every test pattern counts, also those that ask for a lesser action than reject
            'rrd = "";\ndisable_hyperscan = true;\nenable_test_patterns = true;\n'
            f'tempdir = "{self._base}/run";\nurl_tld = "{self._base}/etc/tld.dat";\n'
        )
        (local / "redis.conf").write_text(f'servers = "127.0.0.1:{self.redis}";\n')
        (local / "logging.inc").write_text(f'type = "file";\nfilename = "{self._base}/log/rspamd.log";\n')
        (local / "worker-normal.inc").write_text(f'bind_socket = "127.0.0.1:{self.port}";\ncount = 1;\n')
        (local / "worker-proxy.inc").write_text("enabled = false;\n")
        (local / "worker-controller.inc").write_text(
            f'bind_socket = "127.0.0.1:{self.controller}";\ncount = 1;\npassword = "{self.password}";\n'
            f'enable_password = "{self.password}";\nsecure_ip = [];\n'
        )
        (local / "classifier-bayes.conf").write_text(
            f'backend = "redis";\nservers = "127.0.0.1:{self.redis}";\nmin_learns = 2;\n'
            "min_tokens = 3;\nautolearn = false;\n"
        )


@contextlib.contextmanager
def rspamd(dns_port: int) -> Iterator[Rspamd]:
    with peer_directory("rspamd") as base:
        server = Rspamd(base, dns_port)
        try:
            server.start()
            yield server
        finally:
            server.stop()
