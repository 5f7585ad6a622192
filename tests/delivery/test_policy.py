"""Every row of the decision, and the order between them."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from antispam.authentication.dmarc import evaluate
from antispam.types import Action, Arc, Authentication, Dkim, Result, Spf, Unscanned, Verdict
from core.address import parse
from delivery.evidence import BUG, Evidence, unknown_authentication
from delivery.policy import RULES, Context, Disposition, decide, unquestioned
from message.address_list import From, FromDefect
from tests.fakes.delivery_world import vouched
from tests.fakes.resolver import FakeResolver

AUTHOR = From((parse("a@sender.test"),), ("sender.test",), frozenset())
HAM = Verdict(Action.ACCEPT, 1.0, 15.0)
CLEAN = vouched()
T, F, P = Result.TEMPERROR, Result.FAIL, Result.PASS
SIGNED = (Dkim(P, "list.test", "s1"),)


def evidence(
    authentication: Authentication = CLEAN,
    scan: Verdict | Unscanned = HAM,
    defects: frozenset[FromDefect] = frozenset(),
) -> Evidence:
    return Evidence(authentication, scan, replace(AUTHOR, defects=defects))


def scanned(action: Action, text: str = "") -> Verdict:
    return Verdict(action, 9.0, 15.0, (), text)


def defect(*kinds: FromDefect) -> frozenset[FromDefect]:
    return frozenset(kinds)


def told(given: Evidence, context: Context = Context()) -> str:  # noqa: B008  # frozen
    decision = decide(given, context)
    return f"{decision.disposition.value} {decision.status.code} {decision.status.enhanced} {decision.reason}"


TWO_FROM = defect(FromDefect.SEVERAL_FIELDS)
REJECTING = vouched(dmarc=F, policy="reject", disposition="reject")
QUARANTINING = vouched(dmarc=F, policy="quarantine", disposition="quarantine")
AWAY = Unscanned("unavailable")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (evidence(), "inbox 250 2.0.0 accepted"),
        (evidence(vouched(spf=P, dmarc=P, policy="reject")), "inbox 250 2.0.0 accepted"),
        (evidence(vouched(spf=F, dmarc=F, policy="none")), "inbox 250 2.0.0 accepted"),
        # HELO is told and decides nothing
        (evidence(replace(CLEAN, helo=Spf(F, "helo", "mx.sender.test"))), "inbox 250 2.0.0 accepted"),
        (evidence(replace(REJECTING, helo=Spf(P, "helo", "sender.test"))), "reject 550 5.7.1 dmarc-reject"),
        # two From fields
        (evidence(defects=TWO_FROM), "reject 550 5.7.1 several-from"),
        (evidence(vouched(dmarc=P, policy="reject"), defects=TWO_FROM), "reject 550 5.7.1 several-from"),
        # DMARC
        (evidence(REJECTING), "reject 550 5.7.1 dmarc-reject"),
        (evidence(QUARANTINING), "junk 250 2.0.0 dmarc-quarantine"),
        (evidence(vouched(dmarc=F, policy="reject", disposition="quarantine")), "junk 250 2.0.0 dmarc-quarantine"),
        (evidence(vouched(dmarc=F, policy="reject", disposition="none")), "inbox 250 2.0.0 accepted"),
        # DNS away
        (evidence(vouched(spf=T, dmarc=T)), "inbox 250 2.0.0 accepted"),
        (evidence(vouched(spf=T, dmarc=T, policy="none")), "inbox 250 2.0.0 accepted"),
        (evidence(vouched(spf=T, dmarc=T, policy="reject")), "defer 451 4.4.3 dmarc-temperror"),
        (evidence(vouched(spf=T, dmarc=T, policy="quarantine")), "defer 451 4.4.3 dmarc-temperror"),
        (evidence(vouched(spf=T, dmarc=F, policy="reject", disposition="reject")), "defer 451 4.4.3 dmarc-temperror"),
        (evidence(vouched(spf=T, dkim=SIGNED, dmarc=T, policy="reject")), "junk 250 2.0.0 dmarc-temperror"),
        (
            evidence(vouched(spf=T, dkim=SIGNED, dmarc=F, policy="reject", disposition="reject")),
            "reject 550 5.7.1 dmarc-reject",
        ),
        (
            evidence(vouched(spf=T, dkim=[Dkim(P, "l.test", "s", weak=True)], dmarc=T, policy="reject")),
            "defer 451 4.4.3 dmarc-temperror",
        ),
        (evidence(vouched(dkim=[Dkim(T, "x.test", "s")], dmarc=P, policy="reject")), "inbox 250 2.0.0 accepted"),
        # the scanner
        (evidence(scan=scanned(Action.REJECT)), "reject 554 5.7.1 spam-reject"),
        (evidence(scan=scanned(Action.JUNK)), "junk 250 2.0.0 spam-junk"),
        (evidence(scan=scanned(Action.DEFER)), "defer 451 4.7.1 scanner-defer"),
        (evidence(scan=AWAY), "defer 451 4.7.1 unscanned"),
        (evidence(scan=Unscanned("timeout")), "defer 451 4.7.1 unscanned"),
        (evidence(scan=Unscanned("bad-answer")), "defer 451 4.7.1 unscanned"),
        (evidence(scan=Unscanned("disabled")), "inbox 250 2.0.0 accepted-unscanned"),
        # a fault of ours
        (evidence(unknown_authentication(None, "sender.test", BUG)), "junk 250 2.0.0 authentication-failed"),
        (evidence(unknown_authentication(None, "sender.test", "timeout")), "inbox 250 2.0.0 accepted"),
        # unclear authors
        (evidence(defects=defect(FromDefect.ABSENT)), "junk 250 2.0.0 no-from"),
        (evidence(defects=defect(FromDefect.SYNTAX, FromDefect.NO_DOMAIN)), "junk 250 2.0.0 address-without-domain"),
        # the order between rows
        (evidence(REJECTING, scanned(Action.JUNK)), "reject 550 5.7.1 dmarc-reject"),
        (evidence(REJECTING, AWAY), "reject 550 5.7.1 dmarc-reject"),
        (evidence(QUARANTINING, scanned(Action.REJECT)), "reject 554 5.7.1 spam-reject"),
        (evidence(QUARANTINING, AWAY), "defer 451 4.7.1 unscanned"),
        (evidence(QUARANTINING, scanned(Action.JUNK)), "junk 250 2.0.0 dmarc-quarantine"),
        (evidence(vouched(dmarc=T, policy="reject"), scanned(Action.REJECT)), "defer 451 4.4.3 dmarc-temperror"),
    ],
)
def test_the_decision_table(given: Evidence, expected: str) -> None:
    assert told(given) == expected


def test_h052_mail_in_the_name_of_our_own_domain_is_judged_by_its_dmarc() -> None:
    """Nothing in the context says "ours": there is no local trust to abuse."""
    assert "own" not in " ".join(Context.__slots__)
    assert told(evidence(REJECTING)) == "reject 550 5.7.1 dmarc-reject"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (evidence(REJECTING), "junk 250 2.0.0 dmarc-reject"),
        (evidence(scan=scanned(Action.REJECT)), "junk 250 2.0.0 spam-reject"),
        (evidence(defects=TWO_FROM), "junk 250 2.0.0 several-from"),
        (evidence(scan=AWAY), "defer 451 4.7.1 unscanned"),
        (evidence(), "inbox 250 2.0.0 accepted"),
    ],
)
def test_h056_postmaster_and_abuse_are_never_refused_for_content(given: Evidence, expected: str) -> None:
    assert told(given, Context(protected=True)) == expected


def test_f160_the_operator_may_choose_to_accept_unscanned_mail_and_it_is_named() -> None:
    assert told(evidence(scan=AWAY), Context(accept_unscanned=True)) == "inbox 250 2.0.0 accepted-unscanned"
    assert told(evidence(QUARANTINING, AWAY), Context(accept_unscanned=True)) == "junk 250 2.0.0 dmarc-quarantine"


def test_the_scanners_own_words_reach_the_sender() -> None:
    decision = decide(evidence(scan=scanned(Action.REJECT, "Gtube pattern")), Context())
    assert str(decision.status) == "554 5.7.1 Gtube pattern"


def test_of_what_need_not_be_decided_no_rule_speaks() -> None:
    """Whatever was found out, and whoever it is for: what passes at one look is what all rules let pass."""
    scans: list[Verdict | Unscanned] = [HAM, AWAY, Unscanned("disabled"), *(scanned(action) for action in Action)]
    clear = [frozenset[FromDefect](), *(defect(kind) for kind in FromDefect)]
    contexts = [Context(p, a) for p, a in product((False, True), repeat=2)]
    passed = set()
    for spf, dmarc, policy, null_mx, scan, defects in product(
        (P, F, T), Result, ("", "none", "reject"), (False, True), scans, clear
    ):
        disposition = "reject" if dmarc is F and policy == "reject" else "none"
        found = replace(vouched(spf=spf, dmarc=dmarc, policy=policy, disposition=disposition), null_mx=null_mx)
        given = evidence(found, scan, defects)
        decision = unquestioned(given)
        if decision is not None:
            assert all(decide(given, context) is decision for context in contexts), given
            passed.add((decision.reason, spf))
    assert passed == set(product(("accepted", "accepted-unscanned"), (P, F, T)))


def test_every_rule_is_in_the_table_once() -> None:
    assert len({rule.__name__ for rule in RULES}) == len(RULES) == 13


async def test_h085_more_authors_than_are_asked_for_are_refused_whoever_vouches() -> None:
    """Ten strangers beside the one who would refuse: their number must not hide him."""
    many = await evaluate([f"d{n}.test" for n in range(11)], CLEAN.spf, SIGNED, FakeResolver())
    given = evidence(replace(vouched(spf=P, dkim=SIGNED), dmarc=many))
    assert told(given) == "reject 550 5.7.1 too-many-from-domains"
    assert told(given, Context(protected=True)) == "junk 250 2.0.0 too-many-from-domains"


TRUSTING = Context(arc_trusted=frozenset({"list.test", "gateway.test"}))


@pytest.mark.parametrize(
    ("arc", "context", "expected"),
    [
        (Arc(P, 2, ("list.test", "gateway.test"), oldest_dmarc="pass"), TRUSTING, "inbox 250 2.0.0 accepted"),
        (Arc(P, 1, ("list.test",), oldest_dmarc="pass"), Context(), "reject 550 5.7.1 dmarc-reject"),
        (Arc(P, 2, ("list.test", "evil.test"), oldest_dmarc="pass"), TRUSTING, "reject 550 5.7.1 dmarc-reject"),
        (Arc(F, 1, ("list.test",), oldest_dmarc="pass"), TRUSTING, "reject 550 5.7.1 dmarc-reject"),
        (Arc(P, 1, ("list.test",), oldest_dmarc="fail"), TRUSTING, "reject 550 5.7.1 dmarc-reject"),
        (Arc(P, 1, ("list.test",)), TRUSTING, "reject 550 5.7.1 dmarc-reject"),
        (Arc(P, 0, (), oldest_dmarc="pass"), TRUSTING, "reject 550 5.7.1 dmarc-reject"),
    ],
)
def test_h088_only_a_whole_chain_of_listed_sealers_turns_a_dmarc_failure(
    arc: Arc, context: Context, expected: str
) -> None:
    assert told(evidence(replace(REJECTING, arc=arc)), context) == expected
    if expected.startswith("inbox"):
        assert told(evidence(replace(QUARANTINING, arc=arc)), context) == expected


def test_rfc7505_a_null_mx_is_refused_whoever_vouches() -> None:
    silent = replace(vouched(spf=P, dmarc=P, policy="reject"), null_mx=True)
    decision = decide(evidence(silent), Context())
    assert (decision.status.code, decision.status.enhanced, decision.reason) == (550, "5.7.27", "null-mx")
    assert decide(evidence(silent), Context(protected=True)).disposition is Disposition.JUNK
