"""The resolver against a server on loopback: answers, cache, coalescing, truncation, trust, faults."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import replace

import dns.flags
import dns.message
import dns.rcode
import pytest

from core.clock import ManualClock
from core.dns import CROWDED, DnsResolver, askable
from core.dns_cache import DnsCache
from core.resolver import Answer, Mx, Outcome, Srv, Tlsa
from tests.fakes.dns_server import DnsServer, answering


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def test_each_type_answers_in_our_words(clock: ManualClock) -> None:
    table = {
        "TXT": 'x.test. 60 TXT "v=spf1 " "-all"',
        "A": "x.test. 60 A 192.0.2.1",
        "AAAA": "x.test. 60 AAAA 2001:db8::1",
        "MX": "x.test. 60 MX 10 Mail.X.test.",
        "TLSA": "x.test. 60 TLSA 3 1 1 " + "ab" * 32,
        "SRV": "x.test. 60 SRV 0 1 993 Mail.X.test.",
    }

    def answer(question: dns.message.Message, tcp: bool) -> dns.message.Message:
        kind = question.question[0].rdtype.name
        if kind == "PTR":
            return answering(f"{question.question[0].name} 60 PTR Host.X.test.")(question, tcp)
        return answering(table[kind])(question, tcp)

    async with DnsServer(answer) as server:
        resolver = DnsResolver([server.address], 5, clock)
        assert (await resolver.txt("x.test")).records == (b"v=spf1 -all",)
        assert (await resolver.a("X.test.")).records == ("192.0.2.1",)
        assert (await resolver.aaaa("x.test")).records == ("2001:db8::1",)
        assert (await resolver.mx("x.test")).records == (Mx(10, "mail.x.test"),)
        assert (await resolver.ptr("192.0.2.1")).records == ("host.x.test",)
        assert (await resolver.tlsa("x.test")).records == (Tlsa(3, 1, 1, b"\xab" * 32),)
        assert (await resolver.srv("x.test")).records == (Srv(0, 1, 993, "mail.x.test"),)
        assert ("1.2.0.192.in-addr.arpa", "PTR", False) in server.questions


async def test_null_mx_is_an_empty_host(clock: ManualClock) -> None:
    async with DnsServer(answering("x.test. 60 MX 0 .")) as server:
        assert (await DnsResolver([server.address], 5, clock).mx("x.test")).records == (Mx(0, ""),)


async def test_absent_type_is_empty_and_absent_name_is_nxdomain(clock: ManualClock) -> None:
    async with DnsServer(answering()) as server:
        assert (await DnsResolver([server.address], 5, clock).a("x.test")).outcome is Outcome.EMPTY
    async with DnsServer(answering(rcode=dns.rcode.NXDOMAIN)) as server:
        assert (await DnsResolver([server.address], 5, clock).a("x.test")).outcome is Outcome.NXDOMAIN


async def test_cname_is_followed_inside_the_answer(clock: ManualClock) -> None:
    async with DnsServer(answering("x.test. 60 CNAME y.test.", "y.test. 60 A 192.0.2.7")) as server:
        assert (await DnsResolver([server.address], 5, clock).a("x.test")).records == ("192.0.2.7",)


async def test_h074_a_chain_of_more_than_eight_cnames_fails(clock: ManualClock) -> None:
    for links, outcome in ((8, Outcome.OK), (9, Outcome.FAILED)):
        chain = [f"x{'y' * n}.test. 60 CNAME x{'y' * (n + 1)}.test." for n in range(links)]
        answer = answering(*chain, f"x{'y' * links}.test. 60 A 192.0.2.7")
        async with DnsServer(answer) as server:
            assert (await DnsResolver([server.address], 5, clock).a("x.test")).outcome is outcome


async def test_ttl_is_honoured_between_five_seconds_and_an_hour(clock: ManualClock) -> None:
    for ttl, lives, gone in ((0, 4.4, 5.1), (60, 53, 61), (10**6, 3239, 3601)):
        async with DnsServer(answering(f"x.test. {ttl} A 192.0.2.1")) as server:
            resolver = DnsResolver([server.address], 5, clock)
            start = clock.monotonic()
            for at, questions in ((0.0, 1), (lives, 1), (gone, 2)):
                clock.ticks = start + at
                await resolver.a("x.test")
                assert len(server.questions) == questions, (ttl, at)


async def _quiet(resolver: DnsResolver) -> None:
    async with asyncio.timeout(10):
        while resolver._pending:
            await asyncio.sleep(0.001)


async def test_what_is_asked_for_often_is_asked_again_before_it_is_gone(clock: ManualClock) -> None:
    """Every message of a busy sender would else wait for the same question each time its TTL is over."""
    async with DnsServer(answering("x.test. 60 A 192.0.2.1")) as server:
        resolver = DnsResolver([server.address], 5, clock)
        start = clock.monotonic()
        await resolver.a("x.test")
        for at, questions in ((53.9, 1), (54.1, 2), (61.0, 2), (108.0, 2), (108.2, 3)):
            clock.ticks = start + at
            for _ in range(3):
                assert (await resolver.a("x.test")).records == ("192.0.2.1",)
            assert len(resolver._pending) <= 1
            await _quiet(resolver)
            assert len(server.questions) == questions, at


async def test_f161_an_answer_that_cannot_be_had_again_is_good_to_its_end(clock: ManualClock) -> None:
    async with DnsServer(answering("x.test. 60 A 192.0.2.1")) as server:
        resolver = DnsResolver([server.address], 5, clock)
        start = clock.monotonic()
        await resolver.a("x.test")
        server.answer = answering(rcode=dns.rcode.SERVFAIL)
        for at, outcome, questions in ((55.0, Outcome.OK, 2), (59.0, Outcome.OK, 2), (60.1, Outcome.FAILED, 3)):
            clock.ticks = start + at
            assert (await resolver.a("x.test")).outcome is outcome
            await _quiet(resolver)
            assert len(server.questions) == questions, at


async def test_absence_is_kept_too(clock: ManualClock) -> None:
    async with DnsServer(answering(rcode=dns.rcode.NXDOMAIN)) as server:
        resolver = DnsResolver([server.address], 5, clock)
        for _ in range(3):
            assert (await resolver.txt("x.test")).outcome is Outcome.NXDOMAIN
        assert len(server.questions) == 1


def test_an_answer_tells_until_when_nobody_need_ask(clock: ManualClock) -> None:
    cache = DnsCache(clock)
    cache.put(("x.test", "A"), Answer(Outcome.OK, ("192.0.2.1",)), 100, 100)
    answer = cache.get(("x.test", "A"))
    assert answer is not None
    clock.advance(answer.until - clock.monotonic() - 1)
    assert cache.asked(("x.test", "A")) == (answer, False)
    clock.advance(1)
    assert cache.asked(("x.test", "A")) == (answer, True)


def test_cache_is_bounded_in_entries_and_octets(clock: ManualClock) -> None:
    cache = DnsCache(clock, entries=3, octets=1000)
    for n in range(4):
        cache.put((f"{n}.test", "A"), Answer(Outcome.OK, (str(n),)), 60, 100)
        assert cache.get(("0.test", "A")) is not None or n == 3 or n == 0
    assert len(cache) == 3
    assert cache.get(("0.test", "A")) is not None, "the least recently used one leaves, and 0 was just used"
    assert cache.get(("1.test", "A")) is None
    cache.put(("big.test", "A"), Answer(Outcome.OK), 60, 900)
    assert len(cache) == 2
    cache.put(("huge.test", "A"), Answer(Outcome.OK), 60, 1001)
    assert len(cache) == 0


async def test_equal_questions_under_way_are_asked_once_and_survive_one_caller_leaving(clock: ManualClock) -> None:
    release = asyncio.Event()
    held: list[tuple[DnsServer, bytes]] = []

    class Holding(DnsServer):
        def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
            async def later() -> None:
                await release.wait()
                DnsServer.datagram_received(self, data, peer)

            held.append((self, data))
            self.task = asyncio.create_task(later())

    async with Holding(answering("x.test. 60 A 192.0.2.1")) as server:
        resolver = DnsResolver([server.address], 5, clock)
        callers = [asyncio.create_task(resolver.a("x.test")) for _ in range(10)]
        while not held:
            await asyncio.sleep(0.001)
        callers[0].cancel()
        release.set()
        answers = await asyncio.gather(*callers[1:])
        assert {answer.records for answer in answers} == {("192.0.2.1",)}
        assert len(server.questions) == 1
        assert callers[0].cancelled()


async def test_a_burst_waits_its_turn_and_every_question_is_answered(clock: ManualClock) -> None:
    def answer(question: dns.message.Message, tcp: bool) -> dns.message.Message:
        return answering(f"{question.question[0].name} 60 A 192.0.2.1")(question, tcp)

    async with DnsServer(answer) as server:
        resolver = DnsResolver([server.address], 30, clock)
        answers = await asyncio.gather(*(resolver.a(f"n{n}.test") for n in range(400)))
        assert {item.outcome for item in answers} == {Outcome.OK}
        asked = [name for name, *_ in server.questions if name != "localhost"]  # that is a doubt of a busy machine
        assert len(asked) == 400, "none was asked twice for want of patience"


async def test_h089_names_that_never_answer_hold_up_no_others(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys of ten signatures a message, all where nobody answers: the question about the author gets its place."""
    monkeypatch.setattr("core.dns.CONCURRENT", 4)
    monkeypatch.setattr("core.dns.SLOW", 0.05)

    class Deaf(DnsServer):
        def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
            if b"slow" not in data:
                super().datagram_received(data, peer)

    async with Deaf(answering("_dmarc.x.test. 60 TXT v=DMARC1")) as server:
        resolver = DnsResolver([server.address], 2, clock)
        waiting = [asyncio.create_task(resolver.txt(f"k{n}.slow.test")) for n in range(16)]
        await asyncio.sleep(0)
        assert (await resolver.txt("_dmarc.x.test")).records == (b"v=DMARC1",)
        assert not any(task.done() for task in waiting)
        await resolver.close()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_h089_names_that_answer_late_hold_up_no_others(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each late answer counted as one of a resolver that has too much to do, whatever else it answered at once."""
    monkeypatch.setattr("core.dns.CONCURRENT", 4)
    monkeypatch.setattr("core.dns.SLOW", 0.1)

    class Late(DnsServer):
        def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
            delay = 0.12 if b"late" in data else 3 if b"slow" in data else 0
            asyncio.get_running_loop().call_later(delay, super().datagram_received, data, peer)

    def answer(question: dns.message.Message, tcp: bool) -> dns.message.Message:
        return answering(f"{question.question[0].name} 60 TXT v=DMARC1")(question, tcp)

    async with Late(answer) as server:
        resolver = DnsResolver([server.address], 2, clock)
        assert (await resolver.txt("k.late.test")).outcome is Outcome.OK
        waiting = [asyncio.create_task(resolver.txt(f"k{n}.slow.test")) for n in range(12)]
        await asyncio.sleep(0)
        assert (await resolver.txt("_dmarc.x.test")).records == (b"v=DMARC1",)
        assert not any(task.done() for task in waiting)
        await resolver.close()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_h089_a_resolver_that_is_slow_itself_is_not_asked_more_and_more(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.dns.CONCURRENT", 4)
    monkeypatch.setattr("core.dns.SLOW", 0.1)
    heard: set[bytes] = set()

    class Busy(DnsServer):
        def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
            heard.add(data[12:])

    async with Busy(answering()) as server:
        resolver = DnsResolver([server.address], 120, clock)
        asked = [asyncio.create_task(resolver.txt(f"k{n}.x.test")) for n in range(40)]
        async with asyncio.timeout(20):
            while not any(b"localhost" in data for data in heard):  # they are slow by now, and it is asked why
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert len({data for data in heard if b"localhost" not in data}) == 4
        await resolver.close()
        await asyncio.gather(*asked, return_exceptions=True)


async def test_h089_all_who_doubt_at_once_ask_once_whether_the_resolver_is_there(clock: ManualClock) -> None:
    class Deaf(DnsServer):
        def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
            if b"slow" not in data:
                super().datagram_received(data, peer)

    async with Deaf(answering(rcode=dns.rcode.NXDOMAIN)) as server:
        resolver = DnsResolver([server.address], 0.4, clock)
        await asyncio.gather(*(resolver.txt(f"k{n}.slow.test") for n in range(50)))
        assert [name for name, *_ in server.questions].count("localhost") <= 4
        assert (await resolver.txt("x.test")).outcome is Outcome.NXDOMAIN


async def test_questions_on_the_wire_are_bounded_slow_ones_too(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.dns.MOST", 5)
    monkeypatch.setattr("core.dns.SLOW", 0.01)
    heard: set[bytes] = set()

    class Deaf(DnsServer):
        def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
            heard.add(data[12:])

    async with Deaf(answering()) as server:
        resolver = DnsResolver([server.address], 0.4, clock)
        answers = await asyncio.gather(*(resolver.txt(f"k{n}.slow.test") for n in range(20)))
    assert {answer.outcome for answer in answers} == {Outcome.FAILED}
    assert len(heard - {data for data in heard if b"localhost" in data}) == 5


async def test_it_is_crowded_while_so_many_questions_are_under_way(clock: ManualClock) -> None:
    async with DnsServer(lambda *_: None) as server:
        resolver = DnsResolver([server.address], 0.4, clock)
        asked = [asyncio.create_task(resolver.txt(f"k{n}.x.test")) for n in range(CROWDED)]
        seen = [resolver.crowded]
        await asyncio.sleep(0)
        seen.append(resolver.crowded)
        await asyncio.gather(*asked)
        assert [*seen, resolver.crowded] == [False, True, False]


async def test_truncated_answers_are_asked_again_over_tcp(clock: ManualClock) -> None:
    def answer(question: dns.message.Message, tcp: bool) -> dns.message.Message:
        response = answering("x.test. 60 TXT whole" if tcp else "x.test. 60 TXT part")(question, tcp)
        if not tcp:
            response.flags |= dns.flags.TC
        return response

    async with DnsServer(answer) as server:
        assert (await DnsResolver([server.address], 5, clock).txt("x.test")).records == (b"whole",)
        assert [tcp for *_, tcp in server.questions] == [False, True]


async def test_the_question_carries_edns_with_do_and_ad(clock: ManualClock) -> None:
    seen: list[dns.message.Message] = []

    def answer(question: dns.message.Message, tcp: bool) -> dns.message.Message:
        seen.append(question)
        return answering("x.test. 60 A 192.0.2.1")(question, tcp)

    async with DnsServer(answer) as server:
        await DnsResolver([server.address], 5, clock).a("x.test")
    assert seen[0].edns == 0
    assert seen[0].payload == 1232
    assert seen[0].ednsflags & dns.flags.DO
    assert seen[0].flags & dns.flags.AD


async def test_h028_ad_is_believed_from_loopback_only(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with DnsServer(answering("x.test. 60 A 192.0.2.1", flags=dns.flags.AD)) as server:
        assert (await DnsResolver([server.address], 5, clock).a("x.test")).secure
        far = DnsResolver([server.address], 5, clock)
        monkeypatch.setattr(far, "_servers", tuple(_elsewhere(s) for s in far._servers))
        assert not (await far.a("x.test")).secure
    async with DnsServer(answering("x.test. 60 A 192.0.2.1")) as server:
        assert not (await DnsResolver([server.address], 5, clock).a("x.test")).secure


def _elsewhere(server: object) -> object:
    return replace(server, loopback=False)  # type: ignore[type-var]  # a private dataclass of core.dns


async def test_h089_servfail_is_failed_and_asked_of_the_next_resolver(clock: ManualClock) -> None:
    async with (
        DnsServer(answering(rcode=dns.rcode.SERVFAIL)) as bad,
        DnsServer(answering("x.test. 60 A 192.0.2.1")) as good,
    ):
        assert (await DnsResolver([bad.address], 5, clock).a("x.test")).outcome is Outcome.FAILED
        assert len(bad.questions) == 1, "the same resolver is not asked twice for a SERVFAIL"
        assert (await DnsResolver([bad.address, good.address], 5, clock).a("x.test")).outcome is Outcome.OK


async def test_h089_answers_that_do_not_fit_are_waited_past(clock: ManualClock) -> None:
    class Spoofed(DnsServer):
        def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
            wrong_id = bytes([data[0] ^ 0xFF]) + data[1:]
            question = dns.message.from_wire(wrong_id)
            self._transport.sendto(answering("x.test. 60 A 203.0.113.66")(question, False).to_wire(), peer)
            self._transport.sendto(b"\x00garbage", peer)
            super().datagram_received(data, peer)

    async with Spoofed(answering("x.test. 60 A 192.0.2.1")) as server:
        assert (await DnsResolver([server.address], 5, clock).a("x.test")).records == ("192.0.2.1",)


async def test_f161_a_silent_resolver_costs_the_timeout_and_then_rests(clock: ManualClock) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        resolver = DnsResolver([f"127.0.0.1:{port}"], 0.2, clock)
        loop = asyncio.get_running_loop()
        start = loop.time()
        answers = await asyncio.gather(*(resolver.a(f"{n}.test") for n in range(5)))
        assert {answer.outcome for answer in answers} == {Outcome.FAILED}
        assert loop.time() - start < 2
        silent.settimeout(0.05)
        with contextlib.suppress(TimeoutError):
            while True:
                silent.recv(2048)
        assert (await resolver.a("rested.test")).outcome is Outcome.FAILED
        with pytest.raises(TimeoutError):
            silent.recv(2048)
        clock.advance(10.1)
        task = asyncio.create_task(resolver.a("again.test"))
        await task
        silent.recv(2048)


async def test_f161_names_that_nobody_answers_do_not_put_the_resolver_to_rest(clock: ManualClock) -> None:
    """Ten selectors at a silent server, in one message of a stranger, took away everybody's DNS for ten seconds: the
    DMARC of whoever came then could not be asked."""

    def answer(question: dns.message.Message, tcp: bool) -> dns.message.Message | None:
        name = question.question[0].name.to_text(True)
        return None if name.endswith("tarpit.test") else answering(f"{name}. 60 A 192.0.2.1")(question, tcp)

    async with DnsServer(answer) as server:
        resolver = DnsResolver([server.address], 0.4, clock)
        answers = await asyncio.gather(*(resolver.a(f"{n}.tarpit.test") for n in range(10)))
        assert {item.outcome for item in answers} == {Outcome.FAILED}
        assert (await resolver.a("x.test")).outcome is Outcome.OK


async def test_f161_the_second_resolver_answers_while_the_first_is_silent(clock: ManualClock) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        async with DnsServer(answering("x.test. 60 A 192.0.2.1")) as good:
            resolver = DnsResolver([f"127.0.0.1:{silent.getsockname()[1]}", good.address], 1, clock)
            assert (await resolver.a("x.test")).outcome is Outcome.OK


@pytest.mark.parametrize(
    "name", ["", "a..b", "." * 3, "a" * 64 + ".test", "x." * 127 + "x.test", "a\x00b.test", "é.test"]
)
async def test_names_that_cannot_be_asked_answer_nxdomain_unasked(name: str, clock: ManualClock) -> None:
    async with DnsServer(answering("x.test. 60 A 192.0.2.1")) as server:
        assert (await DnsResolver([server.address], 5, clock).a(name)).outcome is Outcome.NXDOMAIN
        assert not server.questions


def test_the_longest_name_and_label_are_askable() -> None:
    assert askable("a" * 63 + ".test")
    assert not askable("a" * 64 + ".test")
    assert askable(".".join(["a" * 63] * 3 + ["a" * 61]))
    assert not askable(".".join(["a" * 63] * 3 + ["a" * 62]))


async def test_escapes_in_a_name_are_asked_as_they_stand(clock: ManualClock) -> None:
    async with DnsServer(answering()) as server:
        await DnsResolver([server.address], 5, clock).a(r"\097b@c.test")
        assert server.questions[0][0] == r"\\097b\@c.test"


async def test_a_reply_with_no_sense_fails_and_nothing_is_raised(clock: ManualClock) -> None:
    def nonsense(question: dns.message.Message, tcp: bool) -> bytes:
        return struct.pack("!H", question.id) + b"\xff" * 40

    async with DnsServer(nonsense) as server:
        assert (await DnsResolver([server.address], 0.3, clock).a("x.test")).outcome is Outcome.FAILED


async def test_close_ends_questions_under_way(clock: ManualClock) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        resolver = DnsResolver([f"127.0.0.1:{silent.getsockname()[1]}"], 30, clock)
        task = asyncio.create_task(resolver.a("x.test"))
        await asyncio.to_thread(silent.recv, 2048)
        await asyncio.wait_for(resolver.close(), 10)  # of the 30 s that it would wait
        with pytest.raises(asyncio.CancelledError):
            await task
