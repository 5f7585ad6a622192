"""Where fuzzing of IMAP starts: every command of the table with every form of argument its grammar has."""

from __future__ import annotations

# One command a line; several lines in one seed leave a state behind for those that follow.
COMMANDS: tuple[str, ...] = (
    # any state, before login
    'CAPABILITY\nNOOP\nID ("name" "x" "version" NIL)\nID NIL\nLOGOUT',
    "STARTTLS\nAUTHENTICATE PLAIN\nAUTHENTICATE PLAIN AGEAYg==\nAUTHENTICATE LOGIN =\nAUTHENTICATE EXTERNAL *",
    'LOGIN alice@mairie.test "x"\nLOGIN {3+}\nabc "d\\"e"',
    # names
    'SELECT INBOX (CONDSTORE)\nEXAMINE "INBOX"\nUNSELECT\nSELECT INBOX (QRESYNC (1 1 1:9,12 (1:2,4 1:2,4)))\nCLOSE',
    "CREATE x/y (USE (\\Archive))\nRENAME x/y z\nDELETE z\nSUBSCRIBE x\nUNSUBSCRIBE x\nCREATE C&AOk-/\nRENAME INBOX o",
    'LIST "" *\nLIST "" ""\nLIST x/ %\nLSUB "" %\nLIST (SUBSCRIBED RECURSIVEMATCH) "" (% "a*b") RETURN (CHILDREN)',
    'LIST (SPECIAL-USE REMOTE) "" "*" RETURN (SUBSCRIBED SPECIAL-USE MYRIGHTS METADATA (/private/a) STATUS (MESSAGES))',
    "STATUS INBOX (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN DELETED SIZE MAILBOXID APPENDLIMIT HIGHESTMODSEQ "
    "DELETED-STORAGE)",
    'NAMESPACE\nGETQUOTAROOT INBOX\nGETQUOTA ""\nSETQUOTA "" (STORAGE 1 MESSAGE 9999999999)',
    'GETACL INBOX\nSETACL INBOX anyone +lrs\nSETACL INBOX "b@mairie.test" cd\nDELETEACL INBOX anyone\n'
    "LISTRIGHTS INBOX anyone\nMYRIGHTS INBOX",
    'SETMETADATA INBOX (/private/comment "x" /shared/a NIL /private/b ~{3+}\na\0b)\n'
    'GETMETADATA (MAXSIZE 9 DEPTH infinity) "" (/private /shared/comment)\nGETMETADATA INBOX (DEPTH 1) /private/a /b',
    'LANGUAGE\nLANGUAGE fr-CA "de" i-default\nLANGUAGE MUL',
    "ENABLE CONDSTORE QRESYNC UTF8=ACCEPT IMAP4rev2 X\nCOMPRESS DEFLATE\nUNAUTHENTICATE",
    "NOTIFY NONE\nNOTIFY SET STATUS (personal (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))\n"
    "IDLE\nDONE",
    "NOTIFY SET (selected-delayed (MessageNew (UID FLAGS BODY.PEEK[HEADER.FIELDS (From)]) MessageExpunge)) "
    "(subtree (a b) NONE) (mailboxes INBOX (MailboxName)) (inboxes NONE) (subscribed (AnnotationChange))\nIDLE",
    # messages that come
    'APPEND INBOX (\\Seen $a) "22-Nov-2026 10:00:00 +0100" {10+}\n () {3+}\n\nAPPEND x {5}\nabcde',
    'APPEND INBOX CATENATE (URL "/INBOX;UIDVALIDITY=1/;UID=1/;SECTION=1.MIME/;PARTIAL=0.5" TEXT {3+}\n'
    " URL {9+}\n URL ;UID=1)",
    "APPEND INBOX UTF8 (~{9+}\n)\nAPPEND INBOX ~{9+}",
    "REPLACE 1 Drafts {5+}\n\nUID REPLACE * INBOX (\\Draft) {5+}\n",
    # messages that are there
    "FETCH 1:*,*:7 (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE MODSEQ EMAILID THREADID SAVEDATE "
    "PREVIEW (LAZY) PREVIEW)\nFETCH 1 ALL\nFETCH 1 FAST\nFETCH 1 FULL",
    "UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)\nUID FETCH 1:* FLAGS (PARTIAL -1:-3)\nFETCH $ UID",
    "FETCH 1 (BODY[] BODY.PEEK[1.2.HEADER.FIELDS (A B)]<0.10> BODY[HEADER.FIELDS.NOT (From)] BODY[1.MIME] BODY[TEXT])",
    "FETCH 1 (RFC822 RFC822.HEADER RFC822.TEXT BINARY[1]<0.5> BINARY.PEEK[] BINARY.SIZE[1])",
    "STORE 1 +FLAGS (\\Deleted $x)\nUID STORE 1:* (UNCHANGEDSINCE 3) -FLAGS.SILENT \\Seen a\nSTORE $ FLAGS ()",
    "COPY 1 Trash\nUID COPY 1:* Nowhere\nMOVE 1 Junk\nUID MOVE 1 INBOX\nEXPUNGE\nUID EXPUNGE 1:9\nCHECK",
    "SEARCH RETURN (MIN MAX ALL COUNT SAVE) CHARSET UTF-8 (OR $ NOT 1:2) TEXT b\nSEARCH RETURN (PARTIAL -1:-9) UID 1:*",
    'SEARCH ANSWERED BCC "x" BEFORE 1-Jan-2026 BODY b CC c DELETED DRAFT FLAGGED FROM f HEADER X "y" KEYWORD $k NEW',
    'SEARCH LARGER 1 SMALLER 2 ON "1-Jan-2026" RECENT SEEN SENTBEFORE 1-Jan-2026 SENTON 2-Feb-2026 SENTSINCE 3-Mar-26',
    'UID SEARCH SINCE 1-Jan-2026 SUBJECT s TO t UNKEYWORD k OLDER 1 YOUNGER 2 MODSEQ "/flags/\\\\Draft" all 3 MODSEQ 4',
    "SEARCH EMAILID Mx THREADID Ty SAVEDBEFORE 1-Jan-2026 SAVEDON 1-Jan-2026 SAVEDSINCE 1-Jan-2026 SAVEDATESUPPORTED",
    "SORT (REVERSE ARRIVAL CC DATE FROM SIZE SUBJECT TO DISPLAYFROM DISPLAYTO) UTF-8 ALL\n"
    "UID SORT RETURN (COUNT ALL) (SUBJECT) US-ASCII 1:*",
    "THREAD REFERENCES UTF-8 ALL\nUID THREAD ORDEREDSUBJECT US-ASCII UNSEEN",
    "UIDBATCHES 500\nUIDBATCHES 2000 1:50\nUIDBATCHES 500 3:2",
    'UID SORT RETURN (UPDATE) (SUBJECT) UTF-8 UNSEEN\nUID STORE 1 +FLAGS (\\Seen)\nCANCELUPDATE "a"',
    "ESEARCH IN (personal subtree (INBOX x)) RETURN (COUNT RELEVANCY) FUZZY SUBJECT one\nUID ESEARCH IN (selected) ALL",
    "SORT RETURN (RELEVANCY ALL) (RELEVANCY SUBJECT) UTF-8 FUZZY TEXT bodi\nSEARCH FUZZY SUBJECT one",
    "ENABLE METADATA UIDONLY\nNOTIFY SET (subtree a (MailboxMetadataChange ServerMetadataChange))\nNOOP",
)

_CONTINUED = ("abc", "a\0b", "DONE", " ", "/")  # what follows a literal, and the end of IDLE, carry no tag


def _line(text: str) -> bytes:
    return text.encode() if not text or text.startswith(_CONTINUED) else b"a " + text.encode()


SEEDS = tuple(b"\r\n".join(map(_line, seed.split("\n"))) for seed in COMMANDS)
