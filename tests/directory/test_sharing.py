"""Shared mailboxes: what is granted is seen, nothing else, and nothing across communes (promise P8)."""

from __future__ import annotations

import pytest

from core.clock import ManualClock
from core.config import Limits
from core.errors import ForbiddenError, MailError, NotFoundError
from core.ids import RandomIds
from directory.rights import ALL, Right, for_clients, letters, parse
from directory.service import SqlDirectory
from directory.sharing import Shared
from directory.types import Account, Change
from tests.directory.helpers import CONSOLE, OPERATOR, admin_of, at, commune, mailbox

READ = parse("lr")


async def town(directory: SqlDirectory) -> tuple[Account, Account, Account]:
    """Two people of one commune and one of another."""
    await commune(directory, "Brou", "brou.test")
    await commune(directory, "Autre", "autre.test")
    return (
        await mailbox(directory, "mairie@brou.test"),
        await mailbox(directory, "lea@brou.test"),
        await mailbox(directory, "eve@autre.test"),
    )


async def seen(directory: SqlDirectory, reader: Account) -> dict[str, Shared]:
    return {str(item.account.address): item for item in await directory.sharing.shared_with(reader)}


async def test_h117_what_another_process_gave_or_took_back_counts_at_once_where_it_is_told(
    directory: SqlDirectory, elsewhere: SqlDirectory
) -> None:
    """SQLite tells of each commit; the clock stands still here."""
    mairie, lea, _ = await town(directory)
    assert await seen(elsewhere, lea) == {}
    for given in map(parse, ("l", "lrs", "r")):
        await directory.sharing.set_acl(mairie, mairie, "folder", lea.address, Change("", given))
        assert (await seen(elsewhere, lea))["mairie@brou.test"].rights("folder") == given


def test_letters_are_a_set_with_the_obsolete_ones_inside() -> None:
    assert parse("cda") == parse("kxtea")
    assert letters(parse("aetrl")) == "lrtea"
    assert for_clients(parse("lrk")) == "lrkc"
    assert for_clients(parse("lre")) == "lred"
    assert for_clients(ALL) == "lrswipkxteacd"
    for wrong in ("q", "lrQ", "lr s"):
        with pytest.raises(ValueError, match="unknown right"):
            parse(wrong)


async def test_nothing_is_shared_until_it_is(both: SqlDirectory) -> None:
    mairie, lea, eve = await town(both)
    for reader in (mairie, lea, eve):
        assert await both.sharing.shared_with(reader) == ()


async def test_one_call_shares_a_mailbox_with_sending_and_one_takes_it_back(both: SqlDirectory) -> None:
    mairie, lea, eve = await town(both)
    share = await both.sharing.share(OPERATOR, mairie.address, lea.address, READ, send_as=True)
    assert share.send_as
    assert (await seen(both, lea))["mairie@brou.test"].rights("any-folder") == READ
    assert await both.may_send_as(lea, mairie.address)
    assert await both.sharing.shares(OPERATOR, mairie.address) == [share]
    assert await seen(both, eve) == {}
    await both.sharing.unshare(OPERATOR, mairie.address, lea.address)
    assert await seen(both, lea) == {}
    assert not await both.may_send_as(lea, mairie.address)
    with pytest.raises(NotFoundError):
        await both.sharing.unshare(OPERATOR, mairie.address, lea.address)


async def test_who_was_granted_it_sets_a_quota_as_an_administrator_does(both: SqlDirectory) -> None:
    """RFC 9208 4.1.3, of the mailbox that the grant names and of no other; taken back with the share."""
    mairie, lea, eve = await town(both)
    await both.sharing.share(OPERATOR, mairie.address, lea.address, ALL, send_as=False, set_quota=True)
    assert set(await both.sharing.quotas_of(lea)) == {mairie.id}
    assert not await both.may_send_as(lea, mairie.address)
    assert (await both.sharing.set_quota(lea, mairie, 4096)).quota == 4096
    assert (await both.account(CONSOLE, mairie.address)).quota == 4096
    entry = (await both.audit(OPERATOR, limit=1))[0]
    assert (entry.actor, entry.action, entry.target) == ("lea@brou.test", "mailbox-quota-set", "mairie@brou.test")
    for by, owner in ((mairie, mairie), (mairie, lea), (eve, mairie)):
        with pytest.raises(MailError):
            await both.sharing.set_quota(by, owner, 1)
    await both.sharing.unshare(OPERATOR, mairie.address, lea.address)
    assert not await both.sharing.quotas_of(lea)
    with pytest.raises(ForbiddenError) as refused:
        await both.sharing.set_quota(lea, mairie, 1)
    assert refused.value.code == "quota-not-granted"


async def test_a_quota_that_is_set_by_grant_stays_below_the_communes(both: SqlDirectory) -> None:
    mairie, lea, _ = await town(both)
    await both.sharing.share(OPERATOR, mairie.address, lea.address, ALL, send_as=False, set_quota=True)
    await both.set_organisation_quota(OPERATOR, "Brou", 10_000)
    assert (await both.sharing.set_quota(lea, mairie, 10_000)).quota == 10_000
    for more in (10_001, 0):
        with pytest.raises(ForbiddenError) as refused:
            await both.sharing.set_quota(lea, mairie, more)
        assert refused.value.code == "quota-over-ceiling"


async def test_anyone_is_everybody_of_the_commune_and_nobody_else(both: SqlDirectory) -> None:
    mairie, lea, eve = await town(both)
    await both.sharing.share(OPERATOR, mairie.address, None, READ, send_as=False)
    assert set(await seen(both, lea)) == {"mairie@brou.test"}
    assert await seen(both, eve) == {}
    assert await seen(both, mairie) == {}


@pytest.mark.parametrize("grantee", ["eve@autre.test", "nobody@brou.test"])
async def test_h121_a_grantee_of_another_commune_is_unknown(both: SqlDirectory, grantee: str) -> None:
    """Also to the operator, who knows both: grants between organisations are refused."""
    mairie, lea, _ = await town(both)
    change = Change("", READ)
    with pytest.raises(NotFoundError) as refused:
        await both.sharing.set_acl(lea, mairie, "f1", at(grantee), change)
    assert refused.value.code == "unknown-mailbox"
    with pytest.raises(MailError):
        await both.sharing.share(OPERATOR, mairie.address, at(grantee), READ, send_as=False)
    brou = await both.organisation(CONSOLE, "Brou")
    with pytest.raises(NotFoundError) as absent:
        await both.sharing.share(admin_of(brou), at("eve@autre.test"), lea.address, READ, send_as=False)
    assert absent.value.code == "unknown-mailbox"


async def test_a_folder_stands_over_the_account_and_rights_add_up(both: SqlDirectory) -> None:
    mairie, lea, _ = await town(both)
    await both.sharing.share(OPERATOR, mairie.address, lea.address, READ, send_as=False)
    await both.sharing.set_acl(mairie, mairie, "paye", lea.address, Change("-", ALL))
    await both.sharing.set_acl(mairie, mairie, "courrier", lea.address, Change("+", parse("swt")))
    shared = (await seen(both, lea))["mairie@brou.test"]
    assert shared.rights("paye") == Right.NONE
    assert shared.rights("courrier") == parse("lrswt")
    assert shared.rights("other") == READ
    assert await both.sharing.acl(mairie, "paye") == []
    assert [letters(entry.rights) for entry in await both.sharing.acl(mairie, "courrier")] == ["lrswt"]
    await both.sharing.set_acl(mairie, mairie, "paye", None, Change("", parse("l")))
    assert (await seen(both, lea))["mairie@brou.test"].rights("paye") == Right.LOOKUP


async def test_what_is_denied_is_taken_from_all_that_is_granted(both: SqlDirectory) -> None:
    """RFC 4314 2: one's own rights and anyone's, less one's own negative ones and anyone's."""
    mairie, lea, _ = await town(both)
    await both.sharing.share(OPERATOR, mairie.address, None, parse("lrsw"), send_as=False)
    await both.sharing.set_acl(mairie, mairie, "paye", lea.address, Change("+", parse("rt"), negative=True))
    await both.sharing.set_acl(mairie, mairie, "paye", lea.address, Change("", parse("rtx")))
    await both.sharing.set_acl(mairie, mairie, "paye", None, Change("", parse("w"), negative=True))
    shared = (await seen(both, lea))["mairie@brou.test"]
    assert (letters(shared.rights("paye")), letters(shared.rights("other"))) == ("lsx", "lrsw")
    told = {(str(e.grantee), e.negative): letters(e.rights) for e in await both.sharing.acl(mairie, "paye")}
    assert told == {
        ("None", False): "lrsw", ("lea@brou.test", True): "rt", ("lea@brou.test", False): "rxt", ("None", True): "w",
    }  # fmt: skip
    await both.sharing.folder_made(mairie, "paye", "below")
    assert letters((await seen(both, lea))["mairie@brou.test"].rights("below")) == "lsx"
    lines = await both.audit(CONSOLE, limit=1)
    assert lines[0].target == "mairie@brou.test paye: -anyone w"
    await both.remove_account(OPERATOR, lea.address)
    assert [entry.grantee for entry in await both.sharing.acl(mairie, "paye")] == [None, None]


async def test_nothing_but_a_denial_shows_nobody_anything(both: SqlDirectory) -> None:
    mairie, lea, _ = await town(both)
    await both.sharing.set_acl(mairie, mairie, "f", lea.address, Change("", READ, negative=True))
    assert await seen(both, lea) == {}


async def test_an_administrators_share_forgets_what_was_denied(both: SqlDirectory) -> None:
    mairie, lea, _ = await town(both)
    await both.sharing.set_acl(mairie, mairie, "f", lea.address, Change("", READ, negative=True))
    await both.sharing.share(OPERATOR, mairie.address, lea.address, READ, send_as=False)
    assert (await seen(both, lea))["mairie@brou.test"].rights("f") == READ


async def test_a_new_folder_begins_with_its_parents_list_and_a_gone_one_leaves_nothing(both: SqlDirectory) -> None:
    mairie, lea, _ = await town(both)
    await both.sharing.set_acl(mairie, mairie, "parent", lea.address, Change("", READ))
    await both.sharing.folder_made(mairie, "parent", "child")
    assert (await seen(both, lea))["mairie@brou.test"].rights("child") == READ
    await both.sharing.folder_gone(mairie, "child")
    assert (await seen(both, lea))["mairie@brou.test"].rights("child") == Right.NONE
    assert await both.sharing.acl(mairie, "child") == []


async def test_the_owner_needs_no_entry_and_gets_none(both: SqlDirectory) -> None:
    mairie, _, _ = await town(both)
    with pytest.raises(MailError) as refused:
        await both.sharing.set_acl(mairie, mairie, "f", mairie.address, Change("", READ))
    assert refused.value.code == "acl-of-owner"


async def test_who_is_removed_leaves_no_right_behind(both: SqlDirectory) -> None:
    mairie, lea, _ = await town(both)
    await both.sharing.share(OPERATOR, mairie.address, lea.address, READ, send_as=True)
    await both.remove_account(OPERATOR, lea.address)
    assert await both.sharing.shares(OPERATOR, mairie.address) == []
    await both.remove_account(OPERATOR, mairie.address)


async def test_sharing_is_audited(both: SqlDirectory) -> None:
    mairie, lea, _ = await town(both)
    await both.sharing.share(OPERATOR, mairie.address, lea.address, READ, send_as=True)
    await both.sharing.set_acl(mairie, mairie, "f", lea.address, Change("", READ))
    lines = await both.audit(CONSOLE, limit=2)
    assert [(line.actor, line.action, line.target) for line in lines] == [
        ("mairie@brou.test", "acl-set", "mairie@brou.test f: lea@brou.test lr"),
        ("chef", "mailbox-shared", "mairie@brou.test: lea@brou.test lr send-as"),
    ]


async def test_a_mailbox_of_a_function_is_one(both: SqlDirectory) -> None:
    await commune(both, "Brou", "brou.test")
    added = await both.add_account(OPERATOR, at("mairie@brou.test"), password=None, shared=True)
    assert added.shared
    assert (await both.account(OPERATOR, added.address)).shared
    await both.set_shared(OPERATOR, added.address, False)
    assert not (await both.account(OPERATOR, added.address)).shared


async def test_annotations_are_private_or_shared_and_bounded(both: SqlDirectory) -> None:
    mairie, lea, _ = await town(both)
    notes = both.annotations
    await notes.change(lea, mairie, "f", {"/private/comment": b"mine\0", "/shared/comment": "é".encode()})
    assert await notes.read(lea, mairie, ["f"]) == {
        "f": {"/private/comment": b"mine\0", "/shared/comment": "é".encode()}
    }
    assert await notes.read(mairie, mairie, ["f"]) == {"f": {"/shared/comment": "é".encode()}}
    too_many = {f"/private/vendor/x/{n}": b"" for n in range(101)}
    for values, code in (
        ({"/private/a": b"x" * 16385}, "annotation-too-big"),
        (too_many, "annotations-too-many"),
        ({f"/private/{n}": b"x" * 16384 for n in range(65)}, "annotations-over-quota"),
    ):
        with pytest.raises(MailError) as refused:
            await notes.change(lea, mairie, "g", {"/private/first": b"1", **values})
        assert refused.value.code == code
        assert await notes.read(lea, mairie, ["g"]) == {}
    await notes.change(lea, mairie, "g", {f"/private/{n}": b"x" for n in range(100)})  # as many as may be
    with pytest.raises(MailError):
        await notes.change(lea, mairie, "g", {"/private/one-more": b"x"})
    left = 1048576 - len(b"mine\0") - 100
    full = {f"/private/{n}": b"x" * 16384 for n in range(63)} | {"/private/rest": b"x" * (left - 63 * 16384)}
    await notes.change(lea, mairie, "h", full)
    with pytest.raises(MailError):
        await notes.change(lea, mairie, "i", {"/private/one-more": b"x"})
    await notes.change(lea, mairie, "f", {"/private/comment": None, "/private/absent": None})
    assert await notes.read(lea, mairie, ["f"]) == {"f": {"/shared/comment": "é".encode()}}


async def test_what_is_shared_is_subscribed_until_somebody_says_otherwise(both: SqlDirectory) -> None:
    mairie, lea, _ = await town(both)
    assert await both.sharing.unsubscribed(lea) == set()
    folder = RandomIds().object_id()
    await both.sharing.subscribe(lea, mairie, folder, False)
    assert await both.sharing.unsubscribed(lea) == {folder}
    assert await both.sharing.unsubscribed(mairie) == set()
    await both.sharing.subscribe(lea, mairie, folder, True)
    assert await both.sharing.unsubscribed(lea) == set()


async def test_h117_what_another_process_took_back_counts_within_seconds(
    sqlite_url: str, directory: SqlDirectory, clock: ManualClock
) -> None:
    mairie, lea, _ = await town(directory)
    other = await SqlDirectory.open(sqlite_url, clock=clock, ids=RandomIds(), limits=Limits())
    await directory.sharing.share(OPERATOR, mairie.address, lea.address, READ, send_as=False)
    assert set(await seen(other, lea)) == {"mairie@brou.test"}
    await directory.sharing.unshare(OPERATOR, mairie.address, lea.address)
    clock.advance(2.1)
    assert await seen(other, lea) == {}
    await other.close()
