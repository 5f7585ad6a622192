"""Mail programs without TCP_NODELAY that send an end in a segment of its own do not wait for a delayed acknowledgement.

The kernel delays it by 40 ms at least, so that the best of some tries tells the two apart on any machine.
(For SMTP: `smtp/test_framing_wire.py`.)
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.interop.conftest import World
from tests.interop.mail import imap
from tests.interop.wire import READER

pytestmark = pytest.mark.interop

DELAYED = 0.040  # seconds: TCP_DELACK_MIN of Linux
TRIES = 12
BODY = b"Subject: en deux segments\r\nFrom: a@partner.test\r\n\r\n" + b"Les mots du conseil.\r\n" * 150


def best(once: Callable[[], None]) -> float:
    """The shortest of some runs in seconds."""
    times = []
    for _ in range(TRIES):
        begin = time.perf_counter()
        once()
        times.append(time.perf_counter() - begin)
    return min(times)


def test_the_crlf_behind_imaplibs_literal_costs_no_delay(world: World) -> None:
    with imap(world, READER) as client:

        def once() -> None:
            status, _ = client.append("INBOX", None, None, BODY)
            assert status == "OK"

        assert best(once) < DELAYED
