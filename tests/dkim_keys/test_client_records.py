"""Where mail programs find their servers: the records told, and their check against the DNS."""

from __future__ import annotations

import dns.zone
import pytest

from core.config import Listen
from dkim_keys.check import Status, check_domain
from dkim_keys.client_records import ClientService, client_records, client_services
from tests.fakes.resolver import FakeResolver

RECORDS = client_records("x.test", "mx.dept.test", client_services(Listen()))


def test_rfc6186_one_record_to_read_and_one_to_send() -> None:
    assert [(r.name, r.type, r.value, r.required) for r in RECORDS] == [
        ("_imaps._tcp.x.test", "SRV", "0 1 993 mx.dept.test.", False),
        ("_submissions._tcp.x.test", "SRV", "0 1 465 mx.dept.test.", False),
    ]
    zone = dns.zone.from_text(
        "$ORIGIN test.\n@ 60 IN SOA a. b. 1 1 1 1 1\n@ 60 IN NS a.\n" + "\n".join(r.zone_line() for r in RECORDS),
        "test.",
        relativize=False,
    )
    for record in RECORDS:
        assert [item.to_text() for item in zone.find_rdataset(record.name + ".", "SRV")] == [record.value]


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ({"imaps": [], "submissions": []}, [("_imap", 143), ("_submission", 587)]),
        ({"imaps": ["127.0.0.1:993"], "imap": ["[::1]:143"]}, [("_submissions", 465)]),
        (
            {"imaps": ["127.0.0.1:993", "192.0.2.1:1993"], "submissions": ["[::]:2465"]},
            [("_imaps", 1993), ("_submissions", 2465)],
        ),
        ({"imaps": [], "imap": [], "submissions": [], "submission": []}, []),
    ],
    ids=["starttls", "loopback", "ports", "none"],
)
def test_rfc8314_tls_from_the_first_octet_where_there_is_a_door(
    listen: dict[str, list[str]], expected: list[tuple[str, int]]
) -> None:
    assert client_services(Listen(**listen)) == [ClientService(*item) for item in expected]


@pytest.mark.parametrize(
    ("published", "status"),
    [
        ([(0, 1, 993, "mx.dept.test")], Status.CORRECT),
        ([(10, 60, 993, "mx.dept.test")], Status.CORRECT),
        ([(0, 1, 993, "mx.dept.test"), (5, 1, 993, "elsewhere.test")], Status.INCORRECT),
        ([(0, 1, 143, "mx.dept.test")], Status.INCORRECT),
        ([(0, 0, 0, "")], Status.INCORRECT),
        ([], Status.MISSING),
    ],
)
async def test_only_our_servers_are_asked_for_passwords(
    published: list[tuple[int, int, int, str]], status: Status
) -> None:
    fake = FakeResolver()
    if published:
        fake.add("_imaps._tcp.x.test", "SRV", *published)
    [found] = await check_domain(fake, RECORDS[:1])
    assert found.status is status
    assert found.good is (status in (Status.CORRECT, Status.MISSING))
