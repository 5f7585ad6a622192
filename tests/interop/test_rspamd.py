"""rspamd's word on the wire: reject, Junk with its marks, and what happens while it is away."""

from __future__ import annotations

import re
import signal

import pytest

from tests.interop.conftest import AUBIN, World
from tests.interop.mail import JUNK as JUNK_FOLDER
from tests.interop.mail import await_mark, body, find, marked, parsed
from tests.interop.wire import READER, SENDER, on_disk, smtp, sound, submission, transmit
from tests.peers.process import wait_until

pytestmark = pytest.mark.interop

GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"
# rspamd's own sibling of GTUBE: it asks for "add header" instead of "reject".
JUNK = b"YJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"


def answer_to(world: World, raw: bytes, recipient: str = READER) -> str:
    with smtp(world) as talk:
        talk.envelope(SENDER, recipient)
        talk.send(transmit(raw))
        return talk.reply()


def test_gtube_is_refused_with_554_5_7_1_and_reaches_nobody(world: World) -> None:
    message = marked(SENDER, READER)
    assert answer_to(world, message.raw + GTUBE).startswith("554 5.7.1 ")
    assert on_disk(world, message.mark) == 0
    sound(world)


def test_gtube_for_the_postmaster_is_heard_all_the_same(world: World) -> None:
    """h056: never content-rejected; an alias leads postmaster's mail to a person, who finds it in Junk."""
    world.suite.api("POST", "/aliases", {"address": f"postmaster@{AUBIN}", "targets": [f"maire@{AUBIN}"]})
    message = marked(SENDER, f"postmaster@{AUBIN}")
    assert answer_to(world, message.raw + GTUBE, f"postmaster@{AUBIN}").startswith("250 2.")
    await_mark(world, f"maire@{AUBIN}", message.mark, JUNK_FOLDER)


def test_what_rspamd_calls_spam_lands_in_junk_with_its_marks(world: World) -> None:
    message = marked(SENDER, READER, extra="X-Spam-Status: No\r\nX-Spam-Flag: NO\r\n")
    assert answer_to(world, message.raw + JUNK).startswith("250 2.")
    raw = await_mark(world, READER, message.mark, JUNK_FOLDER)
    assert not find(world, READER, message.mark)
    assert body(raw) == body(message.raw + JUNK)
    head = parsed(raw)
    assert head.get_all("X-Spam-Flag") == ["YES"]  # h084: the sender's own claim is gone
    spam_fields = {name: str(value) for name, value in head.items() if name.lower().startswith("x-spam")}
    assert "NO" not in [value.upper() for value in spam_fields.values()]
    assert re.search(r"GTUBE", raw.decode(errors="replace").partition("\r\n\r\n")[0]), spam_fields


def test_f160_a_hanging_rspamd_delays_its_message_only(world: World) -> None:
    """SIGSTOP: connections are accepted by the kernel, nothing answers. The message under way waits for its time
    limit or for rspamd's return; IMAP and submission go on."""
    message = marked(SENDER, READER)
    world.rspamd.signal(signal.SIGSTOP)
    try:
        with smtp(world) as waiting:
            waiting.envelope(SENDER, READER)
            waiting.send(transmit(message.raw))
            own = marked(READER, READER)
            with submission(world, READER) as talk:
                talk.envelope(READER, READER)
                talk.send(transmit(own.raw))
                assert talk.reply().startswith("250 2.")
            await_mark(world, READER, own.mark)
            assert on_disk(world, message.mark) == 0
            world.rspamd.signal(signal.SIGCONT)
            assert waiting.reply().startswith("250 2.")
    finally:
        world.rspamd.signal(signal.SIGCONT)
    assert body(await_mark(world, READER, message.mark)) == body(message.raw)
    sound(world)


def scanned(world: World) -> bool:
    return answer_to(world, marked(SENDER, READER).raw).startswith("250 2.")


def test_f160_while_rspamd_is_away_mail_is_deferred_and_nothing_delivered_then_it_comes_back(world: World) -> None:
    """Its processes are killed (refused connections), then it is started again on the same port."""
    world.rspamd.down()
    message = marked(SENDER, READER)
    try:
        for _ in range(6):  # past the breaker's threshold: the answer stays the same
            assert answer_to(world, message.raw).startswith("451 4.7.1 ")
        assert on_disk(world, message.mark) == 0
    finally:
        world.rspamd.up()
    # Each front has a breaker of its own, which rests for ten seconds: several connections meet them all.
    wait_until(lambda: all(scanned(world) for _ in range(6)), timeout=60, what="mail to be scanned again")
    assert answer_to(world, message.raw).startswith("250 2.")
    raw = await_mark(world, READER, message.mark)
    assert body(raw) == body(message.raw)
    assert on_disk(world, message.mark) == 1
    sound(world)


def test_f162_when_rspamd_loses_its_redis_mail_goes_on_and_nothing_is_lost(world: World) -> None:
    """What lived in Redis is gone, first the server, then what it held: nothing durable of ours does."""
    message, after = marked(SENDER, READER), marked(SENDER, READER)
    world.rspamd.lose_redis()
    try:
        answer = answer_to(world, message.raw)
        assert answer.startswith(("250 2.", "451 4.7.1 ")), answer
    finally:
        world.rspamd.find_redis()
    if answer.startswith("451"):
        assert on_disk(world, message.mark) == 0
        wait_until(lambda: answer_to(world, message.raw).startswith("250 2."), timeout=60, what="the message to pass")
    assert body(await_mark(world, READER, message.mark)) == body(message.raw)
    assert on_disk(world, message.mark) == 1
    assert answer_to(world, after.raw).startswith("250 2.")
    sound(world)
