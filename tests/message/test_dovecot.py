"""ENVELOPE, BODYSTRUCTURE and sections against Dovecot on the same octets (its imap program run alone, no daemon)."""

import os
import re
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from message import facts
from message.content import BytesContent
from message.parts import Text, Tree
from tests.message.samples import ODD, message
from tests.peers.process import MissingPackage, peer_directory

pytestmark = pytest.mark.interop
PROGRAM = Path("/usr/lib/dovecot/imap")
SECTIONS: list[tuple[bytes, tuple[int, ...], Text]] = [
    (b"BODY[HEADER]", (), Text.HEADER),
    (b"BODY[TEXT]", (), Text.TEXT),
    (b"BODY[1]", (1,), Text.CONTENT),
    (b"BODY[1.MIME]", (1,), Text.MIME),
    (b"BODY[2.MIME]", (2,), Text.MIME),
    (b"BODY[1.HEADER]", (1,), Text.HEADER),
    (b"BODY[1.TEXT]", (1,), Text.TEXT),
    (b"BODY[1.1]", (1, 1), Text.CONTENT),
    (b"BODY[2]", (2,), Text.CONTENT),
    (b"BODY[2.2]", (2, 2), Text.CONTENT),
    (b"BODY[1.1.1]", (1, 1, 1), Text.CONTENT),
]
Value = bytes | None | int | list["Value"]


def parse(data: bytes) -> list[Value]:
    """A FETCH answer as nested lists; names and numbers as they are, strings as bytes."""
    stack: list[list[Value]] = [[]]
    pattern = re.compile(rb'"((?:[^"\\]|\\.)*)"|\{(\d+)\}\r\n|([()])|(BODY\[[^\]]*\]|[^ ()"{]+)| +')
    at = 0
    while at < len(data):
        match = pattern.match(data, at)
        assert match is not None, data[at : at + 40]
        at = match.end()
        if match[1] is not None:
            stack[-1].append(re.sub(rb"\\(.)", rb"\1", match[1]))
        elif match[2] is not None:
            stack[-1].append(data[at : at + int(match[2])])
            at += int(match[2])
        elif match[3] == b"(":
            stack.append([])
        elif match[3] == b")":
            done = stack.pop()
            stack[-1].append(done)
        elif match[4] is not None:
            stack[-1].append(None if match[4] == b"NIL" else int(match[4]) if match[4].isdigit() else match[4])
    return stack[0]


class Oracle:
    def __init__(self, base: Path) -> None:
        self._base = base
        user, group = ("nobody", "nogroup") if os.getuid() == 0 else (str(os.getuid()), str(os.getgid()))
        (base / "dovecot.conf").write_text(
            f"base_dir={base}/run\nstate_dir={base}/run\nlog_path={base}/log\nmail_location=maildir:{base}/mail\n"
            f"first_valid_uid=0\nfirst_valid_gid=0\nssl=no\nprotocols=imap\nmail_uid={user}\nmail_gid={group}\n"
        )

    def fetch(self, messages: Sequence[bytes], items: bytes) -> list[list[Value]]:
        for number, data in enumerate(messages):
            folder = self._base / "mail" / "cur"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number:05}.a:2,S").write_bytes(data)
        for folder in (self._base / "mail" / "new", self._base / "mail" / "tmp", self._base / "run"):
            folder.mkdir(exist_ok=True)
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", "nobody:nogroup", str(self._base)], check=True)
        output = self._ask(b"a select inbox\r\nb fetch 1:* (%b)\r\n" % items)
        found = re.findall(rb"^\* \d+ FETCH (\(.*?\))\r\n(?=\* \d+ FETCH|b OK)", output, re.DOTALL | re.MULTILINE)
        assert len(found) == len(messages), output[-500:]
        lists = [parse(item)[0] for item in found]
        return [item for item in lists if isinstance(item, list)]

    def _ask(self, commands: bytes) -> bytes:
        """Standard input stays open until the answer is whole: Dovecot leaves as soon as it closes."""
        with subprocess.Popen(
            [str(PROGRAM), "-c", str(self._base / "dovecot.conf")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"USER": "nobody", "HOME": str(self._base)},
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(commands)
            process.stdin.flush()
            output, deadline = b"", time.monotonic() + 60
            while b"\r\nb OK" not in output[-200:] and time.monotonic() < deadline:
                if select.select([process.stdout], [], [], 1)[0]:
                    block = os.read(process.stdout.fileno(), 65536)
                    if not block:
                        break
                    output += block
            process.kill()
        return output


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    if not PROGRAM.exists():
        raise MissingPackage(f"{PROGRAM} is not installed: apt-get install dovecot-imapd")
    with peer_directory("dovecot") as base:
        yield Oracle(base)


def lowered(value: Value) -> Value:
    """Media types are compared without case; Dovecot keeps the sender's."""
    if isinstance(value, list):
        return [lowered(item) for item in value]
    return value.lower() if isinstance(value, bytes) else value


def test_the_same_summaries_structures_and_sections(oracle: Oracle) -> None:
    messages = [*ODD, *(message(seed) for seed in range(200))]
    items = b"ENVELOPE BODYSTRUCTURE BODY " + b" ".join(name.replace(b"[", b".PEEK[") for name, _, _ in SECTIONS)
    for data, answer in zip(messages, oracle.fetch(messages, items), strict=True):
        theirs = dict(zip(answer[::2], answer[1::2], strict=True))
        ours = facts.gather(BytesContent(data))
        assert parse(ours.envelope)[0] == theirs[b"ENVELOPE"], data
        assert lowered(parse(ours.bodystructure)[0]) == lowered(theirs[b"BODYSTRUCTURE"]), data
        assert lowered(parse(ours.body)[0]) == lowered(theirs[b"BODY"]), data
        tree = Tree.unpack(ours.parts)
        for name, path, text in SECTIONS:
            span = tree.section(path, text)
            if span is not None:  # for what is not there Dovecot sends something empty, or the part above it; we NIL
                assert data[slice(*span)] == (theirs[name] or b""), (name, data)
