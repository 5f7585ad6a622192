"""The decision about an inbound message: a pure function over evidence, one row per rule, each with its named reason.

The reason reaches the reply, the log, the header X-Beffroi-Reason and the administrator alike. Rows are read from the
top, the first that speaks decides: refusals that stand whatever else is unknown, then deferrals, then Junk.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from antispam.authentication.dmarc import TOO_MANY_DOMAINS
from antispam.types import Action, Authentication, Result, Unscanned, Verdict
from core.frozen import dataclass
from core.status import Status, accepted, deferred, refused
from delivery.evidence import BUG, Evidence
from message.address_list import FromDefect

ENFORCING = frozenset({"quarantine", "reject"})
MAX_EXPLANATION = 200  # characters of another's words in a refusal of ours


class Disposition(Enum):
    INBOX = "inbox"
    JUNK = "junk"
    DEFER = "defer"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Decision:
    """`status` is what the sending server is told."""

    disposition: Disposition
    status: Status

    @property
    def reason(self) -> str:
        return self.status.reason

    @property
    def delivers(self) -> bool:
        return self.disposition in (Disposition.INBOX, Disposition.JUNK)


ACCEPTED = Decision(Disposition.INBOX, accepted("message accepted", "accepted"))
ACCEPTED_UNSCANNED = Decision(Disposition.INBOX, accepted("message accepted", "accepted-unscanned"))


@dataclass(frozen=True, slots=True)
class Context:
    """What bears on the decision besides the message. `protected`: a recipient is postmaster@ or abuse@ (RFC 5321
    4.5.1). `accept_unscanned`: `antispam.when_unavailable` is "accept". `arc_trusted`: domains of forwarders and lists
    whose word the operator takes."""

    protected: bool = False
    accept_unscanned: bool = False
    arc_trusted: frozenset[str] = frozenset()


Rule = Callable[[Evidence, Context], Decision | None]


def unquestioned(evidence: Evidence) -> Decision | None:
    """What nearly all mail comes to: no rule below speaks of a message whose author is clear and passes DMARC, whose
    sender takes answers, and that the scanner, where there is one, accepts. None: it has to be decided."""
    found, scan = evidence.authentication, evidence.scan
    if found.dmarc.result is not Result.PASS or found.null_mx or evidence.author.defects:
        return None
    if isinstance(scan, Unscanned):
        return ACCEPTED_UNSCANNED if scan.reason == "disabled" else None
    return ACCEPTED if scan.action is Action.ACCEPT else None


def decide(evidence: Evidence, context: Context) -> Decision:
    """The first rule that speaks, softened for postmaster@ and abuse@; else the inbox. Never raises."""
    for rule in RULES:
        decision = rule(evidence, context)
        if decision is not None:
            return _softened(decision, context)
    return ACCEPTED_UNSCANNED if isinstance(evidence.scan, Unscanned) else ACCEPTED


def _softened(decision: Decision, context: Context) -> Decision:
    """postmaster@ and abuse@ hear everybody: what others would be refused for, they find in Junk (row 56). All
    recipients of the message do then: one answer is given for them together, and nothing is dropped in silence."""
    if context.protected and decision.disposition is Disposition.REJECT:
        return _junk(decision.reason)
    return decision


# --- rules that refuse -----------------------------------------------------------------------------------------------


def several_authors(evidence: Evidence, _context: Context) -> Decision | None:
    """Two From fields: one reader judges the one, another shows the other (RFC 5322 3.6; rows 51, 85)."""
    if FromDefect.SEVERAL_FIELDS in evidence.author.defects:
        return _reject(refused("message has more than one From field", "several-from", "5.7.1"))
    return None


def too_many_authors(evidence: Evidence, _context: Context) -> Decision | None:
    """More domains in From than are asked for their wish: among them is the one that would refuse (row 85)."""
    if evidence.authentication.dmarc.reason == TOO_MANY_DOMAINS:
        return _reject(refused("message has authors of too many domains", TOO_MANY_DOMAINS, "5.7.1"))
    return None


def null_mx(evidence: Evidence, _context: Context) -> Decision | None:
    """Whoever sends and takes nothing back cannot be told of anything, whoever vouches for it (RFC 7505 4.2)."""
    if evidence.authentication.null_mx:
        return _reject(refused("sender's domain accepts no mail (null MX)", "null-mx", "5.7.27"))
    return None


def dmarc_unknown(evidence: Evidence, context: Context) -> Decision | None:
    """DNS failed for mail of a domain that is known to enforce: without any pass it has to come again, before the
    refusal below, because what is unknown may still become one (fault 161)."""
    if not _enforced_but_unknown(evidence) or vouched(evidence.authentication) or _handed_on(evidence, context):
        return None
    return Decision(Disposition.DEFER, deferred("cannot verify the sender now", "dmarc-temperror", "4.4.3"))


def dmarc_reject(evidence: Evidence, context: Context) -> Decision | None:
    dmarc = evidence.authentication.dmarc
    if dmarc.result is Result.FAIL and dmarc.disposition == "reject" and not _handed_on(evidence, context):
        text = f"rejected by the DMARC policy of the author's domain{_explained(evidence)}"
        return _reject(refused(text, "dmarc-reject", "5.7.1"))
    return None


def _explained(evidence: Evidence) -> str:
    """Words of another's, marked as such (RFC 7208 8.4)."""
    spf = evidence.authentication.spf
    if not spf.explanation:
        return ""
    return f"; SPF failed, and the domain {spf.domain} explains: {spf.explanation[:MAX_EXPLANATION]}"


def scanner_reject(evidence: Evidence, _context: Context) -> Decision | None:
    if _action(evidence) is Action.REJECT:
        return _reject(refused(_text(evidence, "message looks like spam"), "spam-reject", "5.7.1", code=554))
    return None


# --- rules that defer ------------------------------------------------------------------------------------------------


def scanner_defer(evidence: Evidence, _context: Context) -> Decision | None:
    if _action(evidence) is Action.DEFER:
        text = _text(evidence, "try again later")
        return Decision(Disposition.DEFER, deferred(text, "scanner-defer", "4.7.1"))
    return None


def unscanned(evidence: Evidence, context: Context) -> Decision | None:
    """The scanner is away: never silently unscanned (promise P6, fault 160). "disabled" is the operator's choice."""
    scan = evidence.scan
    if not isinstance(scan, Unscanned) or scan.reason == "disabled" or context.accept_unscanned:
        return None
    return Decision(Disposition.DEFER, deferred("cannot check the message now", "unscanned", "4.7.1"))


# --- rules that put aside --------------------------------------------------------------------------------------------


def dmarc_unsure(evidence: Evidence, _context: Context) -> Decision | None:
    """The same, but somebody else vouches: accepted (security.md, Decided), though not as if the author were known."""
    if _enforced_but_unknown(evidence) and evidence.authentication.dmarc.result is Result.TEMPERROR:
        return _junk("dmarc-temperror")
    return None


def unjudged(evidence: Evidence, _context: Context) -> Decision | None:
    """A message that our own checks broke on was perhaps made for that: it is no way into the inbox."""
    return _junk("authentication-failed") if evidence.authentication.dmarc.reason == BUG else None


def dmarc_quarantine(evidence: Evidence, context: Context) -> Decision | None:
    dmarc = evidence.authentication.dmarc
    if dmarc.result is Result.FAIL and dmarc.disposition == "quarantine" and not _handed_on(evidence, context):
        return _junk("dmarc-quarantine")
    return None


def scanner_junk(evidence: Evidence, _context: Context) -> Decision | None:
    return _junk("spam-junk") if _action(evidence) is Action.JUNK else None


def unclear_author(evidence: Evidence, _context: Context) -> Decision | None:
    """A From that names nobody for sure escapes DMARC and shows whatever its reader makes of it (rows 65, 85)."""
    defects = sorted(defect.value for defect in evidence.author.defects)
    return _junk(defects[0]) if defects else None


RULES: tuple[Rule, ...] = (
    several_authors,
    too_many_authors,
    null_mx,
    dmarc_unknown,
    dmarc_reject,
    scanner_reject,
    scanner_defer,
    unscanned,
    dmarc_unsure,
    unjudged,
    dmarc_quarantine,
    scanner_junk,
    unclear_author,
)


def _enforced_but_unknown(evidence: Evidence) -> bool:
    found = evidence.authentication
    if found.dmarc.policy not in ENFORCING or found.dmarc.result is Result.PASS:
        return False
    asked = (found.dmarc.result, found.spf.result, *(item.result for item in found.dkim))
    return Result.TEMPERROR in asked


def vouched(authentication: Authentication) -> bool:
    """Whether anybody stands for the message: SPF, or a signature that counts."""
    good = any(item.result is Result.PASS and not item.weak for item in authentication.dkim)
    return good or authentication.spf.result is Result.PASS


def _handed_on(evidence: Evidence, context: Context) -> bool:
    """A chain that verifies, made by none but those the operator trusts, at whose begin DMARC had passed (RFC 8617
    7.2.1; row 88: nobody else's word turns a failure into anything)."""
    arc = evidence.authentication.arc
    trusted = bool(arc.sealers) and all(name in context.arc_trusted for name in arc.sealers)
    return arc.result is Result.PASS and trusted and arc.oldest_dmarc == "pass"


def _action(evidence: Evidence) -> Action | None:
    return evidence.scan.action if isinstance(evidence.scan, Verdict) else None


def _text(evidence: Evidence, default: str) -> str:
    return (evidence.scan.text if isinstance(evidence.scan, Verdict) else "") or default


def _reject(status: Status) -> Decision:
    return Decision(Disposition.REJECT, status)


def _junk(reason: str) -> Decision:
    return Decision(Disposition.JUNK, accepted("message accepted", reason))
