"""`beffroi app-password` and `beffroi share` as a user sees them."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from beffroi.rooms import open_directory
from core.address import parse
from core.config import load
from directory.types import Actor
from tests.beffroi.commands import Done, forked, initialise

pytestmark = pytest.mark.timeout(400)


async def populate(config: Path) -> None:
    """What other commands make, without a process for each."""
    async with open_directory(load(config)) as directory:
        console = Actor.console()
        organisation = await directory.add_organisation(console, "Brou")
        await directory.add_domain(console, "brou.test", organisation.id)
        await directory.add_account(console, parse("mairie@brou.test"), password=None, shared=True)
        await directory.add_account(console, parse("lea@brou.test"), password=None)


def test_a_shared_mailbox_and_a_copiers_password(tmp_path: Path) -> None:
    config = initialise(tmp_path / "data")
    asyncio.run(populate(config))

    def run(*arguments: str) -> Done:
        return forked("--config", str(config), *arguments)

    shared = run("--json", "share", "add", "mairie@brou.test", "lea@brou.test", "--rights", "read", "--send-as").json
    assert shared == {
        "owner": "mairie@brou.test",
        "grantee": "lea@brou.test",
        "rights": "lr",
        "send_as": True,
        "set_quota": False,
    }
    assert run("share", "list", "mairie@brou.test").out == "mairie@brou.test\tlea@brou.test\tlr\tTrue\tFalse\n"
    needs = run("share", "add", "mairie@brou.test", "lea@brou.test", "--rights", "read", "--set-quota")
    assert needs.refusal == "who may set a mailbox's quota needs the right to manage it"
    assert run("share", "add", "mairie@brou.test", "anyone", "--rights", "q").refusal.startswith("q: unknown right")
    assert run("share", "remove", "mairie@brou.test", "anyone").refusal == "this mailbox is not shared with them"
    made = run("--json", "app-password", "add", "lea@brou.test", "Copieur", "--scope", "send-only").json
    assert isinstance(made, dict)
    assert re.fullmatch("([0-9a-z]{5}-){4}[0-9a-z]{6}", str(made["password"]))
    listed = run("app-password", "list", "lea@brou.test")
    assert listed.out.startswith(f"{made['id']}\tCopieur\tsend-only\t\t")
    assert str(made["password"]) not in listed.out
    assert run("app-password", "remove", "lea@brou.test", str(made["id"])).code == 0
