"""Static routes: exact, then the longest suffix, then the smarthost, else the domain's own MX."""

from __future__ import annotations

import pytest

from core.domain import to_ascii
from delivery.next_hop import HERE, NextHop, Routes

ROUTES = Routes({"partner.test": "192.0.2.1:25", ".partner.test": "192.0.2.2:25", ".sub.partner.test": "192.0.2.3:26"})


@pytest.mark.parametrize(
    ("domain", "hop"),
    [
        ("partner.test", NextHop("192.0.2.1:25", static=True)),
        ("a.partner.test", NextHop("192.0.2.2:25", static=True)),
        ("sub.partner.test", NextHop("192.0.2.2:25", static=True)),
        ("x.sub.partner.test", NextHop("192.0.2.3:26", static=True)),
        ("otherpartner.test", NextHop("otherpartner.test")),
        ("test", NextHop("test")),
        (HERE, NextHop(HERE)),
    ],
)
def test_the_closest_route_wins(domain: str, hop: NextHop) -> None:
    assert ROUTES.next_hop(domain) == hop


def test_a_smarthost_takes_the_rest_but_never_what_is_delivered_here() -> None:
    routes = Routes({"*": "smart.test:587", "Écoles.test": "192.0.2.9:25"})
    assert routes.next_hop("any.test") == NextHop("smart.test:587", static=True)
    assert routes.next_hop(to_ascii("écoles.test")) == NextHop("192.0.2.9:25", static=True)
    assert routes.next_hop(HERE) == NextHop(HERE)


@pytest.mark.parametrize("other", ["smtp://us:b@smart.test:587", "smtp://us:a@smart.test:587?tls=encrypt"])
def test_two_routes_to_one_login_are_one(other: str) -> None:
    """Jobs know a route by its name, without the secret: whichever stood last was shown to both."""
    first = "smtp://us:a@smart.test:587"
    assert Routes({"a.test": first, "b.test": first}).next_hop("b.test").static
    with pytest.raises(ValueError, match="differ") as caught:
        Routes({"a.test": first, "b.test": other})
    assert ":a@" not in str(caught.value)
    assert ":b@" not in str(caught.value)
