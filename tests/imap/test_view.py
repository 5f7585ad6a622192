"""Sequence numbers never shift under a client: the view against a client that counts along."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from imap.errors import Bad
from imap.types import FlagSet, SeqNum
from imap.view import MOST_RECENT, NOTHING, Updates, View
from imap.wire import sequence
from store.types import NO_FLAGS, Changes, Flag, Folder, Message, ModSeq, Snapshot, Uid


def snapshot(count: int, uidnext: int, modseq: int = 10) -> Snapshot:
    folder = Folder("f", "INBOX", 1, uidnext, modseq, count, 0, 0, 0)
    return Snapshot(folder, 1, uidnext, modseq, count, 0)


def row(uid: int, modseq: int, flags: Flag = NO_FLAGS) -> Message:
    return Message(Uid(uid), flags, modseq=ModSeq(modseq))


def view(*uids: int) -> View:
    made = View(snapshot(len(uids), max(uids, default=0) + 1))
    made.build(uids)
    return made


def gone(modseq: int, uidnext: int, *uids: int) -> Changes:
    return Changes(modseq, uidnext, vanished=tuple(Uid(uid) for uid in uids))


def test_numbers_and_uids() -> None:
    made = view(2, 5, 9)
    assert (made.number_of(5), made.number_of(6), made.uids[2]) == (2, None, 9)
    assert made.from_numbers(sequence.parse(b"1:2")) == ((2, 5),)
    assert made.from_numbers(sequence.parse(b"1,3")) == ((2, 2), (9, 9))
    assert made.from_uids(sequence.parse(b"1:6")) == ((1, 6),)
    assert made.from_uids(sequence.parse(b"20:*")) == ((9, 9),)
    assert made.from_uids(sequence.parse(b"*:1")) == ((1, 9),)
    assert list(made.known(((1, 6),))) == [2, 5]


def test_h099_a_set_past_the_last_message_is_bad_and_cut_in_a_search() -> None:
    """RFC 9051 9, seq-number."""
    made = view(2, 5, 9)
    for beyond, found in ((b"2:4294967295", ((5, 9),)), (b"9:*", ((9, 9),)), (b"1,3:4", ((2, 2), (9, 9))), (b"4", ())):
        with pytest.raises(Bad):
            made.from_numbers(sequence.parse(beyond))
        assert made.from_numbers(sequence.parse(beyond), strict=False) == found
    assert made.from_numbers(sequence.parse(b"3:*")) == ((9, 9),)


def test_an_empty_mailbox_has_no_messages_and_no_error_for_all_of_them() -> None:
    made = view()
    for everything in (b"1:*", b"*", b"5:*"):
        assert made.from_numbers(sequence.parse(everything)) == ()
        assert made.from_uids(sequence.parse(everything)) == ()
    for numbers in (b"1", b"1:2", b"*,1"):
        with pytest.raises(Bad):
            made.from_numbers(sequence.parse(numbers))
        assert made.from_numbers(sequence.parse(numbers), strict=False) == ()


def test_removals_are_owed_until_they_may_be_told() -> None:
    made = view(2, 5, 9, 11)
    made.absorb(gone(11, 12, 5, 9))
    assert made.apply(expunge=False) == NOTHING
    assert made.exists == 4
    assert made.number_of(11) == 4
    assert made.is_gone(5)
    updates = made.apply(expunge=True)
    assert updates.expunged == (SeqNum(3), SeqNum(2))
    assert updates.exists is None
    assert (made.exists, made.number_of(11)) == (2, 2)


def test_new_messages_are_told_while_removals_are_owed() -> None:
    made = view(2, 5)
    made.absorb(Changes(12, 8, messages=(row(7, 12),), vanished=(Uid(2),)))
    assert made.apply(expunge=False).exists == 3
    updates = made.apply(expunge=True)
    assert (updates.expunged, updates.exists) == ((1,), None)
    assert list(made.uids) == [5, 7]


def test_arrivals_and_removals_together_add_up() -> None:
    made = view(2, 5)
    made.absorb(Changes(12, 8, messages=(row(7, 12),), vanished=(Uid(2),)))
    updates = made.apply(expunge=True)
    assert (updates.expunged, updates.exists) == ((1,), 2)


def test_flags_are_told_once_and_own_changes_not_at_all() -> None:
    made = view(2, 5)
    made.told([row(2, 11, Flag.SEEN)])
    made.absorb(Changes(12, 6, messages=(row(2, 11, Flag.SEEN), row(5, 12, Flag.DRAFT))))
    (update,) = made.apply(expunge=True).flags
    assert (update.number, update.uid, update.have) == (2, 5, FlagSet(Flag.DRAFT))
    assert made.apply(expunge=True) == NOTHING


def test_a_later_change_by_another_is_told_though_ours_was_known() -> None:
    made = view(2)
    made.told([row(2, 11, Flag.SEEN)])
    made.absorb(Changes(12, 3, messages=(row(2, 12, NO_FLAGS),)))
    assert [update.have for update in made.apply(expunge=True).flags] == [FlagSet(NO_FLAGS)]


def test_counting_needs_no_map_until_a_number_is_needed() -> None:
    made = View(snapshot(3, 10))
    made.absorb(Changes(11, 13, messages=(row(12, 11),)))
    assert made.apply(expunge=True).exists == 4
    needed = made.needs_map
    made.absorb(gone(12, 13, 4))
    assert (needed, made.needs_map) == (False, True)
    made.build([2, 4, 9])
    assert made.apply(expunge=True).expunged == (2,)
    assert list(made.uids) == [2, 9, 12]


def arrives(made: View, uid: int, *, recent: bool) -> None:
    """As another session is told of every other message first."""
    made.absorb(Changes(made.modseq + 1, uid + 1, messages=(row(uid, made.modseq + 1),)))
    made.admit()
    made.judge(uid if recent else uid + 1)


@pytest.mark.parametrize("mapped", [True, False])
def test_two_sessions_in_turns_leave_a_bounded_number_of_recent_ranges(*, mapped: bool) -> None:
    made = View(replace(snapshot(1, 3), recent=1, recent_from=1))
    if mapped:
        made.build([2])
    for uid in range(3, 2 * MOST_RECENT + 4):
        arrives(made, uid, recent=uid % 2 == 0)
    assert len(made.recent) == made.recent_count() == MOST_RECENT  # that many: none was lost but the one past them
    assert made.is_recent(2)
    assert not made.is_recent(4)
    assert [uid for uid in range(6, 2 * MOST_RECENT + 4) if made.is_recent(uid) != (uid % 2 == 0)] == []
    made.apply(expunge=True)
    arrives(made, 2 * MOST_RECENT + 4, recent=True)
    assert made.apply(expunge=True) == Updates(exists=made.exists)
    assert len(made.recent) == made.recent_count() == MOST_RECENT
    assert not made.is_recent(6)


def test_recent_ranges_with_nothing_left_between_them_become_one() -> None:
    made = view(1)
    for uid in range(2, 2 * MOST_RECENT + 2):
        arrives(made, uid, recent=uid % 2 == 0)
    assert len(made.recent) == MOST_RECENT
    made.absorb(gone(made.modseq + 1, made.uidnext, 3, 5, 6, 8))
    made.apply(expunge=True)
    assert made.recent_count() == MOST_RECENT - 2
    arrives(made, 2 * MOST_RECENT + 2, recent=True)
    assert made.recent[:2] == ((2, 4), (10, 10))
    assert len(made.recent) == MOST_RECENT - 2
    assert made.recent_count() == MOST_RECENT - 1


def test_what_arrives_while_nobody_tells_is_no_message_yet() -> None:
    made = view(2, 5)
    made.absorb(Changes(11, 8, messages=(row(7, 11),)))
    assert (made.exists, list(made.uids), made.number_of(7)) == (2, [2, 5], None)
    made.absorb(Changes(12, 8, messages=(row(7, 12, Flag.SEEN),)))
    updates = made.apply(expunge=False)
    assert updates.exists == 3
    assert [update.number for update in updates.flags] == [3]


def test_a_client_that_counts_along_always_agrees() -> None:
    """Random histories: the client only applies EXPUNGE and EXISTS, and must end with the same numbers."""
    seed = random.Random(7)
    for _ in range(200):
        present = list(range(1, seed.randrange(1, 12)))
        uidnext, modseq = len(present) + 1, 10
        made = View(snapshot(len(present), uidnext, modseq))
        made.build(present)
        client: list[int | None] = list(present)  # None: arrived, UID not asked for
        for _ in range(20):
            modseq += 1
            arrived = list(range(uidnext, uidnext + seed.randrange(3)))
            known = uidnext
            uidnext += len(arrived)
            leaving = [uid for uid in present if seed.random() < 0.2]
            present = [uid for uid in present if uid not in leaving] + arrived
            rows = tuple(row(uid, modseq) for uid in arrived)
            made.absorb(Changes(modseq, uidnext, rows, tuple(Uid(uid) for uid in leaving if uid < known)))
            updates = made.apply(expunge=seed.random() < 0.5)
            for number in updates.expunged:
                client.pop(number - 1)
            if updates.exists is not None:
                assert updates.exists >= len(client)
                client += [None] * (updates.exists - len(client))
            assert len(client) == made.exists
            assert all(uid in (None, known) for uid, known in zip(client, made.uids, strict=True))
            client = list(made.uids)
        made.apply(expunge=True)
        assert list(made.uids) == present


def test_what_went_before_anything_was_told_is_not_counted_and_not_told() -> None:
    for unseen, told in ((0, 0), (1, 1), (2, 0), (3, 2)):
        made = View(replace(snapshot(4, 9), first_unseen=unseen, recent_from=7, recent=2))
        made.build((2, 5, 7, 8))
        made.forget_gone((5, 8))
        assert (list(made.uids), made.exists, made.snapshot.messages) == ([2, 7], 2, 2)
        assert (made.snapshot.first_unseen, made.snapshot.recent, made.recent_count()) == (told, 1, 1)
        made.absorb(gone(12, 9, 5, 8))
        updates = made.apply(expunge=True)
        assert (updates.expunged, updates.vanished, updates.exists, updates.recent) == ((), (), None, None)
        assert (made.settled, made.owes_expunge) == (12, False)


def test_a_change_of_flags_with_the_next_mod_sequence_leaves_nothing_to_look_for() -> None:
    made = view(1, 2)
    made.changed_by_me(12)
    assert made.modseq == 10  # somebody else took 11: a look tells what that was
    made.changed_by_me(11)
    assert made.modseq == 11
    made.absorb(Changes(12, 3, (row(2, 12),)))
    made.changed_by_me(13)
    assert made.modseq == 12  # older flags of a message are owed, and may be others now
    assert [update.uid for update in made.apply(expunge=False).flags] == [2]
    made.touch_owed()
    made.changed_by_me(13)
    assert made.modseq == 12  # a search that is kept up learns of it by a look
