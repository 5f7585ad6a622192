"""docs/limits.md, "Bounds that are no keys": each number on the page is the constant that the code judges by."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from antispam import learn, rspamd
from antispam.authentication import dkim_key, dmarc, spf, spf_record
from core import dns, proxy
from delivery import absence, destinations, scheduler
from delivery.queue import claims, outbox, picking, refunds, tls_counts, tracing, vacations
from directory import app_passwords, attempts, import_csv, introspection, rules, sasl, throttle
from directory.services import app_passwords as app_password_services
from directory.services import sharing
from imap import contexts, deflate, dispatch, language, login, patterns, places, transfer, view
from imap.commands import (
    cancel_update,
    catenate,
    esearch,
    incoming,
    metadata,
    notify,
    returned,
    select,
    sort,
    uid_batches,
)
from imap.commands import id as id_command
from imap.commands import language as language_command
from imap.commands import list as list_command
from imap.commands.fetch import parse as fetch_parse
from imap.commands.fetch import small as fetch_small
from imap.commands.search import fuzzy
from imap.commands.search import parse as search_parse
from imap.wire import scanner
from message import address_list, arc, dsn, mime, sorting, words
from smtp import guards, parameters
from smtp.outbound import agent, dane, mx, pool, reply_parser, sts, sts_cache, tls_report
from store import (
    accounts,
    backup,
    delivery,
    flusher,
    handle,
    importing,
    leftovers,
    lockfile,
    names,
    readers,
    recent,
    rows,
    service,
    small,
    unscanned,
    writer,
)
from store.search import alike, filler

PAGE = (Path(__file__).parents[2] / "docs/limits.md").read_text(encoding="utf-8")
UNITS = {"": 1.0, "ms": 0.001, "KiB": 1024.0, "MiB": 1024.0 * 1024, "million": 1e6}
WORDS = {"an hour": "3600", "a day": "86400"}
NUMBER = re.compile(r"(?<![\w.])(\d[\d,]*(?:\.\d+)?)(?: (KiB|MiB|million|ms)\b)?")

# The first cell of a row > the numbers of the second in their order: octets, seconds, pieces.
BOUNDS: dict[str, tuple[float, ...]] = {
    "PROXY header of a balancer: octets of version 1, of version 2; time for it": (
        proxy.MAX_V1,
        proxy.MAX_V2,
        proxy.TIMEOUT,
    ),
    "wrong passwords in one session": (guards.LOGIN_FAILURES, login.MAX_FAILURES),
    "wrong passwords of one network for one account": (),
    "wrong passwords of one network": (throttle.REMOTE.free, throttle.REMOTE.free * throttle.KNOWN_FACTOR),
    "wrong passwords for one account, of networks that never logged in to it": (throttle.ACCOUNT.free,),
    "different passwords of one network for one account at once": (attempts.ATTEMPTS_AT_ONCE,),
    "app passwords of a mailbox; networks of one": (app_password_services.MAX_EACH, app_passwords.MAX_NETWORKS),
    "entries of a folder's access list": (sharing.MAX_ENTRIES,),
    "access token; answer of the server that knows it; time for it": (
        sasl.MAX_TOKEN,
        introspection.MAX_ANSWER,
        introspection.PATIENCE,
    ),
    "entries of one GETMETADATA or SETMETADATA; of LIST's METADATA; length of an entry's name": (
        metadata.MAX_ENTRIES,
        returned.MAX_ENTRIES,
        metadata.MAX_ENTRY,
    ),
    "messages, octets carried at once between two accounts": (transfer.MOST_MESSAGES, transfer.MOST_OCTETS),
    "accounts open in one process; unused": (service.MOST_OPEN, accounts.IDLE_AFTER),
    "a message file that cannot be read": (filler.AGAIN_EVERY, rows.ASKED_AGAIN, unscanned.TURN),
    "a folder that cannot be read (directory, side file, journal)": (handle.AGAIN,),
    "what a killed process left in a mailbox's `tmp/`: an index that was being made, anything else": (
        leftovers.STALE_INDEX,
        leftovers.STALE,
    ),
    "processes that read messages for who waits for 10,000 or more that are not read yet": (
        readers.BEHIND,
        readers.PATIENCE,
        readers.TOGETHER,
    ),
    "APPENDs that came whole one behind the other and are committed together": (dispatch.TOGETHER,),
    "a header that is scanned on the event loop; octets of APPENDs scanned in one turn": (
        delivery.QUICK,
        importing.TURN_OCTETS,
        importing.TURN,
    ),
    "address lists and header blocks of parts that a scan remembers, longest ones": (
        2,
        address_list.KNOWN,
        address_list.SHORT,
        mime.KNOWN,
        mime.SHORT,
    ),
    "files left alone in a folder's cur/ and new/ that are looked at again once they are given to us or filled": (
        handle.MOST_LEFT,
    ),
    "messages of one APPEND that are scanned before it is answered": (delivery.LATER - 1,),
    "messages of one APPEND; of these smaller than 256 KiB; larger": (
        incoming.MOST_MESSAGES,
        incoming.MOST_SMALL,
        incoming.MOST_LARGE,
    ),
    "clear text of a compressed connection in hand": (deflate.MOST,),
    "event groups, names in one NOTIFY": (notify.MAX_GROUPS, notify.MAX_NAMES),
    "accounts of others that one NOTIFY listens to": (places.MOST_OTHERS,),
    "messages waiting to be learnt from moves into or out of Junk; the largest": (learn.WAITING, learn.LARGEST),
    "items in one FETCH": (fetch_parse.MAX_ITEMS,),
    "whole messages of at most 64 KiB that one FETCH reads and answers together: number, octets; time for it on the "
    "loop": (fetch_small.MOST, fetch_small.TOGETHER, small.PATIENCE),
    "what one backup leaves out because the disk does not give it, by name": (backup.NAMED,),
    "pairs of QRESYNC's match data that are looked at": (select.MAX_MATCH,),
    "messages of one batch of UIDBATCHES; of the batches asked for by number": (
        uid_batches.SMALLEST,
        uid_batches.MOST,
    ),
    "ranges of UIDs with \\Recent in one session": (view.MOST_RECENT,),
    "searches that are kept up (UPDATE) in one selected mailbox; messages they found together": (
        contexts.MOST,
        contexts.MOST_UIDS,
    ),
    "texts below FUZZY in one SEARCH; words of each that count, words alike that are looked for; words compared for "
    "one": (search_parse.MAX_FUZZY_KEYS, fuzzy.MOST_WORDS, fuzzy.MOST_ALIKE, 2 * alike.MOST),
    "mailboxes named in one ESEARCH; searched by one": (esearch.MOST_NAMES, esearch.MOST_MAILBOXES),
    "mailboxes times texts of one ESEARCH (a text below FUZZY counts 20); messages times keys": (
        esearch.MOST_QUESTIONS,
        esearch.MOST_JUDGED,
    ),
    "keys in one SORT": (sort.MAX_CRITERIA,),
    "keys in one SEARCH, their depth, TEXT and BODY among them": (
        search_parse.MAX_KEYS,
        search_parse.MAX_DEPTH,
        search_parse.MAX_TEXT_KEYS,
    ),
    "text of one message that is indexed: characters, different words": (words.MAX_TEXT, words.MAX_WORDS),
    "header of a message, and of each part, that is searched and indexed": (),
    "references of one message that threads look at": (sorting.MAX_PARENTS,),
    "sorted and threaded messages that are remembered, for each process": (recent.MOST,),
    "octets of a mailbox name, or of a pattern, on the wire": (scanner.LONGEST_NAME,),
    "patterns in one LIST; ranges in one LANGUAGE; fields in one ID": (
        list_command.MAX_PATTERNS,
        language_command.MOST_RANGES,
        id_command.MAX_FIELDS,
    ),
    "subtags of a language range that are looked at": (language.LOOKED_AT,),
    "name, value of a field in ID; tags in one CANCELUPDATE": (
        id_command.MAX_NAME,
        id_command.MAX_VALUE,
        cancel_update.MOST_TAGS,
    ),
    "characters of a pattern of LIST; of an IMAP URL in CATENATE": (patterns.MAX_PATTERN, catenate.MAX_URL),
    "name of a folder: octets in UTF-8, levels": (names.MAX_NAME, names.MAX_LEVELS),
    "octets of ENVID; of ORCPT, of AUTH=": (parameters.MAX_ENVID, parameters.MAX_ORCPT),
    "waiting for an account's lock that somebody keeps: an operation, opening, administration; a worker thread for it; "
    "a flush's turn; closing; a first count of octets": (
        lockfile.WAIT,
        writer.IN_THREAD,
        flusher.FLUSH_PATIENCE,
        accounts.CLOSE_WAIT,
        accounts.MEASURE_WAIT,
    ),
    "domains of From that are asked for their DMARC policy; time for each": (dmarc.MAX_FROM_DOMAINS, dmarc.TIMEOUT),
    "aliases (CNAME) behind one name": (dns.MAX_CNAMES,),
    "questions of one process to the DNS at a time, of these younger than 0.5 s": (dns.MOST, dns.CONCURRENT),
    "questions under way when none is asked any more behind 354, before the message is here": (dns.CROWDED,),
    "targets of an alias": (rules.MAX_TARGETS,),
    "rows, octets of a file for `mailbox import`": (import_csv.MAX_ROWS, import_csv.MAX_FILE),
    "text, subject of an absence notice": (absence.MAX_TEXT, absence.MAX_SUBJECT),
    "addresses that one absent account tells in an hour, of envelopes and From fields": (vacations.MOST,),
    "remote reply: line, lines": (reply_parser.MAX_LINE, reply_parser.MAX_LINES),
    "exchangers of a domain: all, of one preference; addresses of one; tried for a job at a time": (
        mx.MAX_HOSTS,
        mx.MAX_HOSTS_PER_PREFERENCE,
        mx.MAX_ADDRESSES_PER_HOST,
        agent.MAX_ATTEMPTS,
    ),
    "recipients of one job; messages over one connection; connections kept for the next message": (
        claims.MAX_RECIPIENTS,
        pool.MAX_USES,
        pool.MAX_IDLE,
    ),
    "names, void answers that one SPF check asks for; terms of a record": (
        spf.MAX_LOOKUPS,
        spf.MAX_VOIDS,
        spf_record.MAX_TERMS,
    ),
    "bits of a DKIM key": (dkim_key.MAXIMUM_BITS,),
    "sets of an ARC chain": (arc.MAX_SETS,),
    "octets of Rspamd's answer": (rspamd.MAX_REPLY,),
    "an original that is returned whole in a notice": (dsn.RETURN_LIMIT,),
    "policy of MTA-STS: octets, mx lines; policies kept": (sts.MAX_POLICY, sts.MAX_PATTERNS, sts_cache.KEPT),
    "TLSA records of a host, certificates of its chain": (dane.MAX_RECORDS, dane.MAX_CHAIN),
    "addresses of one TLS report; its rows": (tls_report.MAX_URIS, tls_counts.ROWS),
    "octets of a message that comes with its claim, in memory until its job ends": (claims.SMALL,),
    "places of the queue's runner; for one commune alone": (
        scheduler.PLACES,
        scheduler.PLACES - scheduler.PLACES // destinations.RESERVE,
    ),
    "jobs to one next hop at a time: at first, at most; beyond these, for a commune that has none there": (
        destinations.FIRST,
        destinations.MOST,
        destinations.NEWCOMER,
    ),
    "messages handled at once (`queue … --all`): in one transaction": (picking.PART,),
    "lines of `queue shape`": (picking.SHAPED,),
    "a search of the trace: messages, entries": (tracing.MESSAGES, tracing.ENTRIES),
    "our own messages of one process that wait for the queue (alerts)": (outbox.MOST,),
    "charges of one process that wait to be given back (PostgreSQL away)": (refunds.MOST,),
}


def _bounds() -> dict[str, str]:
    """First cell > second cell."""
    table = PAGE.split("\n## Bounds that are no keys\n")[1].split("\n## ")[0]
    rows_ = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| ")]
    return {row[0].strip(): row[1].strip() for row in rows_[1:]}


def _numbers(cell: str) -> tuple[float, ...]:
    for said, meant in WORDS.items():
        cell = cell.replace(said, meant)
    return tuple(float(digits.replace(",", "")) * UNITS[unit] for digits, unit in NUMBER.findall(cell))


def test_every_bound_is_compared() -> None:
    assert _bounds().keys() == BOUNDS.keys()


@pytest.mark.parametrize("what", BOUNDS)
def test_a_bound_on_the_page_is_the_one_of_the_code(what: str) -> None:
    if constants := BOUNDS[what]:
        assert _numbers(_bounds()[what]) == pytest.approx(constants), what
