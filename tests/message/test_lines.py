"""Whether a message consists of lines, judged block by block."""

from __future__ import annotations

import re
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from message.lines import BARE_LINE_END, LineJudge

_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)")
PIECES = (b"\r\n", b"\r", b"\n", b"x", b"x" * 40, b"\r\n" * 300, b"bonjour\r\n" * 200)


@given(st.lists(st.sampled_from(PIECES), max_size=12))
@example([b"\r", b"\r\n", b"\n"])  # the pair between them gone, they look like one
@example([b"\r\n" * 300, b"\n"])
@example([b"bonjour\r\n" * 200, b"\r\n" * 300, b"\r"])
def test_a_bare_line_end_is_found_among_short_lines_and_long_ones(pieces: list[bytes]) -> None:
    block = b"".join(pieces)
    judge = LineJudge(1 << 20)
    judge.look(block)
    assert (judge.fault is BARE_LINE_END) == bool(_BARE.search(block))


@given(st.lists(st.sampled_from(PIECES), max_size=12), st.sampled_from((b"\n", b"\r")))
def test_a_bare_line_end_is_not_forgotten_by_later_blocks(pieces: list[bytes], bare: bytes) -> None:
    judge = LineJudge(1 << 20)
    judge.look(b"x" + bare + b"y")
    for piece in pieces:
        judge.look(piece)
    assert judge.fault is BARE_LINE_END


@pytest.mark.parametrize("line", [b"\r\n", b"ab\r\n", b"x" * 76 + b"\r\n"])
def test_p7_short_lines_behind_long_ones_cost_no_more_memory_than_the_block(line: bytes) -> None:
    block = (b"z" * 900 + b"\r\n") * 4 + line * (256 * 1024 // len(line))
    judge = LineJudge(998)
    tracemalloc.start()
    judge.look(block)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert judge.fault is None
    assert peak < 2 * len(block)
