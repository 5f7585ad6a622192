"""The client's pure parts: replies, MX choice, dialogue (security.md rows 26, 139, 140; RFC 5321 5.1, RFC 7505)."""

import pytest

from core.address import Address
from core.envelope import Dsn
from core.resolver import Answer, Mx, Outcome
from core.status import Status
from delivery.types import Job, JobRecipient
from smtp.outbound import dialogue, mx
from smtp.outbound.arguments import Capabilities
from smtp.outbound.dialogue import Answers, Encryption, Receive, Send, SendBody, opening, transaction
from smtp.outbound.mx import Host, Target, choose, hosts
from smtp.outbound.ours import is_local, our_mx
from smtp.outbound.reply_parser import RemoteReply, ReplyFault, ReplyParser
from smtp.outbound.requirements import unmet
from tests.fakes.resolver import FakeResolver
from tests.fakes.scripted_smtp import job


def parse(data: bytes, step: int = 0) -> list[RemoteReply]:
    parser = ReplyParser()
    found = []
    for start in range(0, len(data), step or len(data)):
        parser.feed(data[start : start + (step or len(data))])
        while reply := parser.pop():
            found.append(reply)
    return found


@pytest.mark.parametrize("step", [0, 1, 3])
def test_replies_are_whole_whatever_the_segmentation(step: int) -> None:
    data = b"250-one\r\n250-two\r\n250 three\r\n550 5.1.1 No \xc3\xa9 user\x1b[2J\n354\r\n421 5.7.0 odd\r\n"
    assert parse(data, step) == [
        RemoteReply(250, ("one", "two", "three")),
        RemoteReply(550, ("5.1.1 No ?? user?[2J",), "5.1.1"),
        RemoteReply(354, ("",)),
        RemoteReply(421, ("5.7.0 odd",)),
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"999 what\r\n",
        b"199 low\r\n",
        b"hello\r\n",
        b"25\r\n",
        b"250-a\r\n550 b\r\n",
        b"250 " + b"x" * 4200 + b"\r\n",
        b"x" * 5000,
        b"250-more\r\n" * 101,
        b"\r\n",
    ],
)
def test_h139_what_is_no_reply_is_a_fault(data: bytes) -> None:
    with pytest.raises(ReplyFault):
        parse(data)


def test_h139_a_hundred_lines_are_a_reply() -> None:
    assert len(parse(b"250-more\r\n" * 99 + b"250 end\r\n")[0].lines) == 100


# --- MX ------------------------------------------------------------------------------------------------------------


def keep(records: list[Mx]) -> None:
    """No shuffling."""


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(Outcome.FAILED), mx.DNS_FAILED),
        (Answer(Outcome.NXDOMAIN), mx.NO_DOMAIN),
        (Answer(Outcome.OK, (Mx(0, ""),)), mx.NULL_MX),
        (Answer(Outcome.EMPTY), [Mx(0, "d.test")]),
        (Answer(Outcome.OK, (Mx(20, "b"), Mx(10, "a"), Mx(0, ""))), [Mx(10, "a"), Mx(20, "b")]),
    ],
)
def test_h140_exchangers_of_a_domain(answer: Answer[Mx], expected: object) -> None:
    assert hosts("d.test", answer, keep) == expected


def test_h140_equal_preferences_are_shuffled_and_at_most_five_are_kept() -> None:
    records = (*(Mx(10, f"m{n}") for n in range(9)), Mx(20, "backup"))
    found = hosts("d.test", Answer(Outcome.OK, records), lambda some: some.reverse())
    assert found == [*(Mx(10, f"m{n}") for n in (8, 7, 6, 5, 4)), Mx(20, "backup")]


HOSTS = (Host("a", 10, ("198.51.100.1",)), Host("b", 20, ("198.51.100.2",)), Host("c", 30, ("198.51.100.3",)))


def nobody(address: str, port: int) -> bool:
    return False


@pytest.mark.parametrize(
    ("found", "ours", "private", "expected"),
    [
        (HOSTS, "", True, ["a", "b", "c"]),
        (HOSTS, "198.51.100.2", True, ["a"]),  # ourselves at 20: 20 and 30 would come back
        (HOSTS, "198.51.100.1", True, mx.LOOP),
        ((), "", True, mx.NO_HOST),
        ((Host("a", 10, ()),), "", True, mx.NO_HOST),
        ((Host("a", 10, (), failed=True),), "", True, mx.DNS_FAILED),
        ((Host("a", 10, ("127.0.0.1",)),), "", False, mx.PRIVATE),
        ((Host("a", 10, ("10.1.2.3", "::1", "fe80::1", "169.254.169.254")),), "", False, mx.PRIVATE),
        ((Host("a", 10, ("127.0.0.1",)),), "", True, ["a"]),
        ((Host("a", 10, ("127.0.0.1",)), Host("b", 20, ("8.8.8.8",))), "", False, ["b"]),
        ((Host("a", 10, ("127.0.0.1",)), Host("b", 20, (), failed=True)), "", False, mx.DNS_FAILED),
    ],
)
def test_h140_targets(found: tuple[Host, ...], ours: str, private: bool, expected: object) -> None:
    targets = choose(found, 25, ours=lambda address, port: address == ours, allow_private=private)
    assert expected == (targets if isinstance(targets, Status) else [target.host for target in targets])


async def test_h140_addresses_of_both_families_alternate() -> None:
    """Two of each, so that one after the other is not the same as in turn."""
    records = {"A": ["8.8.8.8", "8.8.4.4"], "AAAA": ["2606:4700::1", "2606:4700::2"]}
    resolver = FakeResolver({"d.test": {"MX": [(10, "m.d.test")]}, "m.d.test": records})
    found = await mx.MxResolver(resolver, port=25, ours=nobody, allow_private=False, shuffle=keep).targets("d.test")
    in_turn = ("2606:4700::1", "8.8.8.8", "2606:4700::2", "8.8.4.4")
    assert found == [Target("m.d.test", address, 25, 10) for address in in_turn]


async def test_a_domain_without_mx_is_its_own_exchanger() -> None:
    resolver = FakeResolver({"d.test": {"A": ["8.8.8.8"]}})
    found = await mx.MxResolver(resolver, port=25, ours=nobody, allow_private=False, shuffle=keep).targets("d.test")
    assert found == [Target("d.test", "8.8.8.8", 25)]


async def test_f161_a_failing_name_service_never_fails_mail_for_good() -> None:
    for zone, failing in (({"d.test": {"MX": [(10, "m.test")]}}, ["m.test"]), ({}, ["d.test"])):
        resolver = FakeResolver(zone, failing=failing)
        found = await mx.MxResolver(resolver, port=25, ours=nobody, allow_private=False, shuffle=keep).targets("d.test")
        assert found is mx.DNS_FAILED


async def test_h140_an_address_inside_another_family_is_the_same_address() -> None:
    zone: dict[str, dict[str, list[object]]] = {
        "r.test": {"MX": [(10, "mx.r.test")]},
        "mx.r.test": {"AAAA": ["::ffff:192.0.2.25", "ff0e::1"]},
    }
    ours = our_mx(["192.0.2.25:25", "[2001:DB8:0::25]:25"])
    assert ours("2001:db8::25", 25)
    resolver = FakeResolver(zone)
    found = mx.MxResolver(resolver, port=25, ours=ours, allow_private=True, shuffle=lambda records: None)
    assert await found.targets("r.test") == mx.LOOP
    elsewhere = mx.MxResolver(resolver, port=25, ours=our_mx([]), allow_private=False, shuffle=lambda records: None)
    assert await elsewhere.targets("r.test") == mx.PRIVATE


def test_h140_our_own_doors_are_known_by_address_and_port() -> None:
    ours = our_mx(["127.0.0.1:2525", "0.0.0.0:25"])
    assert ours("127.0.0.1", 2525)
    assert not ours("127.0.0.1", 2526)
    assert not ours("127.0.0.2", 2525)
    assert ours("127.0.0.1", 25)
    assert not ours("198.51.100.7", 25)
    assert is_local("127.0.0.1")
    assert not is_local("198.51.100.7")


# --- dialogue ------------------------------------------------------------------------------------------------------

FULL = Capabilities(dict.fromkeys("PIPELINING 8BITMIME SMTPUTF8 DSN SIZE REQUIRETLS".split(), ""))


def play(talk: dialogue.Talk[bool], *codes: int) -> tuple[list[str], bool]:
    """Run a dialogue against reply codes; what it sent, and its value."""
    sent: list[str] = []
    left = list(codes)
    answer = None
    try:
        while True:
            op = talk.send(answer)
            answer = None
            if isinstance(op, Send):
                sent += op.data.decode().splitlines()
            elif isinstance(op, SendBody):
                sent.append("<body>")
            elif isinstance(op, Receive):
                answer = RemoteReply(left.pop(0), ("",))
    except StopIteration as stop:
        assert not left
        return sent, stop.value


@pytest.mark.parametrize("keywords", ["PIPELINING", ""])
def test_both_ways_of_a_transaction_say_the_same(keywords: str) -> None:
    answers: Answers = {}
    work = job("r.test:25", "a@r.test", "b@r.test")
    capabilities = Capabilities(dict.fromkeys(keywords.split(), ""))
    sent, good = play(transaction(work, work.recipients, capabilities, answers), 250, 250, 550, 354, 250)
    assert sent == [
        "MAIL FROM:<maire@mairie.test>",
        "RCPT TO:<a@r.test>",
        "RCPT TO:<b@r.test>",
        "DATA",
        "<body>",
    ]
    assert good
    assert {key: value.code for key, value in answers.items()} == {1: 250, 2: 550}


def test_parameters_are_sent_where_they_are_understood() -> None:
    answers: Answers = {}
    dsn = Dsn(frozenset({"FAILURE", "DELAY"}), "rfc822;x+y@r.test")
    work = job("r", dsn=[dsn], smtputf8=True, body="8BITMIME", ret="HDRS", envid="q=1 a", require_tls=True)
    sent, _ = play(transaction(work, work.recipients, FULL, answers, size=42), 250, 250, 354, 250)
    assert sent[0] == (
        "MAIL FROM:<maire@mairie.test> SIZE=42 BODY=8BITMIME SMTPUTF8 REQUIRETLS RET=HDRS ENVID=q+3D1+20a"
    )
    assert sent[1] == "RCPT TO:<a@remote.test> NOTIFY=DELAY,FAILURE ORCPT=rfc822;x+2By@r.test"


def test_an_internationalised_orcpt_goes_to_who_knows_it() -> None:
    """RFC 6533 3"""
    work = job("r", "a@r.test", dsn=[Dsn(original="utf-8;é+\\=x@r.test")])
    sent, _ = play(transaction(work, work.recipients, FULL, {}), 250, 250, 354, 250)
    assert sent[1] == "RCPT TO:<a@r.test> ORCPT=utf-8;\\x{E9}\\x{2B}\\x{5C}\\x{3D}x@r.test"
    less = Capabilities({"DSN": "", "PIPELINING": ""})
    sent, _ = play(transaction(work, work.recipients, less, {}), 250, 250, 354, 250)
    assert sent[1] == "RCPT TO:<a@r.test>"


def test_an_address_beyond_ascii_is_announced_whatever_the_message_came_with() -> None:
    """An alias of plain letters may lead to one that has none."""
    work = job("r", "é@r.test")
    sent, _ = play(transaction(work, work.recipients, FULL, {}), 250, 250, 354, 250)
    assert "SMTPUTF8" in sent[0].split()


def test_nobody_left_and_data_accepted_ends_with_an_empty_message() -> None:
    answers: Answers = {}
    work = job("r.test:25")
    sent, good = play(transaction(work, work.recipients, FULL, answers), 250, 550, 354, 554)
    assert sent[-1] == "."
    assert "<body>" not in sent
    assert good
    assert answers[1].code == 550


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ((550, 503, 503), 550),
        ((451, 503, 503), 451),
        ((250, 250, 451), 451),
        ((250, 250, 250), 451),  # a 250 to DATA is nonsense: not delivered
        ((250, 250, 354, 354), 451),
        ((250, 250, 354, 554), 554),
        ((250, 354, 503), 451),
    ],
)
def test_what_each_refusal_comes_to(codes: tuple[int, ...], expected: int) -> None:
    answers: Answers = {}
    work = job("r.test:25")
    play(transaction(work, work.recipients, FULL, answers), *codes)
    assert answers[1].code == expected


@pytest.mark.parametrize(
    ("work", "keywords", "eight_bit", "enhanced"),
    [
        (job("r", content=b"x" * 101), {"SIZE": "100", "8BITMIME": ""}, False, "5.3.4"),
        (job("r", content=b"x" * 100), {"SIZE": "100", "8BITMIME": ""}, False, ""),
        (job("r", content=b"x" * 101), {"SIZE": "0", "8BITMIME": ""}, False, ""),
        (job("r"), {}, True, "5.6.3"),
        (job("r"), {"8BITMIME": ""}, True, ""),
        (job("r", "é@r.test", smtputf8=True), {"8BITMIME": ""}, False, "5.6.7"),
        (job("r", smtputf8=True), {"8BITMIME": ""}, False, ""),
        (job("r", content="Subject: é\r\n\r\n".encode(), smtputf8=True), {"8BITMIME": ""}, False, "5.6.7"),
        (job("r", require_tls=True), {"8BITMIME": ""}, False, "5.7.30"),
        (
            job("r", require_tls=True, sender=None),
            {"8BITMIME": ""},
            False,
            "",
        ),  # RFC 8689 5: a notice is not thrown away
    ],
)
def test_requirements(work: Job, keywords: dict[str, str], eight_bit: bool, enhanced: str) -> None:
    status = unmet(work, work.recipients, Capabilities(keywords), eight_bit, work.content.size, 0.0)
    assert (status.enhanced if status else "") == enhanced


def test_no_address_can_carry_a_command() -> None:
    """The address type refuses it at the edge; the dialogue refuses it once more."""
    evil = JobRecipient(1, Address("a\r\nRSET", "r.test"))
    work = job("r.test:25")
    with pytest.raises(ValueError, match="line end"):
        play(transaction(work, (evil,), FULL, {}), 250)


@pytest.mark.parametrize(
    ("line", "offered"),
    [("AUTH=LOGIN PLAIN", "LOGIN PLAIN"), ("auth=PLAIN", "PLAIN"), ("AUTH PLAIN", "PLAIN"), ("AUTHX=1", None)],
)
def test_logins_are_found_as_old_servers_write_them(line: str, offered: str | None) -> None:
    talk = opening("mx.mairie.test", Encryption.NEVER)
    next(talk)
    talk.send(RemoteReply(220, ("hi",)))
    talk.send(None)
    with pytest.raises(StopIteration) as stop:
        talk.send(RemoteReply(250, ("remote.test", line)))
    assert stop.value.value.keywords.get("AUTH") == offered
