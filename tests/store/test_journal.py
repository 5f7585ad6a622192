"""The folder journal: durable lines, torn tails, compaction."""

from __future__ import annotations

from pathlib import Path

import pytest

from store import journal
from store.fsops import FileSystem


@pytest.fixture
def fs() -> FileSystem:
    return FileSystem()


@pytest.fixture
def directory(fs: FileSystem, tmp_path: Path) -> int:
    return fs.open_root(str(tmp_path))


def test_lines_add_up_and_later_ones_win(fs: FileSystem, directory: int) -> None:
    journal.append(fs, directory, [journal.removal([1, 2, 3, 9]), journal.thread(4, "Tabc")])
    journal.append(fs, directory, [journal.keywords(4, 1 << 30), journal.thread(4, "Tdef")])
    told = journal.read(fs, directory)
    assert (told.removed, told.threads, told.keywords) == ({1, 2, 3, 9}, {4: "Tdef"}, {4: 1 << 30})


@pytest.mark.parametrize("cut", range(1, 17))
def test_f155_a_torn_tail_is_ignored_and_does_not_spoil_what_follows(
    fs: FileSystem, directory: int, tmp_path: Path, cut: int
) -> None:
    journal.append(fs, directory, [journal.removal([1])])
    journal.append(fs, directory, [journal.removal([2])])
    path = tmp_path / journal.JOURNAL
    path.write_bytes(path.read_bytes()[:-cut])
    assert journal.read(fs, directory).removed == ({1} if cut > 1 else {1, 2})
    journal.append(fs, directory, [journal.removal([3])])
    assert journal.read(fs, directory).removed >= {1, 3}


def test_a_flipped_octet_loses_its_line_only(fs: FileSystem, directory: int, tmp_path: Path) -> None:
    journal.append(fs, directory, [journal.removal([1]), journal.removal([22]), journal.removal([3])])
    path = tmp_path / journal.JOURNAL
    path.write_bytes(path.read_bytes().replace(b"22:22", b"22:99"))
    assert journal.read(fs, directory).removed == {1, 3}


def test_compaction_keeps_what_files_still_need(fs: FileSystem, directory: int) -> None:
    journal.append(fs, directory, [journal.removal([1, 2]), journal.thread(1, "Ta"), journal.thread(5, "Tb")])
    journal.append(fs, directory, [journal.keywords(1, 1 << 40), journal.keywords(5, 1 << 41)])
    journal.compact(fs, directory, present={5}, unlinked_later={2})
    told = journal.read(fs, directory)
    assert (told.removed, told.threads, told.keywords) == ({2}, {5: "Tb"}, {5: 1 << 41})


def test_an_absent_journal_is_empty(fs: FileSystem, directory: int) -> None:
    assert journal.read(fs, directory).removed == set()
    assert journal.size(fs, directory) == 0
