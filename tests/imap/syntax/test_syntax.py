"""The strict reading itself: what it takes, and what of it a client would choke on."""

from __future__ import annotations

import pytest

from tests.imap.syntax.responses import Mode, Ungrammatical, after, check, split

REV1, UTF8, REV2 = Mode(), Mode(utf8=True), Mode(utf8=True, rev2=True)
ENVELOPE = b'(NIL "s" ((NIL NIL "a" "b")(NIL NIL NIL NIL)) NIL NIL NIL NIL NIL NIL "<m>")'
TEXT = b'"text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 5 1'
GLOBAL = b'("message" "global" NIL NIL NIL "7bit" 9 %b (%b) 2)' % (ENVELOPE, TEXT)

TAKEN = [
    b"+ idling",
    b"+ ",
    b"+ dGVzdA==",
    b"a]1 OK [UIDNEXT 4] x",
    b"* BYE bye",
    b"* CAPABILITY IMAP4rev1 IMAP4rev2 AUTH=PLAIN",
    b'* LIST (\\HasNoChildren \\Sent) "/" "a b" ("CHILDINFO" ("SUBSCRIBED") OLDNAME (x))',
    b"* LSUB () NIL INBOX",
    b'* LIST () "/" &AOk-t&-',
    b"* STATUS {1}\r\nx (MESSAGES 4 SIZE 9223372036854775807)",
    b"* SEARCH",
    b"* ENABLED",
    b"* THREAD",
    b"* SEARCH 1 2 (MODSEQ 9)",
    b"* SORT 2 1",
    b"* THREAD (1 2 (3)(4 5))((6)(7))",
    b"* ESEARCH",
    b"* VANISHED 1,3:4",
    b'* ESEARCH (TAG "a") UID COUNT 2 ALL 1:2 PARTIAL (-1:-2 NIL)',
    b'* NAMESPACE (("" "/")) NIL (("a" NIL)("b" "/"))',
    b'* ID ("name" "x" "os" NIL)',
    b'* QUOTA "" (STORAGE 1 2)',
    b"* METADATA x (/a ~{1}\r\n\x00 /b NIL)",
    b"* 0 EXISTS",
    b'* 1 FETCH (FLAGS (\\Recent a) UID 7 BODY[1.HEADER.FIELDS (a "b c")]<3> {2}\r\n\xff) BINARY[1] ~{1}\r\n\x00)',
    b'* 1 FETCH (ENVELOPE %b BODY (%b) BODYSTRUCTURE ((%b NIL NIL NIL NIL) "mixed" NIL NIL ("fr") NIL))'
    % (ENVELOPE, TEXT, TEXT),
    b'* 1 FETCH (INTERNALDATE " 1-Jan-2000 00:00:00 +0000" MODSEQ (4) EMAILID (M_1-a))',
]
REFUSED = [
    b"",
    b"+",
    b"+ \r\n\r\n",
    b"* ok",
    b"a OK",
    b"a FINE x",
    b"+a OK x",
    b"a OK [ODD] x",
    b"a OK [UIDNEXT] x",
    b"a OK \xc3\xa9",
    b"a OK [UIDNEXT 0] x",
    b"a OK [UIDNEXT 4294967296] x",
    b"a OK [ALERT]x",
    b"* BYE",
    b"* CAPABILITY IMAP4rev1 IMAP4rev1",
    b'* LIST (\\Noselect \\NonExistent) "/" x',
    b'* LIST () "//" x',
    b"* LIST () / x",
    b'* LIST () "/" a b',
    b'* LIST () "/" "\xc3\xa9"',
    b'* LIST () "/" &AOk',
    b'* LIST () "/" {2}\r\n\xc3\xa9',
    b'* LIST (\\Odd) "/" x',
    b'* LIST () "/" x (OLDNAME (a b))',
    b"* STATUS x (MESSAGES)",
    b"* STATUS x (MESSAGES 1  UNSEEN 2)",
    b"* SEARCH 0",
    b"* SEARCH (MODSEQ 9)",
    b"* SEARCH  1",
    b"* THREAD (1 (2))",
    b"* THREAD (1)(",
    b"* VANISHED *",
    b"* XYZ",
    b"* ESEARCH ALL *",
    b"* ESEARCH COUNT",
    b"* NAMESPACE NIL NIL",
    b"* 0 EXPUNGE",
    b"* 1 FETCH ()",
    b"* 1 FETCH (FLAGS \\Seen)",
    b"* 1 FETCH (FLAGS (\\Odd))",
    b"* 1 FETCH (UID 0)",
    b"* 1 FETCH (UID 1 )",
    b"* 1 FETCH (BODY[] NIL",
    b'* 1 FETCH (BODY[1.] "")',
    b'* 1 FETCH (BODY[MIME] "")',
    b'* 1 FETCH (BODY[] "a\rb")',
    b"* 1 FETCH (BODY[] {1}\r\n\x00)",
    b"* 1 FETCH (BODY[] {3}\r\nab)",
    b'* 1 FETCH (BODY[] "\\n")',
    b"* 1 FETCH (BODY (%b NIL NIL NIL NIL))" % TEXT,
    b"* 1 FETCH (BODYSTRUCTURE (%b))" % TEXT,
    b'* 1 FETCH (BODY ("text" "plain" () NIL NIL "7bit" 5 1))',
    b"* 1 FETCH (BODY %b)" % GLOBAL,
    b'* 1 FETCH (ENVELOPE (NIL "s" () NIL NIL NIL NIL NIL NIL NIL))',
    b'* 1 FETCH (INTERNALDATE "1-Jan-2000 00:00:00 +0000")',
]


@pytest.mark.parametrize("response", TAKEN)
def test_what_the_grammar_admits_is_taken(response: bytes) -> None:
    check(response + b"\r\n", REV1)


@pytest.mark.parametrize("response", REFUSED)
def test_what_it_does_not_admit_is_refused(response: bytes) -> None:
    with pytest.raises(Ungrammatical):
        check(response + b"\r\n", REV1)
    with pytest.raises(Ungrammatical):
        check(b"* 1 EXISTS\n", REV1)


def test_what_is_enabled_decides() -> None:
    names = b'* LIST () "/" "\xc3\xa9"\r\n'
    assert after(b"* ENABLED IMAP4rev2\r\n", REV1) == REV2
    assert after(b"* ENABLED UTF8=ACCEPT\r\n", REV1) == UTF8
    assert after(b"* ENABLED CONDSTORE\r\n", REV2) == REV2
    for mode in (UTF8, REV2):
        check(names, mode)
        check(b'* LIST () "/" a&b\r\n', mode)
        with pytest.raises(Ungrammatical):
            check(b'* LIST () "/" "\xff"\r\n', mode)
    check(b"* 1 FETCH (BODY %b)\r\n" % GLOBAL, REV2)
    for old in (b"* SEARCH 1", b"* 1 RECENT", b"* OK [UNSEEN 1] x", b"* 1 FETCH (FLAGS (\\Recent))"):
        check(old + b"\r\n", UTF8)
        with pytest.raises(Ungrammatical):
            check(old + b"\r\n", REV2)
    french = after(b"* LANGUAGE (fr)\r\n", REV1)
    check("a OK terminé\r\n".encode(), french)
    assert after(b"* LANGUAGE (en)\r\n", french) == REV1
    assert after(b"* LANGUAGE (fr en i-default)\r\n", REV1) == REV1


def test_octets_are_cut_into_responses() -> None:
    whole = [b"* 1 EXISTS\r\n", b"* 1 FETCH (BODY[] {4}\r\n\r\n{9 UID 1)\r\n", b"* LIST () NIL {1}\r\nx\r\n"]
    assert list(split(b"".join(whole))) == whole
    for cut in (b"* 1 EXISTS", b"* 1 FETCH (BODY[] {4}\r\nab"):
        assert list(split(whole[0] + cut)) == [whole[0], cut]
