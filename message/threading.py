"""How messages become threads (RFC 5256 3). Pure: keys in, a forest out; no recursion, linear in hostile shapes.

Works on numbers: message `i` is the `i`-th given, in mailbox order; numbers past the last are dummies, messages that
others refer to and nobody has. Refuses to know where keys come from and what a message is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_NOBODY = -1
_STEPS_EACH = 64  # up a chain, on average for each message, before a link that may close a loop is left out


@dataclass(frozen=True, slots=True)
class Keys:
    """Of every message, in mailbox order, a column each. `dates`: the sent date, or the internal date where there is
    none (RFC 5256 2.2). `subjects`: base subjects in `collation.casemap` form, `replies` whether something was taken
    off. `ids`: a number for the Message-ID, 0 without a valid one. `parents`: those of the references, eldest first."""

    dates: Sequence[int]
    subjects: Sequence[str] = ()
    replies: Sequence[bool] = ()
    ids: Sequence[int] = ()
    parents: Sequence[Sequence[int]] = ()


@dataclass(frozen=True, slots=True)
class Forest:
    """`roots` in order; `children` of those that have any, in order. Numbers from `count` on are dummies, which stand
    at the top only and have children."""

    count: int
    roots: Sequence[int]
    children: dict[int, list[int]]

    def upwards(self) -> Iterator[int]:
        """Every number that has children once, those below before those above: most messages have none."""
        children, order = self.children, list[int]()
        stack = [root for root in self.roots if root in children]
        while stack:
            number = stack.pop()
            order.append(number)
            stack += [child for child in children[number] if child in children]
        return reversed(order)


def by_subject(keys: Keys) -> Forest:
    """ORDEREDSUBJECT: those of one base subject together, by date; the first is the parent of all others."""
    threads: dict[str, list[int]] = {}
    for number in _by_date(keys.dates, range(len(keys.dates))):
        threads.setdefault(keys.subjects[number], []).append(number)
    children = {numbers[0]: numbers[1:] for numbers in threads.values() if len(numbers) > 1}
    return Forest(len(keys.dates), [numbers[0] for numbers in threads.values()], children)


def by_references(keys: Keys) -> Forest:
    """REFERENCES, step by step as RFC 5256 3 numbers them."""
    linked = _Links(keys)
    linked.run()
    roots, children = _pruned(len(keys.dates), linked.parent)  # 2, 3
    roots = _roots_by_date(keys.dates, roots, children)  # 4
    merged = _Subjects(keys, roots, children)  # 5
    roots = merged.run()
    return _sorted(keys.dates, roots, children, merged.touched)  # 6


def _by_date(dates: Sequence[int], numbers: Iterable[int]) -> list[int]:
    """Equal dates in mailbox order."""
    return sorted(sorted(numbers), key=dates.__getitem__)


class _Links:
    """Step 1: who is whose parent, from the references.

    A link must not close a loop: `child`, which has no parent, must not be above `parent`. It can only be if it has
    children. Then the top of `parent`'s tree is looked for: in a union-find (`_top`) while no link of that tree was
    ever cut, by walking up after that.
    """

    def __init__(self, keys: Keys) -> None:
        self.count = len(keys.dates)
        self._parents = keys.parents
        self.parent: list[int] = [_NOBODY] * self.count
        self._number: dict[int, int] = {}
        self._own(keys.ids)
        self._top = list(range(self.count))
        self._is_parent = bytearray(self.count)
        self._cut: set[int] = set()  # union-find classes that lost a link
        self._steps = _STEPS_EACH * (self.count + 16)

    def _own(self, ids: Sequence[int]) -> None:
        """An id belongs to the first message that has it; the others, and those without, are referred to by nobody."""
        self._number = dict(zip(reversed(ids), range(self.count - 1, -1, -1), strict=True))
        self._number.pop(0, None)

    def run(self) -> None:
        parent, named = self.parent, self._number
        for number, references in enumerate(self._parents):
            if not references:
                if parent[number] != _NOBODY:
                    self._take_off(number)
                continue
            above = _NOBODY
            for reference in references:  # 1 A
                child = named.get(reference)
                if child is None:
                    child = self._dummy(reference)
                if above != _NOBODY and parent[child] == _NOBODY:
                    self._link(above, child)
                above = child
            if parent[number] != above:  # 1 B
                if parent[number] != _NOBODY:
                    self._take_off(number)
                self._link(above, number)

    def _dummy(self, reference: int) -> int:
        number = len(self.parent)
        self._number[reference] = number
        self.parent.append(_NOBODY)
        self._top.append(number)
        self._is_parent.append(0)
        return number

    def _link(self, above: int, child: int) -> None:
        if above == child or (self._is_parent[child] and self._is_above(child, above)):
            return
        self.parent[child] = above
        self._is_parent[above] = 1
        below, over = self._class(child), self._class(above)
        if below in self._cut:
            self._cut.add(over)
        self._top[below] = over

    def _take_off(self, number: int) -> None:
        self.parent[number] = _NOBODY
        self._cut.add(self._class(number))

    def _class(self, number: int) -> int:
        top = self._top
        while top[number] != number:
            top[number] = number = top[top[number]]
        return number

    def _is_above(self, child: int, number: int) -> bool:
        top = self._class(number)
        if top not in self._cut:  # nothing was cut: a class is a tree, and is named after its root
            return top == child
        parent = self.parent
        while number not in (child, _NOBODY) and self._steps:
            number = parent[number]
            self._steps -= 1
        return number != _NOBODY


def _pruned(count: int, parent: Sequence[int]) -> tuple[list[int], dict[int, list[int]]]:
    """Steps 2 and 3: (roots, children) without the dummies, whose children take their place; at the top only an only
    child does, others keep a dummy over them."""
    children: dict[int, list[int]] = {}
    roots: list[int] = []
    place = list(parent)
    for number in range(count, len(parent)):  # over each dummy: the nearest that is none, or the topmost dummy
        _jump(place, number, count)
    for number in range(count):
        above = place[number]
        if above >= count and place[above] != _NOBODY:
            above = place[above]
        if above == _NOBODY:
            roots.append(number)
        else:
            children.setdefault(above, []).append(number)
    for number in range(count, len(parent)):
        below = children.get(number, ())
        if len(below) == 1:
            roots += children.pop(number)
        elif below:
            roots.append(number)
    return roots, children


def _jump(place: list[int], number: int, count: int) -> None:
    """Every dummy on the way up from `number` gets a message or the topmost dummy as its place."""
    way = []
    while place[number] >= count:
        way.append(number)
        number = place[number]
    goal = number if place[number] == _NOBODY else place[number]
    for each in way:
        place[each] = goal


def _roots_by_date(dates: Sequence[int], roots: Sequence[int], children: dict[int, list[int]]) -> list[int]:
    """Step 4. The children of a dummy are sorted first; the first of them stands for it."""
    count = len(dates)
    first: dict[int, int] = {}
    for root in roots:
        if root >= count:
            children[root] = _by_date(dates, children[root])
            first[children[root][0]] = root
    plain = _by_date(dates, (root for root in roots if root < count)) if first else _by_date(dates, roots)
    if not first:
        return plain
    return [first.get(number, number) for number in _by_date(dates, [*plain, *first])]


class _Subjects:
    """Step 5: threads of one base subject become one. `touched`: whose children are no longer sorted."""

    def __init__(self, keys: Keys, roots: Sequence[int], children: dict[int, list[int]]) -> None:
        self._keys, self._roots, self._children = keys, roots, children
        self._count = len(keys.dates)
        self._next = max([self._count, *(root + 1 for root in roots)])
        self.touched: set[int] = set()

    def run(self) -> list[int]:
        """The roots that are left, in no order."""
        table = self._table()
        alive = dict.fromkeys(self._roots)
        for root in self._roots:
            subject = self._subject(root)
            other = table.get(subject, root)
            if other == root:
                continue
            table[subject] = merged = self._merge(other, root)
            del alive[root]
            if merged != other:
                del alive[other]
                alive[merged] = None
        return list(alive)

    def _subject(self, root: int) -> str:
        """Of a thread: its root's, or that of a dummy's first child; "" joins nothing."""
        return self._keys.subjects[root if root < self._count else self._children[root][0]]

    def _table(self) -> dict[str, int]:
        """5 B: the thread that others of its subject join: a dummy, else one that is no reply, else the first."""
        table: dict[str, int] = {}
        replies, count = self._keys.replies, self._count
        for root in self._roots:
            subject = self._subject(root)
            if not subject:
                continue
            other = table.setdefault(subject, root)
            if other != root and other < count and (root >= count or (replies[other] and not replies[root])):
                table[subject] = root
        return table

    def _merge(self, other: int, root: int) -> int:
        """5 C: `root` joins `other`; the root that both are under now."""
        children, count = self._children, self._count
        if other >= count:
            children[other] += children.pop(root) if root >= count else [root]
        elif root < count and self._keys.replies[root] and not self._keys.replies[other]:
            children.setdefault(other, []).append(root)
        else:
            dummy, self._next = self._next, self._next + 1
            children[dummy] = [other, root]
            other = dummy
        self.touched.add(other)
        return other


def _sorted(dates: Sequence[int], roots: list[int], children: dict[int, list[int]], touched: set[int]) -> Forest:
    """Step 6, the roots too: merging changed which child stands first under a dummy."""
    for number, below in children.items():
        if len(below) > 1 and (number < len(dates) or number in touched):
            children[number] = _by_date(dates, below)
    return Forest(len(dates), _roots_by_date(dates, roots, children), children)
