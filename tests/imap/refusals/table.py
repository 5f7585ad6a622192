"""All rows of `test_refusals`: one for each place where the IMAP server says NO or BAD."""

from __future__ import annotations

from tests.imap.refusals.appending import APPENDING
from tests.imap.refusals.connection import GRAMMAR, WAYS_IN
from tests.imap.refusals.finding import FINDING
from tests.imap.refusals.mailboxes import ACL, ANNOTATIONS, FOLDERS, TELLING
from tests.imap.refusals.messages import CHANGING, FETCHING
from tests.imap.refusals.row import Row

ROWS: tuple[Row, ...] = (
    *ACL, *WAYS_IN, *APPENDING, *FOLDERS, *ANNOTATIONS, *TELLING, *FETCHING, *CHANGING, *FINDING, *GRAMMAR,
)  # fmt: skip
