"""The reverse name that leads back, and every way it does not (RFC 8601 3)."""

from __future__ import annotations

from antispam.authentication.iprev import check
from antispam.types import Iprev, Result
from tests.fakes.resolver import FakeResolver


async def test_a_name_that_leads_back_passes() -> None:
    dns = FakeResolver({"192.0.2.1": {"PTR": ["other.test", "mail.x.test"]}, "mail.x.test": {"A": ["192.0.2.1"]}})
    assert await check("192.0.2.1", dns) == Iprev(Result.PASS, "mail.x.test")
    assert await check("::ffff:192.0.2.1", dns) == Iprev(Result.PASS, "mail.x.test")
    six = FakeResolver({"2001:db8::1": {"PTR": ["six.test"]}, "six.test": {"AAAA": ["2001:db8::1"]}})
    assert await check("2001:db8::1", six) == Iprev(Result.PASS, "six.test")


async def test_what_does_not_lead_back_is_never_named() -> None:
    dns = FakeResolver({"192.0.2.1": {"PTR": ["bank.test"]}, "bank.test": {"A": ["203.0.113.1"]}})
    assert await check("192.0.2.1", dns) == Iprev(Result.FAIL)
    assert await check("192.0.2.2", dns) == Iprev(Result.PERMERROR)
    assert await check("", dns) == Iprev(Result.NONE)


async def test_h089_dns_away_is_temporary() -> None:
    assert await check("192.0.2.1", FakeResolver(failing=["192.0.2.1"])) == Iprev(Result.TEMPERROR)
    dns = FakeResolver({"192.0.2.1": {"PTR": ["m.test"]}}, failing=["m.test"])
    assert await check("192.0.2.1", dns) == Iprev(Result.TEMPERROR)
    assert await check("192.0.2.1", FakeResolver(slow={"192.0.2.1": 5}), timeout=0.05) == Iprev(Result.TEMPERROR)


async def test_h083_a_name_that_is_no_host_is_not_told() -> None:
    name = "a\\013\\010x: y.test"
    dns = FakeResolver({"192.0.2.1": {"PTR": [name]}, name: {"A": ["192.0.2.1"]}})
    assert await check("192.0.2.1", dns) == Iprev(Result.FAIL)


async def test_only_ten_names_are_followed() -> None:
    dns = FakeResolver({"192.0.2.1": {"PTR": [f"n{n}.test" for n in range(500)]}})
    await check("192.0.2.1", dns)
    assert len(dns.questions) == 11
