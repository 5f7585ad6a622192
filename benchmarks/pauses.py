"""How long one client that asks for the heaviest things keeps others of its process waiting.

One front, one mailbox of 100,000 messages (the last of `BENCH_SIZES`), one client that asks and reads as fast as it
can, one that idles in the same mailbox and is told everything, and a neighbour elsewhere whose NOOPs are timed
(`prober`). What the machine itself adds to an answer counts as well.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from benchmarks import mailboxes
from benchmarks.figures import Figure, pss_kib
from benchmarks.imap import Client
from benchmarks.mail import FREQUENT
from benchmarks.mailboxes import EMPTY, SIZES
from benchmarks.pair import PASSWORD
from benchmarks.prober import Probes, corrected, probing, quantile
from benchmarks.reading import COMMANDS
from tests.peers.suite import Settings, Suite

SIZE = SIZES[-1]
BIG = 59_000_000  # octets of one message
DEAF = 20  # clients that ask for everything and do not read
P999, WORST = 0.050, 0.200  # seconds
SETTINGS = "[auth]\nplaintext_on_loopback = true\n"

Step = Callable[[Client], object]


def _either(keys: list[str]) -> str:
    """All of them under OR, as flat as that can be: nesting has a bound of its own."""
    while len(keys) > 1:
        keys = [f"OR {first} {second}" for first, second in zip(keys[::2], keys[1::2], strict=True)]
    return keys[0]


OR_KEYS = _either([f"SUBJECT zz{n}" for n in range(32)] + [f"KEYWORD zz{n}" for n in range(224)])
OR_NUMBERS = ",".join(str(number) for number in range(1, SIZE, max(1, SIZE // 9000)))


FRAGMENTS = 10_000  # numbers that are no neighbours: what fits into one command
ODD = [
    ",".join(str(number) for number in range(first, min(first + 2 * FRAGMENTS, SIZE), 2))
    for first in range(1, SIZE, 2 * FRAGMENTS)
]


def _fragments(client: Client) -> None:
    """Every second message, named in a few commands and then by "$" in one; the command's octets are bounded."""
    client.ask("CREATE Impairs")
    for numbers in ODD:
        client.ask(f"STORE {numbers} +FLAGS.SILENT (\\Answered)")
    client.ask("SEARCH RETURN (SAVE) ANSWERED")
    for command in (
        f"FETCH {ODD[-1]} (FLAGS)",
        f"UID FETCH {ODD[-1]} (UID)",
        f"SEARCH {ODD[-1]} SEEN",
        f"COPY {ODD[-1]} Impairs",
        f"MOVE {ODD[-1]} Impairs",
        "FETCH $ (FLAGS)",
        "STORE $ -FLAGS.SILENT (\\Answered)",
        "COPY $ Impairs",
    ):
        client.ask(command)


def _asking(*commands: str) -> Step:
    def step(client: Client) -> None:
        for command in commands:
            client.ask(command)

    return step


def _large(client: Client) -> None:
    line = b"Les pieces jointes des marches publics sont lourdes, elles aussi.\r\n"
    message = b"Subject: large\r\n\r\n" + line * (BIG // len(line))
    client.ask("CREATE Gros")
    client.ask(f"APPEND Gros {{{len(message)}+}}", message + b"\r\n")
    for command in (
        "SELECT Gros",
        "FETCH 1 BODY.PEEK[]",
        "FETCH 1 BINARY.PEEK[1]",
        "SEARCH TEXT absent",
        "COPY 1 Gros",
    ):
        client.ask(command)
    client.ask("SELECT INBOX")


def _compressed(client: Client) -> None:
    """From here to the end of the connection."""
    client.compress()
    _asking("SELECT Copie", COMMANDS["ENVELOPE and BODYSTRUCTURE"], "UID FETCH 1:20000 (BODY.PEEK[])")(client)


def _everything_anew(client: Client) -> None:
    client.ask("UNSELECT")
    client.ask("ENABLE QRESYNC")
    validity = re.search(rb"UIDVALIDITY (\d+)", client.ask("SELECT INBOX")[1])
    assert validity
    client.ask("UNSELECT")
    client.ask(f"SELECT INBOX (QRESYNC ({int(validity[1])} 1))")


STEPS: dict[str, Step] = {
    "SELECT": _asking("SELECT INBOX"),
    "FETCH FLAGS": _asking("FETCH 1:* (FLAGS)"),
    "FETCH ENVELOPE BODYSTRUCTURE": _asking(COMMANDS["ENVELOPE and BODYSTRUCTURE"]),
    "FETCH of header fields": _asking(COMMANDS["Thunderbird's header fields"]),
    "FETCH BODY[]": _asking("UID FETCH 1:20000 (BODY.PEEK[])"),
    "FETCH of all fields but one": _asking("UID FETCH 1:20000 (BODY.PEEK[HEADER.FIELDS.NOT (Date)])"),
    "SEARCH TEXT, frequent": _asking(f"SEARCH TEXT {FREQUENT}", f"SEARCH NOT BODY {FREQUENT}"),
    "SEARCH of hundreds of keys": _asking(f"SEARCH {OR_KEYS}", f"UID SEARCH UID {OR_NUMBERS}"),
    "SEARCH of fields": _asking("SEARCH FROM agent7", "SEARCH HEADER X-Priority 1", "SEARCH LARGER 3000 UNSEEN"),
    "ESEARCH SAVE": _asking("UID SEARCH RETURN (SAVE COUNT) NOT 5", "FETCH $ (FLAGS)", "SEARCH RETURN (ALL) NOT $"),
    "SORT": _asking("SORT (DATE) UTF-8 ALL", "SORT (SUBJECT) UTF-8 ALL", "SORT (REVERSE FROM SIZE) UTF-8 SEEN"),
    "THREAD": _asking("THREAD REFERENCES UTF-8 ALL", "THREAD ORDEREDSUBJECT UTF-8 ALL"),
    "one message of 59 MB": _large,
    "STORE": _asking("STORE 1:* +FLAGS (\\Flagged)", "STORE 1:* FLAGS (\\Seen $Important)"),
    "COPY": _asking("CREATE Copie", "COPY 1:* Copie"),
    "sets of thousands of fragments": _fragments,
    "STATUS, LIST": _asking('LIST "" "*" RETURN (STATUS (MESSAGES UNSEEN SIZE DELETED))'),
    "EXPUNGE of half": _asking(f"STORE 1:{SIZE // 2} +FLAGS.SILENT (\\Deleted)", "EXPUNGE"),
    "MOVE of the rest": _asking("CREATE Ailleurs", "MOVE 1:* Ailleurs", "UNSELECT"),
    "FETCH, compressed": _compressed,
    "QRESYNC of everything": _everything_anew,
    "DELETE": _asking("UNSELECT", "DELETE Ailleurs", "DELETE Copie"),
}


class _Idler(threading.Thread):
    """Idles in the mailbox, reads what it is told."""

    def __init__(self, port: int, user: str) -> None:
        super().__init__(daemon=True)
        self._socket = ssl._create_unverified_context().wrap_socket(socket.create_connection(("127.0.0.1", port)))
        self._socket.sendall(f'a LOGIN "{user}" {PASSWORD}\r\nb SELECT INBOX\r\nc IDLE\r\n'.encode())

    def run(self) -> None:
        try:
            while self._socket.recv(1 << 18):
                pass
        except OSError:
            return


def _memory_of_the_deaf(installation: Suite, user: str) -> float:
    """KiB of growth for each client that asks for everything and reads nothing."""
    fronts = installation.workers("front")
    before, deaf = pss_kib(fronts), []
    for _ in range(DEAF):
        raw = socket.create_connection(("127.0.0.1", installation.ports["imaps"]))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock = ssl._create_unverified_context().wrap_socket(raw)
        sock.sendall(f'a LOGIN "{user}" {PASSWORD}\r\nb SELECT INBOX\r\nc FETCH 1:* (BODY.PEEK[])\r\n'.encode())
        sock.sendall(b"d UID SEARCH ALL\r\ne FETCH 1:* (ENVELOPE)\r\n")
        deaf.append(sock)
    time.sleep(10)
    growth = pss_kib(fronts) - before
    for sock in deaf:
        sock.close()
    return growth / DEAF


def _run(installation: Suite) -> Iterator[Figure]:
    user, secure = mailboxes.user(SIZE), installation.ports["imaps"]
    times: dict[str, tuple[float, float]] = {}
    with probing(installation.ports["imap"], EMPTY, PASSWORD) as probes:
        _Idler(secure, user).start()
        client = Client(secure, user)
        for name, step in STEPS.items():
            start = time.perf_counter()
            step(client)
            times[name] = start, time.perf_counter()
            time.sleep(0.3)  # the idler's
    for name, (start, end) in times.items():
        yield _pause(name, probes, start, end + 0.3)
    ascending = corrected([seconds for _, seconds in probes.samples])
    worst, p999 = ascending[-1], quantile(ascending, 0.999)
    yield Figure("pause of the loop, p99.9", p999 * 1000, "ms", target="<= 50 ms", met=p999 <= P999)
    yield Figure("pause of the loop, maximum", worst * 1000, "ms", target="<= 200 ms", met=worst <= WORST)


def _pause(name: str, probes: Probes, start: float, end: float) -> Figure:
    worst = max(probes.during(start, end), default=0.0)
    return Figure(f"longest pause, {name} ({end - start:.1f} s)", worst * 1000, "ms")


def run() -> Iterable[Figure]:
    with mailboxes.ours(Settings("127.0.0.1:9", workers=1, extra=SETTINGS)) as installation:
        growth = _memory_of_the_deaf(installation, mailboxes.user(SIZE))
        yield Figure("memory of a client that does not read", growth, "KiB")
        yield from _run(installation)
