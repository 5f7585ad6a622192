"""Why the directory refuses: the one table of codes, their class of error and a short English sentence.

The codes are an outside contract (REST, command line): added to, never renamed. `admin_api` says them in French.
"""

from __future__ import annotations

from core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError, QuotaError, RefusedError

CODES: dict[str, tuple[type[RefusedError], str]] = {
    # absent, or another organisation's: the two look the same (promise P8)
    "unknown-organisation": (NotFoundError, "no such organisation"),
    "unknown-domain": (NotFoundError, "no such domain"),
    "unknown-mailbox": (NotFoundError, "no such mailbox"),
    "unknown-alias": (NotFoundError, "no such alias"),
    "unknown-administrator": (NotFoundError, "no such administrator"),
    "unknown-grant": (NotFoundError, "no such grant"),
    "unknown-share": (NotFoundError, "this mailbox is not shared with them"),
    "unknown-app-password": (NotFoundError, "no such app password"),
    "unknown-key": (NotFoundError, "no such key"),
    # it exists already, or something still needs it
    "organisation-taken": (ConflictError, "an organisation of this name exists"),
    "domain-taken": (ConflictError, "this domain exists"),
    "address-taken": (ConflictError, "this address exists"),
    "administrator-taken": (ConflictError, "an administrator of this name exists"),
    "selector-taken": (ConflictError, "this selector exists"),
    "domain-not-empty": (ConflictError, "the domain still has mailboxes or aliases"),
    "alias-leads-here": (ConflictError, "an alias leads to this mailbox alone; remove the alias first"),
    "last-operator": (ConflictError, "the last operator cannot be removed"),
    "conflict": (ConflictError, "it was changed meanwhile; try again"),
    # malformed or out of bounds
    "invalid-address": (InvalidError, "this address is not possible here"),
    "invalid-domain": (InvalidError, "this domain name is not possible here"),
    "invalid-name": (InvalidError, "a name has 1 to 200 characters, none of them control characters"),
    "invalid-quota": (InvalidError, "a quota is a size from 0 (unlimited) up"),
    "invalid-password": (InvalidError, "a password has 1 to 256 octets, none of them NUL"),
    "invalid-hash": (InvalidError, "not an argon2id hash with sensible parameters"),
    "invalid-value": (InvalidError, "a value cannot be stored"),
    "missing-password": (InvalidError, "a password or an argon2id hash is needed"),
    "weak-password": (InvalidError, "the password is too easy to guess: 12 characters or more, no common word"),
    "missing-targets": (InvalidError, "an alias needs a target"),
    "too-many-targets": (InvalidError, "an alias has 500 targets at most"),
    "alias-to-itself": (InvalidError, "an alias cannot lead to itself"),
    "organisation-needed": (InvalidError, "this role needs an organisation"),
    "organisation-not-allowed": (InvalidError, "an operator belongs to no organisation"),
    "grant-across-organisations": (InvalidError, "a grant stays within one organisation"),
    "acl-of-owner": (InvalidError, "the owner of a mailbox always has every right"),
    "invalid-rights": (InvalidError, "rights are read, write, manage, or letters of lrswipkxtea"),
    "send-as-for-anyone": (InvalidError, "sending in a mailbox's name is granted to persons only"),
    "set-quota-for-anyone": (InvalidError, "setting a mailbox's quota is granted to persons only"),
    "set-quota-needs-manage": (InvalidError, "who may set a mailbox's quota needs the right to manage it"),
    "invalid-scope": (InvalidError, "an app password is for mail, imap, submission or send-only"),
    "invalid-network": (InvalidError, "networks are written like 192.0.2.0/24, 20 at most"),
    "invalid-expiry": (InvalidError, "an end lies in the future"),
    "bare-lines-need-send-only": (InvalidError, "bare line ends are forgiven to send-only app passwords alone"),
    # what whoever may set a quota may not
    "quota-not-granted": (ForbiddenError, "quotas are set by the administrators"),
    "quota-over-ceiling": (ForbiddenError, "no mailbox may hold more than its organisation"),
    # no room left
    "acl-full": (QuotaError, "an access list has 200 entries at most"),
    "annotation-too-big": (QuotaError, "the annotation is too large"),
    "annotations-too-many": (QuotaError, "too many annotations here"),
    "annotations-over-quota": (QuotaError, "no room left for annotations"),
    "app-passwords-full": (QuotaError, "a mailbox has 50 app passwords at most"),
    # the role
    "operator-only": (ForbiddenError, "only an operator may do this"),
}


def refusal(code: str, **fields: object) -> RefusedError:
    """The error of `code`, ready to raise; `fields` go to the log, never to the caller."""
    kind, text = CODES[code]
    return kind(text, code=code, **fields)
