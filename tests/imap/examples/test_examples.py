"""Every example of the RFCs that we claim, on the wire: the `.txt` files here are the table of them.

One file an RFC, one case an example; a case that is a test of its own names it, one that cannot be shown here says why.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from message.content import BytesContent
from store.service import MaildirStore, initialise
from store.types import AccountRef, Placement
from tests.fakes.imap_world import World
from tests.imap.examples.transcript import Case, Player, read

HERE = Path(__file__).parent
TESTS = HERE.parent.parent
CASES = [case for path in sorted(HERE.glob("rfc*.txt")) for case in read(path)]


@pytest.mark.parametrize("case", [c for c in CASES if c.playable], ids=lambda case: f"{case.rfc}: {case.title}")
async def test_rfc_example(case: Case, tmp_path: Path) -> None:
    initialise(tmp_path / "data")
    store = MaildirStore(tmp_path / "data")
    await store.open()
    try:
        async with World(store=store, quota=512 * 1024) as world:
            ref = AccountRef.of(world.alice)

            async def deliver(raw: bytes) -> None:
                async with await store.stage(b"", BytesContent(raw), first=ref) as staged:
                    await staged.deliver(ref, Placement())

            await Player(world, deliver).play(case)
    finally:
        await store.close()


def test_examples_that_are_tests_of_their_own_are_there() -> None:
    missing = []
    for case in CASES:
        for named in case.elsewhere:
            path, _, test = named.partition("::")
            if f"def {test}(" not in (TESTS / path).read_text("utf-8"):
                missing.append(f"{case.rfc} {case.title}: {named}")
    assert not missing
