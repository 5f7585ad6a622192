"""A trace read once: at which event each account's index told what, and what may be found after a crash there.

All that a committed index told (a reader in another process may have seen it, answered or not) must survive, but for
what the round under way was changing; flags newer than the last flush are the only exception (promise P5).
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.torture import refused, seen
from tests.torture.disk import Replay
from tests.torture.recorder import Event, Mark, SyncBegin, SyncEnd
from tests.torture.refused import Bound
from tests.torture.seen import Flags, FolderSeen, Key, Mail, Seen
from tests.torture.workload import REFS, Delivery, Round, Trace, account_path, email_of


@dataclass(slots=True)
class Expected:
    """Of one account after a crash. `before`: the last state told; `after`: those the round under way was bound for,
    `before` among them. `ever`: whatever was told of each UID; `uidnext` and `modseq`: the highest told, by folder.
    `flags`: the values each message may have. `views`: what clients may remember."""

    before: Seen | None
    after: list[Seen]
    ever: dict[Key, str]
    uidnext: dict[str, int]
    flags: dict[Key, set[Flags]]
    views: list[Seen]
    subscriptions: list[tuple[str, ...]]
    kind: str
    swap: tuple[str, str] | None = None  # EMAILIDs of what is being replaced, of this account

    def fewest(self, email: str) -> int:
        """Copies of a message that must be found, wherever."""
        return min(sum(1 for mail in state.mail.values() if mail.email_id == email) for state in self.after)

    def most(self) -> Counter[str]:
        """Copies of each message that may be found: in every place where it was or was bound for."""
        places = {key: mail.email_id for state in self.after for key, mail in state.mail.items()}
        return Counter(places.values())


@dataclass(slots=True)
class _Span:
    """A round's events: from `begin` to `end`."""

    turn: Round
    begin: int
    end: int


@dataclass(slots=True)
class History:
    """See the module."""

    trace: Trace
    told: dict[str, list[Seen]] = field(default_factory=lambda: {account_path(ref): [] for ref in REFS})
    spans: list[_Span] = field(default_factory=list)
    refused: dict[tuple[int, int], int] = field(default_factory=dict)  # when each refusal was answered
    complaints: list[str] = field(default_factory=list)

    @staticmethod
    def of(trace: Trace, scratch: Path) -> History:
        """Replays the trace; acknowledgements that no commit went before are complaints."""
        history = History(trace)
        replay = Replay(trace.baseline, trace.numbers, trace.events)
        finder = seen.CommitFinder()
        while replay.position < len(trace.events):
            event = trace.events[replay.position]
            change = replay.step()
            if isinstance(event, Mark):
                history._mark(event, replay.position)
            elif change is not None and _is_index_wal(event) and finder.completes(change):
                path = str(getattr(event, "path", ""))
                if not _failed(trace.events, replay.position, path):
                    history._commit(replay, path, scratch)
        history._drop_half_made()
        return history

    def _mark(self, event: Mark, position: int) -> None:
        if event.what == "begin":
            self.spans.append(_Span(self.trace.rounds[event.value], position, position))
        elif event.what == "end":
            self.spans[-1].end = position
        elif event.what == "refused":
            self.refused[event.value] = position
        elif event.what == "ack":
            account, keys = event.value
            last = self.told[account][-1].mail if self.told[account] else {}
            self.complaints += [
                f"{account}: {key} was acknowledged before it was committed" for key in keys if key not in last
            ]

    def _commit(self, replay: Replay, path: str, scratch: Path) -> None:
        account = next((name for name in self.told if f"/{name}/" in path), None)
        if account is not None:
            state = seen.read(replay.now, account, scratch, replay.position)
            if state is not None:
                self.told[account].append(state)

    def _drop_half_made(self) -> None:
        """While an index is made again, in a file nobody else has opened, its commits tell nobody anything."""
        for span in self.spans:
            if span.turn.kind in ("rebuild", "remove and return"):
                for account, states in self.told.items():
                    inside = [state for state in states if span.begin <= state.position <= span.end]
                    half = {state.position for state in inside[:-1]}
                    self.told[account] = [state for state in states if state.position not in half]

    # -- what to expect ------------------------------------------------------------------------------------------------

    def span_at(self, position: int) -> _Span | None:
        index = bisect.bisect_right([span.begin for span in self.spans], position) - 1
        return self.spans[index] if index >= 0 else None

    def expected(self, account: str, position: int, *, exact_flags: bool, view: float) -> Expected:
        """After a crash in front of event `position`. `exact_flags`: nothing is forgiven (a kill). `view`: where
        between the first state told and the last the second client's memory is taken from, 0 to 1."""
        states = self.told[account]
        index = bisect.bisect_right([state.position for state in states], position) - 1
        span = self.span_at(position)
        end = span.end if span is not None and position < span.end else position
        under_way = [state for state in states[index + 1 :] if state.position <= end]
        before = states[index] if index >= 0 else None
        past = states[: index + 1]
        views = [past[-1], past[int(view * len(past)) % len(past)]] if past else []
        after = [before, *under_way] if before is not None else under_way
        bound = self._bound(account, position)
        refusing = [refused.all_done(after[0], bound)] if after and bound else []
        after = [*after, *refusing]
        settled = index if exact_flags else self._settled(account, states, position, index)
        return Expected(
            before=before,
            after=after,
            ever=_ever(past),
            uidnext=_highest_uidnext(past),
            flags=_flags([*states[max(0, settled) : index + 1], *under_way, *refusing]),
            views=views,
            subscriptions=self._subscriptions(account, position),
            kind=span.turn.kind if span is not None and position < span.end else "",
            swap=_swap(span, account) if span is not None and position < span.end else None,
        )

    def _bound(self, account: str, position: int) -> list[Bound]:
        """What is under way, and will be refused."""
        span = self.span_at(position)
        told = span.turn.refused.items() if span is not None else ()
        return [
            bound
            for number, bound in told
            if bound.account == account and span is not None and position < self.refused[span.turn.number, number]
        ]

    def deliveries(self, position: int) -> list[Delivery]:
        """Those under way, which come again."""
        span = self.span_at(position)
        if span is None or position >= span.end:
            return []
        over = {
            (bound.account, email)
            for number, bound in span.turn.refused.items()
            for email in bound.new
            if position >= self.refused[span.turn.number, number]
        }
        return [item for item in span.turn.deliveries if (account_path(item.ref), email_of(item.data)) not in over]

    def adopted(self, position: int) -> bool | None:
        """Another server's mail is there; None: it may be."""
        spans = [span for span in self.spans if span.turn.kind == "adopt" and span.begin <= position]
        return True if any(span.end <= position for span in spans) else None if spans else False

    def _settled(self, account: str, states: Sequence[Seen], position: int, index: int) -> int:
        """The number of the state whose flags are certainly in the file names."""
        domain = account.split("/")[1]
        ends = [span.end for span in self.spans if span.end <= position and domain in span.turn.settled]
        if not ends:
            return 0
        return min(index, bisect.bisect_right([state.position for state in states], ends[-1]) - 1)

    def _subscriptions(self, account: str, position: int) -> list[tuple[str, ...]]:
        over = [span for span in self.spans if span.end <= position]
        running = [span for span in self.spans if span.begin <= position < span.end]
        known = [*over[-1:], *running[-1:]]
        return [span.turn.subscriptions[account] for span in known if account in span.turn.subscriptions]


def _swap(span: _Span, account: str) -> tuple[str, str] | None:
    swap = span.turn.swap
    return (swap[1], swap[2]) if swap is not None and swap[0] == account else None


def _failed(events: Sequence[Event], position: int, path: str) -> bool:
    """Whether the WAL was to be synced for the commit in front of `position`, and was not: SQLite then tells no reader
    of it, and the next commit is written over it."""
    number, event = next(
        ((n, e) for n, e in enumerate(events[position:], position) if getattr(e, "path", "") == path), (0, None)
    )
    return isinstance(event, SyncBegin) and not any(
        isinstance(other, SyncEnd) and other.begin == number for other in events[number:]
    )


def _is_index_wal(event: object) -> bool:
    return str(getattr(event, "path", "")).endswith("/index.db-wal")


def _ever(states: Sequence[Seen]) -> dict[Key, str]:
    return {key: mail.email_id for state in states for key, mail in state.mail.items()}


def _highest_uidnext(states: Sequence[Seen]) -> dict[str, int]:
    highest: Counter[str] = Counter()
    for state in states:
        for folder_id, folder in state.folders.items():
            highest[folder_id] = max(highest[folder_id], folder.uidnext)
    return dict(highest)


def _flags(states: Sequence[Seen]) -> dict[Key, set[Flags]]:
    allowed: dict[Key, set[Flags]] = {}
    for state in states:
        for key, mail in state.mail.items():
            allowed.setdefault(key, set()).add(mail.flags)
    return allowed


__all__ = ["Expected", "FolderSeen", "History", "Mail"]
