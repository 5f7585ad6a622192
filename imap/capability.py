"""What the server says it can do, per state and per TLS (RFC 9051 7.2.2, 6.2.1). Announced is only what works.

The extensions are announced before login as well: clients that keep the first list (imaplib among them) lose nothing.
"""

from __future__ import annotations

from imap.session import Session
from imap.types import State

BASE = (
    "IMAP4rev1",  # RFC 3501
    "IMAP4rev2",  # RFC 9051
    "LITERAL+",  # RFC 7888
    "SASL-IR",  # RFC 4959
    "ID",  # RFC 2971
    "ENABLE",  # RFC 5161
    "LANGUAGE",  # RFC 5255
)
MAIL = (
    "IDLE",  # RFC 2177
    "NAMESPACE",  # RFC 2342
    "UIDPLUS",  # RFC 4315
    "MOVE",  # RFC 6851
    "UNSELECT",  # RFC 3691
    "CHILDREN",  # RFC 3348
    "SPECIAL-USE",  # RFC 6154
    "CREATE-SPECIAL-USE",
    "LIST-EXTENDED",  # RFC 5258
    "LIST-STATUS",  # RFC 5819
    "STATUS=SIZE",  # RFC 8438
    "ESEARCH",  # RFC 4731
    "SEARCHRES",  # RFC 5182
    "WITHIN",  # RFC 5032
    "PARTIAL",  # RFC 9394
    "SORT",  # RFC 5256
    "THREAD=ORDEREDSUBJECT",
    "THREAD=REFERENCES",
    "SORT=DISPLAY",  # RFC 5957
    "ESORT",  # RFC 5267
    "SEARCH=FUZZY",  # RFC 6203
    "MULTISEARCH",  # RFC 7377
    "I18NLEVEL=1",  # RFC 5255, where accents count (`search.fold_accents`)
    "CONTEXT=SEARCH",
    "CONTEXT=SORT",
    "BINARY",  # RFC 3516
    "OBJECTID",  # RFC 8474
    "SAVEDATE",  # RFC 8514
    "PREVIEW",  # RFC 8970
    "CONDSTORE",  # RFC 7162
    "QRESYNC",
    "UIDONLY",  # RFC 9586
    "UIDBATCHES",  # RFC 10022
    "QUOTA",  # RFC 9208
    "QUOTA=RES-STORAGE",
    "QUOTA=RES-MESSAGE",
    "ACL",  # RFC 4314
    "RIGHTS=texk",
    "LIST-MYRIGHTS",  # RFC 8440
    "METADATA",  # RFC 5464
    "LIST-METADATA",  # RFC 9590
    "APPENDLIMIT",  # RFC 7889; told with its value
    "MESSAGELIMIT",  # RFC 9738; told with its value, where there is one
    "SAVELIMIT",
    "MULTIAPPEND",  # RFC 3502
    "CATENATE",  # RFC 4469
    "REPLACE",  # RFC 8508
    "UTF8=ACCEPT",  # RFC 6855
    "INPROGRESS",  # RFC 9585
    "UNAUTHENTICATE",  # RFC 8437
    "NOTIFY",  # RFC 5465
)
LOGGED_IN = (
    "QUOTASET",  # RFC 9208 4.1.3, to whom it was granted
    "COMPRESS=DEFLATE",  # RFC 4978; not before login: a password's length is nobody's business
)


def mechanisms(session: Session) -> tuple[str, ...]:
    return session.services.directory.mechanisms(certificate=bool(session.link.certificate))


def may_send_password(session: Session) -> bool:
    """Passwords only over TLS, unless the operator allows loopback for tests (security.md row 24)."""
    link = session.link
    return link.secure or (session.services.plaintext_on_loopback and link.loopback)


# What cannot be used where its capability is withheld.
COMMANDS: dict[str, frozenset[str]] = {
    "ACL": frozenset({"GETACL", "SETACL", "DELETEACL", "LISTRIGHTS", "MYRIGHTS"}),
    "CONTEXT=SEARCH": frozenset({"CANCELUPDATE"}),
    "COMPRESS=DEFLATE": frozenset({"COMPRESS"}),
    "ENABLE": frozenset({"ENABLE"}),
    "ID": frozenset({"ID"}),
    "IDLE": frozenset({"IDLE"}),
    "LANGUAGE": frozenset({"LANGUAGE"}),
    "METADATA": frozenset({"GETMETADATA", "SETMETADATA"}),
    "MOVE": frozenset({"MOVE", "UID MOVE"}),
    "MULTISEARCH": frozenset({"ESEARCH", "UID ESEARCH"}),
    "NAMESPACE": frozenset({"NAMESPACE"}),
    "NOTIFY": frozenset({"NOTIFY"}),
    "QUOTA": frozenset({"GETQUOTA", "GETQUOTAROOT", "SETQUOTA"}),
    "QUOTASET": frozenset({"SETQUOTA"}),
    "REPLACE": frozenset({"REPLACE", "UID REPLACE"}),
    "SORT": frozenset({"SORT", "UID SORT"}),
    "UIDBATCHES": frozenset({"UIDBATCHES"}),
    "UIDPLUS": frozenset({"UID EXPUNGE"}),
    "UNAUTHENTICATE": frozenset({"UNAUTHENTICATE"}),
    "UNSELECT": frozenset({"UNSELECT"}),
}


def refused(session: Session, command: str) -> bool:
    """The command belongs to a capability that is switched off for this client."""
    return any(command in COMMANDS.get(name, ()) for name in session.withheld)


def _told(name: str, session: Session) -> str:
    """As it is announced; "" for what is not."""
    if name == "APPENDLIMIT":
        return f"{name}={session.limits.message_octets}"
    if name == "MESSAGELIMIT":
        return f"{name}={session.message_limit}" if session.message_limit else ""
    if name == "SAVELIMIT":  # RFC 9738 3: one of the two
        return f"{name}={session.save_limit}" if session.save_limit and not session.message_limit else ""
    if name == "I18NLEVEL=1" and not session.services.exact_collation:
        return ""
    return "LITERAL-" if name == "LITERAL+" and session.services.settings.literal_minus else name


def _offered(name: str, session: Session) -> bool:
    return session.sets_quotas if name == "QUOTASET" else not session.link.compressed


def names(session: Session) -> list[str]:
    """The capabilities of this moment, in a stable order."""
    told = [_told(name, session) for name in (*BASE, *MAIL) if name not in session.withheld]
    listed = [name for name in told if name]
    if session.state is State.NOT_AUTHENTICATED:
        if session.link.can_start_tls:
            listed.append("STARTTLS")
        if may_send_password(session):
            listed += [f"AUTH={mechanism}" for mechanism in mechanisms(session)]
        else:
            listed.append("LOGINDISABLED")
    else:
        listed += [name for name in LOGGED_IN if name not in session.withheld and _offered(name, session)]
    return listed
