"""Small words: status, ids, clock, domains."""

from __future__ import annotations

import pytest

from core.clock import ManualClock
from core.domain import DomainError, parents, to_ascii, to_unicode
from core.ids import RandomIds
from core.status import Status, accepted, deferred, refused


def test_a_status_whose_parts_disagree_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="disagree"):
        Status(250, "5.0.0", "no", "wrong")


def test_statuses_know_what_they_are() -> None:
    assert accepted().ok
    assert deferred("later", "busy").temporary
    assert refused("no", "relay-denied").permanent
    assert str(refused("no such user", "unknown-recipient", "5.1.1")) == "550 5.1.1 no such user"


def test_queue_ids_sort_by_time_and_never_repeat() -> None:
    clock = ManualClock()
    ids = RandomIds(clock)
    early = [ids.queue_id() for _ in range(1000)]
    clock.advance(1)
    late = [ids.queue_id() for _ in range(1000)]
    assert len({*early, *late}) == 2000
    assert max(early) < min(late)


@pytest.mark.parametrize(
    ("text", "name"),
    [("Mairie.FR", "mairie.fr"), ("évry.fr", "xn--vry-9la.fr"), ("a\u3002fr", "a.fr"), ("EXAMPLE.fr.", "example.fr")],
)
def test_domains_have_one_spelling(text: str, name: str) -> None:
    assert to_ascii(text) == name


@pytest.mark.parametrize(
    "text", ["", ".", "a..b", "a b.fr", "a" * 64 + ".fr", "x.1", "a\x00.fr", "_dmarc.fr", "xn--a.fr"]
)
def test_what_is_no_domain(text: str) -> None:
    with pytest.raises(DomainError):
        to_ascii(text)


def test_people_read_letters() -> None:
    assert to_unicode("xn--vry-9la.fr") == "évry.fr"
    assert parents("a.b.fr") == ["a.b.fr", "b.fr", "fr"]
