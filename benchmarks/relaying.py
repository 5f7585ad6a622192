"""Submission to a remote sink over TLS: ours with a login and both signatures (RSA-2048, Ed25519), Postfix with
opendkim (RSA-2048) and no login. From the first connection until the sink has taken the last message."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import uvloop

from benchmarks.beffroi import ZONES
from benchmarks.figures import Figure, cpu_seconds
from benchmarks.load import message
from benchmarks.pair import DOMAIN, descendants
from tests.peers.dns import unbound
from tests.peers.postfix import postfix
from tests.peers.process import Process, peer_directory, program, wait_until
from tests.peers.suite import Settings, suite

PASSWORD = "les cloches du beffroi"
USER = f"u0@{DOMAIN}"
CONNECTIONS = 10
RUNS = ((1, 400, 1.2), (50, 1500, 0.8))  # messages a connection, messages, the ratio asked for


@contextlib.contextmanager
def sink() -> Iterator[tuple[int, Callable[[], int]]]:
    """Its port, and how many messages it has."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.sink"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    asking, answers = process.stdin, process.stdout
    assert asking
    assert answers

    def ask() -> int:
        asking.write("\n")
        asking.flush()
        return int(answers.readline())

    try:
        yield int(answers.readline()), ask
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Door:
    port: int
    login: bool
    pids: Callable[[], list[int]]


async def _reply(reader: asyncio.StreamReader, wanted: bytes) -> None:
    while True:
        line = await asyncio.wait_for(reader.readline(), 120)
        if line[3:4] != b"-":
            if not line.startswith(wanted):
                raise AssertionError(line)
            return


async def _session(door: Door, mails: list[bytes]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    await _reply(reader, b"220")
    for line, wanted in ((b"EHLO client.test", b"250"), (b"STARTTLS", b"220")):
        writer.write(line + b"\r\n")
        await _reply(reader, wanted)
    await writer.start_tls(context)
    writer.write(b"EHLO client.test\r\n")
    await _reply(reader, b"250")
    if door.login:
        writer.write(b"AUTH PLAIN " + base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()) + b"\r\n")
        await _reply(reader, b"235")
    for mail in mails:
        writer.write(f"MAIL FROM:<{USER}>\r\nRCPT TO:<x@far.test>\r\nDATA\r\n".encode())
        for wanted in (b"250", b"250", b"354"):
            await _reply(reader, wanted)
        writer.write(mail + b".\r\n")
        await _reply(reader, b"250")
    writer.write(b"QUIT\r\n")
    await _reply(reader, b"221")
    writer.close()


async def _submit(door: Door, count: int, each: int) -> None:
    mails = [message(4096, USER, "x@far.test", number) for number in range(count)]
    batches = [mails[start : start + each] for start in range(0, count, each)]

    async def worker() -> None:
        while batches:
            await _session(door, batches.pop())

    await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))


def measured(door: Door, taken: Callable[[], int], count: int, each: int) -> tuple[float, float]:
    """(messages a second until the last is at the sink, CPU ms per message)."""
    before, cpu = taken(), cpu_seconds(door.pids())
    begun = time.perf_counter()
    uvloop.run(_submit(door, count, each))
    deadline = time.monotonic() + 100
    while taken() - before < count:
        if time.monotonic() > deadline:
            raise AssertionError(f"the sink has {taken() - before} of {count}")
        time.sleep(0.02)
    return count / (time.perf_counter() - begun), (cpu_seconds(door.pids()) - cpu) / count * 1000


@contextlib.contextmanager
def signing() -> Iterator[tuple[str, int]]:
    """opendkim as a signing milter with an RSA-2048 key: its address and its process. At a UNIX-domain socket: over TCP
    each of a message's steps waits for a delayed acknowledgement (it took 3 times as long)."""
    with peer_directory("opendkim-signing") as base:
        door = base / "milter"
        key = base / "key.pem"
        subprocess.run(
            [program("openssl", "openssl"), "genrsa", "-out", str(key), "2048"], check=True, capture_output=True
        )
        key.chmod(0o600)
        (base / "conf").write_text(
            f"Mode s\nSyslog no\nSocket local:{door}\nUMask 000\nDomain {DOMAIN}\nSelector s1\nKeyFile {key}\n"
            "Canonicalization relaxed/relaxed\nBackground no\nInternalHosts 127.0.0.1\nRequireSafeKeys no\n"
        )
        process = Process([program("opendkim", "opendkim"), "-f", "-x", str(base / "conf")], base / "out")
        try:
            wait_until(door.exists, what="opendkim")
            yield f"unix:{door}", process.pid
        finally:
            process.stop()


@contextlib.contextmanager
def theirs(port: int) -> Iterator[Door]:
    with signing() as (milter, pid), postfix(DOMAIN, [], {"far.test": f"127.0.0.1:{port}"}, milters=milter) as box:
        master = int((box.base / "queue/pid/master.pid").read_text())
        yield Door(box.port, False, lambda: [*descendants({master}), pid])


@contextlib.contextmanager
def ours(port: int) -> Iterator[Door]:
    with unbound(ZONES) as dns:
        settings = Settings(dns.endpoint, routes={"*": f"127.0.0.1:{port}"})
        with suite(settings) as installation:
            installation.run("organisation", "add", "bench")
            installation.run("domain", "add", DOMAIN, "--organisation", "bench")
            installation.run("mailbox", "add", USER, "--password-stdin", stdin=PASSWORD)
            yield Door(installation.ports["submission"], True, lambda: descendants({installation.supervisor}))


def run() -> Iterator[Figure]:
    results: dict[str, list[tuple[float, float]]] = {}
    with sink() as (port, taken):
        for name, side in (("theirs", theirs), ("ours", ours)):
            with side(port) as door:
                measured(door, taken, 100, 10)  # warm
                results[name] = [measured(door, taken, count, each) for each, count, _ in RUNS]
    for (each, _, asked), mine, peer in zip(RUNS, results["ours"], results["theirs"], strict=True):
        words = "a connection each" if each == 1 else f"{each} a connection"
        rate, cpu = mine
        yield Figure(f"relaying: submission to a sink, {words}", rate, "msg/s", peer[0], f">= {asked}",
                     rate >= asked * peer[0])  # fmt: skip
        yield Figure(f"relaying: CPU per message, {words}", cpu, "ms", peer[1])
