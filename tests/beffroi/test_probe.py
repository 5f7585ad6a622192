"""What `beffroi status` takes for an answer, and from whom it asks."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_network

import pytest

from beffroi import probe
from beffroi.probe import TONGUES, Answer
from beffroi.supervisor.sockets import FRONT_DOORS, WEB_DOORS

Serve = Callable[[socket.socket], object]


@contextmanager
def door(serve: Serve | None) -> Iterator[tuple[str, list[str]]]:
    """An address, and who came. None: the kernel alone accepts."""
    peers: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run() -> None:
            connection, peer = listening.accept()
            peers.append(peer[0])
            with connection:
                connection.settimeout(5)
                if serve is not None:
                    serve(connection)

        thread = threading.Thread(target=run) if serve else None
        if thread is not None:
            thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}", peers
        if thread is not None:
            thread.join(5)


def says(octets: bytes) -> Serve:
    return lambda connection: connection.sendall(octets)


def test_every_door_has_a_tongue() -> None:
    assert set(TONGUES) == {*FRONT_DOORS, *WEB_DOORS}


@pytest.mark.parametrize(
    ("role", "octets", "answer"),
    [
        ("mx", b"220 mx.dept.test ESMTP\r\n", Answer.ANSWERS),
        ("mx", b"421 4.7.0 too many connections\r\n", Answer.ANSWERS),
        ("mx", b"220 mx.dept.test without an end", Answer.HANGS),
        ("mx", b"* OK another protocol\r\n", Answer.HANGS),
        ("mx", b"220 " + b"x" * 5000, Answer.HANGS),
        ("imap", b"* OK [CAPABILITY IMAP4rev2] ready\r\n", Answer.ANSWERS),
        ("imap", b"* BYE [LIMIT] too many connections\r\n", Answer.ANSWERS),
        ("imap", b"", Answer.HANGS),
        ("imaps", b"* OK in clear text\r\n", Answer.HANGS),
        ("metrics", b"HTTP/1.1 404 Not Found\r\n\r\n", Answer.ANSWERS),
    ],
)
def test_what_is_an_answer(role: str, octets: bytes, answer: Answer) -> None:
    with door(says(octets)) as (endpoint, _):
        assert probe.probe(role, endpoint) is answer


@pytest.mark.parametrize("role", sorted(TONGUES))
def test_a_door_that_only_the_kernel_opens_hangs(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "ANSWER_TIMEOUT", 0.2)
    with door(None) as (endpoint, _):
        assert probe.probe(role, endpoint) is Answer.HANGS
    assert probe.probe(role, endpoint) is Answer.SILENT


def test_a_greeting_that_comes_by_drops_has_one_time_for_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "ANSWER_TIMEOUT", 0.3)
    enough = threading.Event()

    def drip(connection: socket.socket) -> None:
        while not enough.wait(0.05):
            connection.sendall(b"2")

    with door(drip) as (endpoint, _):
        assert probe.probe("mx", endpoint) is Answer.HANGS
        enough.set()


def test_nothing_is_said_before_the_greeting_and_nobody_s_limits_are_used() -> None:
    heard: list[bytes] = []

    def greet(connection: socket.socket) -> None:
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.sendall(b"220 mx ESMTP\r\n")
        heard.append(connection.recv(100))
        connection.sendall(b"221 bye\r\n")

    with door(greet) as (endpoint, peers):
        assert probe.probe("mx", endpoint) is Answer.ANSWERS
    assert heard == [b"QUIT\r\n"]
    assert int(peers[0].split(".")[1]) >= 128  # not 127.0.0.1, whose connections are counted


def test_behind_balancers_the_probe_speaks_for_itself() -> None:
    heard: list[bytes] = []

    def greet(connection: socket.socket) -> None:
        heard.append(connection.recv(100))
        connection.sendall(b"* OK ready\r\n")
        heard.append(connection.recv(100))

    with door(greet) as (endpoint, _):
        assert probe.probe("imap", endpoint, (ip_network("127.0.0.0/8"),)) is Answer.ANSWERS
    assert heard == [b"PROXY UNKNOWN\r\n", b"x LOGOUT\r\n"]
