"""Seeds and seeded mutations through every fuzz target: nothing raises what it did not promise, nothing is slow."""

from __future__ import annotations

import random

import pytest

from delivery.types import ResultKind
from imap.commands.table import TABLE
from tests.cost import cheap
from tests.fakes.mutation import mutated
from tests.fuzz import imap_seeds, smtp_client
from tests.fuzz.targets import TARGETS

ROUNDS = 300
TOKENS = [
    b"\r\n", b"\r", b"\n", b"\0", b"\xff", b"\xc3\xa9", b'"', b"\\", b"(", b")", b"<", b">", b"@", b",", b";", b"=",
    b"{4294967296}\r\n", b"{0+}\r\n", b"%", b"*", b"&", b"~", b"..", b"[", b"]", b"/", b":", b"+0A", b"\xed\xa0\x80",
]  # fmt: skip


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_mutations_of_seeds_are_harmless(name: str) -> None:
    target, dice = TARGETS[name], random.Random(name)
    for number in range(ROUNDS):
        data = dice.choice(target.seeds)
        data = mutated(dice, data, TOKENS) if number >= len(target.seeds) else target.seeds[number]
        with cheap(1.0, data[:200]):
            try:
                target.run(data)
            except Exception as error:
                raise AssertionError(f"{name}: {data!r}") from error


def test_every_imap_command_is_among_the_seeds() -> None:
    seeds = "\n".join(imap_seeds.COMMANDS).split("\n")
    missing = [name for name in TABLE if not any(line == name or line.startswith(name + " ") for line in seeds)]
    assert not missing


def test_seeds_of_the_client_reach_every_outcome() -> None:
    """A server that speaks before it is asked ends each session at its first word: then nothing is tried at all."""
    found = [smtp_client.outcomes(seed) for seed in smtp_client.SEEDS]
    assert found == [set(ResultKind), {ResultKind.DEFERRED}, set(ResultKind), set()]
