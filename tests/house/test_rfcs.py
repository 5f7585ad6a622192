"""docs/rfcs.md says what the code says: each capability and citation has a row, each module and test named exists."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from core.config import Limits
from core.envelope import Listener
from directory import sasl
from imap import capability
from smtp.outbound.connection import PATIENCE
from smtp.outbound.dialogue import Stage
from smtp.parameters import MAIL_PARAMETERS, RCPT_PARAMETERS
from tests.fakes.smtp_server import Wire, running, service

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/rfcs.md"
CITING = ("smtp", "imap", "antispam", "dkim_keys", "message", "delivery")
DONE = ("yes", "partial")

# What a server says > the (RFC, words of the row's subject) that stand for it.
IMAP_CAPABILITIES = {
    "IMAP4rev1": ("3501", "SELECT"),
    "IMAP4rev2": ("9051", "SELECT"),
    "LITERAL+": ("7888", "LITERAL+"),
    "SASL-IR": ("4959", "SASL-IR"),
    "ID": ("2971", "ID"),
    "ENABLE": ("5161", "ENABLE"),
    "LANGUAGE": ("5255", "LANGUAGE"),
    "IDLE": ("2177", "IDLE"),
    "NAMESPACE": ("2342", "NAMESPACE"),
    "UIDPLUS": ("4315", "UIDPLUS"),
    "MOVE": ("6851", "MOVE"),
    "UNSELECT": ("3691", "UNSELECT"),
    "CHILDREN": ("3348", "CHILDREN"),
    "SPECIAL-USE": ("6154", "SPECIAL-USE"),
    "CREATE-SPECIAL-USE": ("6154", "CREATE-SPECIAL-USE"),
    "LIST-EXTENDED": ("5258", "LIST-EXTENDED"),
    "LIST-STATUS": ("5819", "LIST-STATUS"),
    "STATUS=SIZE": ("8438", "STATUS=SIZE"),
    "CONDSTORE": ("7162", "CONDSTORE"),
    "ESEARCH": ("4731", "ESEARCH"),
    "SEARCHRES": ("5182", "SEARCHRES"),
    "WITHIN": ("5032", "WITHIN"),
    "PARTIAL": ("9394", "PARTIAL"),
    "UIDONLY": ("9586", "UIDONLY"),
    "UIDBATCHES": ("10022", "UIDBATCHES"),
    "MESSAGELIMIT": ("9738", "MESSAGELIMIT"),
    "SAVELIMIT": ("9738", "SAVELIMIT"),
    "INPROGRESS": ("9585", "INPROGRESS"),
    "CONTEXT=SEARCH": ("5267", "CONTEXT=SEARCH"),
    "CONTEXT=SORT": ("5267", "CONTEXT=SORT"),
    "SEARCH=FUZZY": ("6203", "SEARCH=FUZZY"),
    "MULTISEARCH": ("7377", "MULTISEARCH"),
    "I18NLEVEL=1": ("5255", "I18NLEVEL=1"),
    "SORT": ("5256", "SORT"),
    "THREAD=ORDEREDSUBJECT": ("5256", "THREAD=ORDEREDSUBJECT"),
    "THREAD=REFERENCES": ("5256", "THREAD=REFERENCES"),
    "SORT=DISPLAY": ("5957", "SORT=DISPLAY"),
    "ESORT": ("5267", "ESORT"),
    "BINARY": ("3516", "BINARY"),
    "OBJECTID": ("8474", "OBJECTID"),
    "SAVEDATE": ("8514", "SAVEDATE"),
    "PREVIEW": ("8970", "PREVIEW"),
    "QRESYNC": ("7162", "QRESYNC"),
    "QUOTA": ("9208", "QUOTA"),
    "QUOTA=RES-STORAGE": ("9208", "QUOTA=RES-STORAGE"),
    "QUOTASET": ("9208", "QUOTASET"),
    "QUOTA=RES-MESSAGE": ("9208", "QUOTA=RES-MESSAGE"),
    "ACL": ("4314", "ACL"),
    "RIGHTS=texk": ("4314", "RIGHTS=texk"),
    "LIST-MYRIGHTS": ("8440", "LIST-MYRIGHTS"),
    "METADATA": ("5464", "METADATA"),
    "LIST-METADATA": ("9590", "LIST-METADATA"),
    "APPENDLIMIT": ("7889", "APPENDLIMIT"),
    "COMPRESS=DEFLATE": ("4978", "COMPRESS=DEFLATE"),
    "MULTIAPPEND": ("3502", "MULTIAPPEND"),
    "CATENATE": ("4469", "CATENATE"),
    "REPLACE": ("8508", "REPLACE"),
    "UTF8=ACCEPT": ("6855", "UTF8=ACCEPT"),
    "NOTIFY": ("5465", "NOTIFY"),
    "UNAUTHENTICATE": ("8437", "UNAUTHENTICATE"),
    "AUTH=PLAIN": ("4616", "PLAIN"),
    "AUTH=LOGIN": ("4422", "LOGIN"),
    "AUTH=EXTERNAL": ("4422", "EXTERNAL"),
    "AUTH=OAUTHBEARER": ("7628", "OAUTHBEARER"),
    "AUTH=XOAUTH2": ("7628", "XOAUTH2"),
    "AUTH=SCRAM-SHA-256": ("7677", "SCRAM-SHA-256"),
    "STARTTLS": ("9051", "STARTTLS"),
    "LOGINDISABLED": ("9051", "LOGINDISABLED"),
}
EHLO_KEYWORDS = {
    "PIPELINING": ("2920", "PIPELINING"),
    "SIZE": ("1870", "SIZE"),
    "STARTTLS": ("3207", "STARTTLS"),
    "AUTH": ("4954", "AUTH"),
    "8BITMIME": ("6152", "8BITMIME"),
    "SMTPUTF8": ("6531", "SMTPUTF8"),
    "ENHANCEDSTATUSCODES": ("2034", "ENHANCEDSTATUSCODES"),
    "DSN": ("3461", "DSN"),
    "REQUIRETLS": ("8689", "REQUIRETLS"),
    "CHUNKING": ("3030", "CHUNKING"),
    "BINARYMIME": ("3030", "BINARYMIME"),
    "FUTURERELEASE": ("4865", "FUTURERELEASE"),
    "DELIVERBY": ("2852", "DELIVERBY"),
    "MT-PRIORITY": ("6710", "MT-PRIORITY"),
    "LIMITS": ("9422", "LIMITS"),
    "HELP": ("5321", "HELP"),
}
SMTP_PARAMETERS = {
    "SIZE": "1870",
    "BODY": "6152",
    "SMTPUTF8": "6531",
    "RET": "3461",
    "ENVID": "3461",
    "AUTH": "4954",
    "REQUIRETLS": "8689",
    "NOTIFY": "3461",
    "ORCPT": "3461",
    "HOLDFOR": "4865",
    "HOLDUNTIL": "4865",
    "BY": "2852",
    "MT-PRIORITY": "6710",
}


@dataclass(frozen=True, slots=True)
class Row:
    """`status` is yes, partial or no; `missing` what the page says after the colon."""

    line: int
    rfcs: tuple[str, ...]
    subject: str
    status: str
    missing: str
    where: tuple[str, ...]
    tests: tuple[str, ...]


@cache
def rows() -> tuple[Row, ...]:
    found = []
    for number, line in enumerate(PAGE.read_text(encoding="utf-8").splitlines(), 1):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and cells[0][:1].isdigit():
            assert len(cells) == 6, f"line {number}: {len(cells)} cells"
            status, _, missing = cells[3].partition(":")
            names = [re.findall(r"`([^`]+)`", cell) for cell in cells[4:]]
            found.append(
                Row(number, tuple(cells[0].split(", ")), cells[2], status, missing.strip(), *map(tuple, names))
            )
    return tuple(found)


def done(rfc: str, word: str) -> bool:
    exact = re.compile(rf"(?<![A-Za-z0-9-]){re.escape(word)}(?![A-Za-z0-9])")
    return any(rfc in row.rfcs and exact.search(row.subject) and row.status in DONE for row in rows())


@cache
def functions(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_row_says_yes_with_a_test_or_what_is_missing() -> None:
    assert len(rows()) > 200
    for row in rows():
        assert row.status in ("yes", "partial", "no"), f"line {row.line}: {row.status}"
        assert row.status != "yes" or not row.missing, f"line {row.line}: yes, but {row.missing}"
        if row.status == "yes":
            assert row.tests, f"line {row.line}: yes without a test"
            assert row.where, f"line {row.line}: yes without a module"
        if row.status == "partial":
            assert row.missing, f"line {row.line}: partial does not say what is missing"


def test_every_module_and_test_it_names_exists() -> None:
    for row in rows():
        for module in row.where:
            assert (ROOT / module).is_file(), f"line {row.line}: {module}"
        for name in row.tests:
            path, _, function = name.partition("::")
            file = ROOT / "tests" / path
            assert file.is_file(), f"line {row.line}: {path}"
            assert not function or function in functions(file), f"line {row.line}: {name}"


def test_every_imap_capability_is_on_the_page() -> None:
    announced = {
        *capability.BASE,
        *capability.MAIL,
        *capability.LOGGED_IN,
        *(f"AUTH={name}" for name in sasl.MECHANISMS),
    }
    announced |= {"STARTTLS", "LOGINDISABLED"}
    assert announced == set(IMAP_CAPABILITIES)
    for name, (rfc, word) in IMAP_CAPABILITIES.items():
        assert done(rfc, word), f"{name}: no row of RFC {rfc} with {word}"


async def test_every_ehlo_keyword_is_on_the_page() -> None:
    """The keywords that depend on TLS are in the table of this test; the others are asked on the wire."""
    said: dict[Listener, set[str]] = {}
    for role in (Listener.MX, Listener.SUBMISSION):
        async with running(service(role=role)) as server:
            wire = await Wire.connect(server)
            said[role] = {line[4:].split(" ")[0] for line in (await wire.say("EHLO client.test")).splitlines()[1:]}
            wire.close()
    assert said[Listener.SUBMISSION] == set(EHLO_KEYWORDS) - {"STARTTLS", "AUTH", "REQUIRETLS"}
    assert said[Listener.MX] == said[Listener.SUBMISSION] - {"FUTURERELEASE", "DELIVERBY", "MT-PRIORITY"}
    for name, (rfc, word) in EHLO_KEYWORDS.items():
        assert done(rfc, word), f"{name}: no row of RFC {rfc} with {word}"


def test_every_smtp_parameter_is_on_the_page() -> None:
    assert {*MAIL_PARAMETERS, *RCPT_PARAMETERS} == set(SMTP_PARAMETERS)
    for name, rfc in SMTP_PARAMETERS.items():
        assert done(rfc, name), f"{name}: no row of RFC {rfc}"


@pytest.mark.parametrize("package", CITING)
def test_every_rfc_cited_in_the_code_has_a_row(package: str) -> None:
    known = {rfc for row in rows() for rfc in row.rfcs}
    for path in sorted((ROOT / package).rglob("*.py")):
        for rfc in re.findall(r"RFCs? ([0-9]{3,5})\b", path.read_text(encoding="utf-8")):
            assert rfc in known, f"{path.relative_to(ROOT)} cites RFC {rfc}"


# RFC 5321 4.5.3.2.1 to 4.5.3.2.6, in minutes
LEAST_PATIENCE = {
    Stage.GREETING: 5,
    Stage.MAIL: 5,
    Stage.RCPT: 5,
    Stage.DATA: 2,
    Stage.BLOCK: 3,
    Stage.FINAL: 10,
}


def test_patience_is_not_below_the_rfcs() -> None:
    for stage, minutes in LEAST_PATIENCE.items():
        assert PATIENCE[stage] >= minutes * 60, stage
    assert Limits().imap_idle >= 30 * 60  # RFC 9051 5.4
