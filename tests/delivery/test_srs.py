"""SRS: what was wrapped comes back, what was made up does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.address import AddressError, parse, parse_path
from delivery.srs import DAY, VALID_DAYS, Srs, is_rewritten

NOW = 1_790_000_000.0
SRS = Srs(b"k" * 32)
OTHER = Srs(b"o" * 32)


def wrapped(text: str, srs: Srs = SRS, domain: str = "ville.test") -> str:
    address = srs.wrap(parse(text), domain, NOW)
    assert address is not None
    return str(address)


@pytest.mark.parametrize(
    "sender",
    [
        "a@sender.test",
        "Jean.Dupont+x@sender.test",
        '"a b"@sender.test',
        "a=b=c@sender.test",
        "é@sender.test",
        "SRS1=a=-no-host==x@sender.test",
        "\u017frs0=a=bc=x.test=y@sender.test",  # a long s is no s
    ],
)
def test_a_sender_comes_back(sender: str) -> None:
    address = parse_path(wrapped(sender), utf8=True)
    assert address is not None
    assert address.domain == "ville.test"
    assert is_rewritten(address)
    assert SRS.unwrap(address.local, NOW) == parse(sender)


def test_the_form_is_the_one_everybody_knows() -> None:
    kind, proof, day, domain, local = wrapped("a@sender.test").split("@")[0].split("=")
    assert (kind, len(proof), len(day), domain, local) == ("SRS0", 8, 2, "sender.test", "a")


def test_a_sender_that_another_forwarder_wrapped_comes_back_to_it() -> None:
    first = wrapped("a@sender.test", OTHER, "first.test")
    second = wrapped(first)
    assert second.startswith("SRS1=")
    assert "=first.test==" in second
    assert SRS.unwrap(parse(second).local, NOW) == parse(first)
    assert OTHER.unwrap(parse(first).local, NOW) == parse("a@sender.test")
    third = wrapped(second.replace("@ville.test", "@second.test"))  # a chain grows no further
    assert len(third) == len(second)
    assert SRS.unwrap(parse(third).local, NOW) == parse(first)


def test_another_separator_of_the_first_forwarder_is_given_back() -> None:
    second = wrapped("SRS0+abcd=ef=x.test=a@first.test")
    assert SRS.unwrap(parse(second).local, NOW) == parse("SRS0+abcd=ef=x.test=a@first.test")


def test_an_address_expires_after_its_days() -> None:
    local = parse(wrapped("a@sender.test")).local
    assert SRS.unwrap(local, NOW + VALID_DAYS * DAY) is not None
    assert SRS.unwrap(local, NOW + (VALID_DAYS + 1) * DAY) is None
    assert SRS.unwrap(local, NOW - DAY) is not None
    assert SRS.unwrap(local, NOW - 2 * DAY) is None


@pytest.mark.parametrize(
    "local",
    ["SRS0=aaaaaaaa=00=sender.test=a", "SRS1=aaaaaaaa=first.test==x", "SRS0=x", "SRS0", "SRS1==", "SRS0====", "a", ""],
)
def test_what_was_made_up_leads_nowhere(local: str) -> None:
    assert SRS.unwrap(local, NOW) is None


def test_no_letter_can_be_changed() -> None:
    local = parse(wrapped("chef@sender.test")).local
    for place in range(5, len(local)):
        changed = local[:place] + ("x" if local[place] != "x" else "y") + local[place + 1 :]
        assert SRS.unwrap(changed, NOW) is None, changed
    assert OTHER.unwrap(local, NOW) is None


def test_a_server_that_lowers_local_parts_does_no_harm() -> None:
    assert SRS.unwrap(parse(wrapped("Jean@sender.test")).local.lower(), NOW) == parse("jean@sender.test")


def test_long_senders_fit_and_absurd_ones_are_left_alone() -> None:
    long = f"{'b' * 64}@{'d' * 50}.sender.test"
    assert SRS.unwrap(parse(wrapped(long)).local, NOW) == parse(long)
    assert SRS.wrap(parse(f"{'b' * 64}@{'d' * 60}.{'e' * 60}.test"), "ville.test", NOW) is None


def test_only_rewritten_local_parts_may_be_long() -> None:
    with pytest.raises(AddressError):
        parse(f"{'x' * 65}@a.test")
    assert parse(f"SRS0={'x' * 65}@a.test").local.endswith("x")
    with pytest.raises(AddressError):
        parse(f"SRS0={'x' * 180}@a.test")


@given(st.text(max_size=60))
def test_any_text_is_survived(text: str) -> None:
    for prefix in ("", "SRS0=", "SRS1="):
        assert SRS.unwrap(prefix + text, NOW) is None
