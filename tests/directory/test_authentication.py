"""Every way to log in beside the holder's password: scoped, throttled, indistinguishable when refused."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable

import httpx2
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from scramp import ScramClient

from core.clock import ManualClock
from core.config import Limits
from core.errors import MailError, NotFoundError, TemporaryError
from core.ids import RandomIds
from core.log import Secret
from directory import app_passwords, sasl, scram
from directory.authentication import Authentication, Door, Outcome
from directory.certificates import fingerprint
from directory.introspection import Introspection, Server
from directory.proving import Means
from directory.service import SqlDirectory
from directory.tokens import TokenFacts
from directory.types import Account, LoggedIn, LoginRefused, LoginResult, LoginUnavailable, Scope
from tests.directory.helpers import GOOD, LOCAL, OPERATOR, admin_of, at, commune, mailbox

ANNE = "anne@brou.test"
REFUSED = LoginRefused("bad-credentials")
IMAP, SMTP = Door("imap", LOCAL), Door("smtp", LOCAL)


async def at_once(_: float) -> None:
    """The waits of the throttle are tested where it is."""


async def anne(directory: SqlDirectory) -> Account:
    directory._login._attempts._sleep = at_once
    await commune(directory, "Brou", "brou.test")
    return await mailbox(directory, ANNE, GOOD)


async def login(directory: SqlDirectory, password: str, protocol: str = "imap", remote: str = LOCAL) -> LoginResult:
    return await directory.login(ANNE, Secret(password), protocol=protocol, remote=remote)


async def add(directory: SqlDirectory, scope: Scope = Scope.MAIL, **options: object) -> tuple[str, str]:
    """(id, clear)."""
    about, clear = await directory.add_app_password(OPERATOR, at(ANNE), "Téléphone", scope, **options)  # type: ignore[arg-type]
    return about.id, clear.reveal()


# --- app passwords ---


def test_an_app_password_has_130_bits_and_many_spellings() -> None:
    seen = {app_passwords.generate(RandomIds().token()) for _ in range(100)}
    assert len(seen) == 100
    for clear in seen:
        text = app_passwords.canonical(clear)
        assert text is not None
        assert len(text) == 26
        assert app_passwords.canonical(clear.upper()) == app_passwords.canonical(clear.replace("-", " ")) == text
    for other in (GOOD.reveal(), "", "x" * 26 + "!", "0" * 25, "0" * 27, "-" * 200):
        assert app_passwords.canonical(other) is None


async def test_it_opens_what_it_was_made_for_and_nothing_else(both: SqlDirectory) -> None:
    account = await anne(both)
    opens = {Scope.MAIL: "imap smtp", Scope.IMAP: "imap", Scope.SUBMISSION: "smtp", Scope.SEND_ONLY: "smtp"}
    for scope, protocols in opens.items():
        app, clear = await add(both, scope)
        for protocol in ("imap", "smtp", "other"):
            result = await login(both, clear, protocol)
            expected = LoggedIn(account, app, send_only=scope is Scope.SEND_ONLY)
            assert result == (expected if protocol in protocols.split() else REFUSED), (scope, protocol)
        assert await login(both, clear.upper().replace("-", " "), protocols.split()[0]) == expected
    assert isinstance(await login(both, GOOD.reveal()), LoggedIn)


async def test_it_ends_and_comes_from_its_networks_only(both: SqlDirectory, clock: ManualClock) -> None:
    await anne(both)
    _, clear = await add(both, networks=["192.0.2.7/24", "2001:db8::/32"], expires_at=clock.now() + 60)
    for remote, good in (("192.0.2.200", True), ("::ffff:192.0.2.1", True), ("2001:db8::1", True), (LOCAL, False)):
        result = await login(both, clear, remote=remote)
        assert isinstance(result, LoggedIn) == good, remote
    opened = await login(both, clear, remote="192.0.2.1")
    assert isinstance(opened, LoggedIn)
    assert await both.still_open(opened)
    clock.advance(61)
    assert await login(both, clear, remote="192.0.2.1") == REFUSED
    assert not await both.still_open(opened)


async def test_h117_it_ends_when_taken_back_and_with_the_holders_password(both: SqlDirectory) -> None:
    await anne(both)
    first, one = await add(both)
    second, two = await add(both)
    opened = [await login(both, clear) for clear in (one, two)]
    await both.remove_app_password(OPERATOR, at(ANNE), first)
    for result, good in zip(opened, (False, True), strict=True):
        assert isinstance(result, LoggedIn)
        assert await both.still_open(result) == good
    assert await login(both, one) == REFUSED
    assert [app.id for app in await both.app_passwords(OPERATOR, at(ANNE))] == [second]
    await both.set_password(OPERATOR, at(ANNE), Secret("quatre chiens blancs"))
    assert await login(both, two) == REFUSED
    assert await both.app_passwords(OPERATOR, at(ANNE)) == []


async def test_it_is_listed_without_itself_and_kept_nowhere(directory: SqlDirectory, sqlite_url: str) -> None:
    await anne(directory)
    _, clear = await add(directory, Scope.SEND_ONLY, bare_lines=True, networks=["10.0.0.0/8"])
    (listed,) = await directory.app_passwords(OPERATOR, at(ANNE))
    assert (listed.label, listed.scope, listed.networks, listed.bare_lines) == (
        "Téléphone", Scope.SEND_ONLY, ("10.0.0.0/8",), True,
    )  # fmt: skip
    with open(sqlite_url.removeprefix("sqlite:///"), "rb") as file:
        stored = file.read()
    for secret in (clear, app_passwords.canonical(clear) or ""):
        assert secret.encode() not in stored
    assert clear not in str([entry.target for entry in await directory.audit(OPERATOR)])


async def test_the_copiers_bare_lines_are_told_to_smtp(both: SqlDirectory) -> None:
    await anne(both)
    _, clear = await add(both, Scope.SEND_ONLY, bare_lines=True)
    result = await login(both, clear, "smtp")
    assert isinstance(result, LoggedIn)
    assert result.send_only
    assert result.bare_lines


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"bare_lines": True}, "bare-lines-need-send-only"),
        ({"networks": ["mairie"]}, "invalid-network"),
        ({"networks": ["10.0.0.1"] * 21}, "invalid-network"),
        ({"expires_at": 1.0}, "invalid-expiry"),
    ],
)
async def test_what_cannot_be(directory: SqlDirectory, options: dict[str, object], code: str) -> None:
    await anne(directory)
    with pytest.raises(MailError) as refused:
        await add(directory, **options)
    assert refused.value.code == code


async def test_there_is_a_bound(directory: SqlDirectory) -> None:
    await anne(directory)
    for _ in range(50):
        await add(directory)
    with pytest.raises(MailError) as refused:
        await add(directory)
    assert refused.value.code == "app-passwords-full"


async def test_h121_a_neighbours_are_as_if_absent(both: SqlDirectory) -> None:
    await anne(both)
    other = admin_of(await commune(both, "Autre", "autre.test"))
    app, _ = await add(both)
    for attempt in (
        both.app_passwords(other, at(ANNE)),
        both.remove_app_password(other, at(ANNE), app),
        both.add_app_password(other, at(ANNE), "x", Scope.MAIL),
    ):
        with pytest.raises(NotFoundError) as refused:
            await attempt
        assert refused.value.code == "unknown-mailbox"
    with pytest.raises(NotFoundError):
        await both.remove_app_password(OPERATOR, at(ANNE), "absent")


async def test_suspended_is_suspended(both: SqlDirectory) -> None:
    await anne(both)
    _, clear = await add(both)
    await both.suspend(OPERATOR, at(ANNE))
    assert await login(both, clear) == LoginRefused("suspended")


# --- the other mechanisms ---


class FakeTokens:
    """`known`: token > facts; `away`: nobody can say."""

    def __init__(self) -> None:
        self.known: dict[str, TokenFacts] = {}
        self.away = False

    async def check(self, token: Secret) -> TokenFacts | None:
        if self.away:
            raise TemporaryError("away", code="introspection")
        return self.known.get(token.reveal())

    async def close(self) -> None:
        pass


async def open_with(url: str, clock: ManualClock, means: Means) -> SqlDirectory:
    return await SqlDirectory.open(url, clock=clock, ids=RandomIds(), limits=Limits(), means=means)


async def talk(directory: SqlDirectory, door: Door, mechanism: str, *words: bytes | None) -> Outcome:
    """The client's words in order, the first one as initial response (None: without)."""
    exchange = Authentication(directory, door)
    coded = [None if word is None else base64.b64encode(word) or b"=" for word in words]
    outcome = await exchange.settle(exchange.start(mechanism, coded[0]))
    for word in coded[1:]:
        assert isinstance(outcome, sasl.Challenge), outcome
        outcome = await exchange.settle(outcome.respond(b"" if word in (None, b"=") else word or b""))
    return outcome


def test_rfc_7628_and_google_word_the_token() -> None:
    """RFC 7628 4.1, and the user name with a comma of 3.1."""
    for mechanism, words in (
        (
            "OAUTHBEARER",
            b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer vF9dft4qmT\x01\x01",
        ),
        ("XOAUTH2", b"user=user@example.com\x01auth=Bearer vF9dft4qmT\x01\x01"),
    ):
        step = sasl.start(mechanism, base64.b64encode(words))
        assert isinstance(step, sasl.Bearer)
        assert (step.identity, step.token.reveal()) == ("user@example.com", "vF9dft4qmT")
    for words in (
        b"", b"n,,", b"p=tls-exporter,,\x01auth=Bearer x\x01\x01", b"n,,\x01auth=Basic x\x01\x01",
        b"n,,\x01auth=Bearer x", b"n,,\x01auth=Bearer \x01\x01", b"n,,\x01host=x\x01\x01",
        b"\xff\x01auth=Bearer x\x01\x01",
        b"n,,\x01auth=Bearer " + b"x" * 8193 + b"\x01\x01",
    ):  # fmt: skip
        assert sasl.start("OAUTHBEARER", base64.b64encode(words) or b"=") == sasl.Failed("malformed"), words


async def test_a_token_logs_in_whom_it_names(sqlite_url: str, clock: ManualClock) -> None:
    tokens = FakeTokens()
    directory = await open_with(sqlite_url, clock, Means(tokens=tokens))
    account = await anne(directory)
    tokens.known["good"] = TokenFacts("Anne@Brou.test", clock.now() + 60)
    assert directory.mechanisms(certificate=False) == ("PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2")
    for mechanism, words in (
        ("OAUTHBEARER", b"n,a=anne@brou.test,\x01auth=Bearer good\x01\x01"),
        ("OAUTHBEARER", b"n,,\x01auth=Bearer good\x01\x01"),
        ("XOAUTH2", b"user=anne@brou.test\x01auth=Bearer good\x01\x01"),
    ):
        result = await talk(directory, IMAP, mechanism, None, words)
        assert isinstance(result, LoggedIn)
        assert (result.account, result.expires_at) == (account, clock.now() + 60)
        assert "good" not in result.credential
        assert await directory.still_open(result)
    clock.advance(61)
    assert isinstance(result, LoggedIn)
    assert not await directory.still_open(result)
    await directory.close()


@pytest.mark.parametrize(
    "words", [b"n,a=zoe@brou.test,\x01auth=Bearer good\x01\x01", b"n,,\x01auth=Bearer bad\x01\x01",
              b"n,,\x01auth=Bearer stranger\x01\x01"],
)  # fmt: skip
async def test_a_token_that_is_not_taken_says_why_and_then_fails(
    sqlite_url: str, clock: ManualClock, words: bytes
) -> None:
    """RFC 7628 3.2.3: the error as a challenge, a dummy answer, then the failure."""
    tokens = FakeTokens()
    directory = await open_with(sqlite_url, clock, Means(tokens=tokens))
    await anne(directory)
    tokens.known = {"good": TokenFacts(ANNE, None), "stranger": TokenFacts("eve@elsewhere.test", None)}
    told = await talk(directory, IMAP, "OAUTHBEARER", words)
    assert isinstance(told, sasl.Challenge)
    assert json.loads(base64.b64decode(told.text))["status"] == "invalid_token"
    assert await talk(directory, IMAP, "OAUTHBEARER", words, b"\x01") == LoginRefused("token")
    tokens.away = True
    assert await talk(directory, IMAP, "OAUTHBEARER", words) == LoginUnavailable()
    await directory.close()


async def test_what_is_not_configured_is_not_there(directory: SqlDirectory) -> None:
    assert directory.mechanisms(certificate=True) == ("PLAIN", "LOGIN")
    for mechanism in ("OAUTHBEARER", "XOAUTH2", "EXTERNAL", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "CRAM-MD5"):
        assert await talk(directory, IMAP, mechanism, b"x") == sasl.Failed("unsupported-mechanism")


def certificate(*names: str) -> bytes:
    leaf = trustme.CA().issue_cert(*(names or ("client.test",)), common_name="somebody").cert_chain_pems[0].bytes()
    return x509.load_pem_x509_certificate(leaf).public_bytes(Encoding.DER)


async def test_a_certificate_logs_in_whom_it_names(sqlite_url: str, clock: ManualClock) -> None:
    unnamed = certificate("copier.brou.test")
    directory = await open_with(sqlite_url, clock, Means(certificates={fingerprint(unnamed): ANNE}))
    account = await anne(directory)
    await mailbox(directory, "zoe@brou.test")
    good = Door("smtp", LOCAL, certificate(ANNE))
    assert directory.mechanisms(certificate=True) == ("PLAIN", "LOGIN", "EXTERNAL")
    assert directory.mechanisms(certificate=False) == ("PLAIN", "LOGIN")
    for door, words in (
        (good, b""), (good, b"ANNE@brou.test"), (Door("imap", LOCAL, unnamed), b""),
        (Door("imap", LOCAL, certificate(ANNE, "zoe@brou.test")), b"anne@brou.test"),
    ):  # fmt: skip
        result = await talk(directory, door, "EXTERNAL", words)
        assert isinstance(result, LoggedIn), words
        assert result.account == account
        assert result.credential.startswith("certificate:")
        assert await directory.still_open(result)
    assert isinstance(await talk(directory, good, "EXTERNAL", None, b""), LoggedIn)
    for door, words in (
        (good, b"zoe@brou.test"),
        (Door("smtp", LOCAL, certificate()), b""),
        (Door("smtp", LOCAL, certificate()), b"anne@brou.test"),
        (Door("smtp", LOCAL, certificate(ANNE, "zoe@brou.test")), b""),
        (Door("smtp", LOCAL, certificate("nobody@brou.test")), b""),
        (Door("smtp", LOCAL, b"no certificate"), b""),
    ):
        assert await talk(directory, door, "EXTERNAL", words) == LoginRefused("certificate")
    await directory.suspend(OPERATOR, at(ANNE))
    assert await talk(directory, good, "EXTERNAL", b"") == LoginRefused("suspended")
    await directory.close()


async def scram_login(
    directory: SqlDirectory, user: str, password: str, door: Door = IMAP
) -> LoginResult | sasl.Failed:
    client = ScramClient([scram.MECHANISM], user, password)
    exchange = Authentication(directory, door)
    first = base64.b64encode(client.get_client_first().encode())
    outcome = await exchange.settle(exchange.start(scram.MECHANISM, first))
    assert isinstance(outcome, sasl.Challenge)
    client.set_server_first(base64.b64decode(outcome.text).decode())
    outcome = await exchange.settle(outcome.respond(base64.b64encode(client.get_client_final().encode())))
    if isinstance(outcome, sasl.Challenge):
        client.set_server_final(base64.b64decode(outcome.text).decode())  # raises unless we proved ourselves, too
        outcome = await exchange.settle(outcome.respond(b""))
    assert not isinstance(outcome, sasl.Challenge)
    return outcome


async def test_scram_with_any_of_ones_app_passwords(sqlite_url: str, clock: ManualClock) -> None:
    directory = await open_with(sqlite_url, clock, Means(scram=True))
    account = await anne(directory)
    assert directory.mechanisms(certificate=False) == ("PLAIN", "LOGIN", "SCRAM-SHA-256")
    for scope in (Scope.MAIL, Scope.IMAP):
        app, clear = await add(directory, scope)
        assert await scram_login(directory, ANNE, clear) == LoggedIn(account, app)
    assert await scram_login(directory, ANNE, clear, SMTP) == REFUSED  # of IMAP only
    assert await scram_login(directory, ANNE, GOOD.reveal()) == REFUSED  # the holder's own has no SCRAM keys
    assert await scram_login(directory, "nobody@brou.test", clear) == REFUSED
    await directory.suspend(OPERATOR, at(ANNE))
    app, clear = await add(directory)
    assert await scram_login(directory, ANNE, clear) == LoginRefused("suspended")
    await directory.close()


async def test_h055_scram_does_not_tell_who_exists(sqlite_url: str, clock: ManualClock) -> None:
    """The salt of an address is always the same, with and without an account, across processes."""
    directory = await open_with(sqlite_url, clock, Means(scram=True))
    await anne(directory)
    salts = {}
    for user in (ANNE, "nobody@brou.test"):
        seen = set()
        for _ in range(2):
            words = f"n,,n={user},r=clientnonce".encode()
            told = await talk(directory, IMAP, scram.MECHANISM, words)
            assert isinstance(told, sasl.Challenge)
            nonce, salt, count = base64.b64decode(told.text).decode().split(",")
            assert nonce.startswith("r=clientnonce")
            assert count == "i=4096"
            seen.add(salt)
        assert len(seen) == 1
        salts[user] = seen
        await add(directory)
    assert salts[ANNE] != salts["nobody@brou.test"]
    await directory.close()


def test_scram_first_messages() -> None:
    assert scram.read_first(b"n,,n=a=2Cb=3Dc,r=x") == scram.First("n,,n=a=2Cb=3Dc,r=x", "a,b=c", "")
    for bad in (
        b"", b"p=tls-unique,,n=a,r=x", b"n,,n=,r=x", b"n,,n=a", b"n,,n=a=2,r=x", b"n,,m=x,n=a,r=x", b"\xff",
        b"n,,n=a,r=" + b"x" * 257,
    ):  # fmt: skip
        assert scram.read_first(bad) is None, bad
    words = base64.b64encode(b"n,a=other,n=anne,r=x")
    assert sasl.start(scram.MECHANISM, words) == sasl.Failed("authorization")


async def test_a_torn_exchange_is_only_a_failed_login(sqlite_url: str, clock: ManualClock) -> None:
    directory = await open_with(sqlite_url, clock, Means(scram=True))
    await anne(directory)
    for final in (b"", b"garbage", b"c=biws,r=other,p=AAAA", b"\xff\xfe"):
        assert await talk(directory, IMAP, scram.MECHANISM, b"n,,n=anne@brou.test,r=abc", final) == REFUSED
    await directory.close()


@pytest.mark.parametrize("mechanism", ["password", "token", "certificate", "scram"])
async def test_h113_every_mechanism_counts_in_the_same_throttle(
    sqlite_url: str, clock: ManualClock, mechanism: str
) -> None:
    directory = await open_with(sqlite_url, clock, Means(True, FakeTokens(), {}))
    await anne(directory)
    throttle = directory._proving._attempts.throttle
    assert throttle.wait(LOCAL, ANNE) == 0
    attempts: dict[str, Callable[[], object]] = {
        "password": lambda: login(directory, "wrong password"),
        "token": lambda: directory.login_token(ANNE, Secret("bad"), IMAP),
        "certificate": lambda: directory.login_certificate(ANNE, Door("imap", LOCAL, certificate())),
        "scram": lambda: scram_login(directory, ANNE, "wrong"),
    }
    result = await attempts[mechanism]()  # type: ignore[misc]
    assert isinstance(result, LoginRefused)
    assert throttle.wait(LOCAL, ANNE) > 0
    await directory.close()


# --- introspection ---


def introspection(
    answer: Callable[[httpx2.Request], httpx2.Response], clock: ManualClock, **server: str
) -> Introspection:
    secret = Secret(server.pop("secret", "s3cret"))
    about = Server("https://auth.test/introspect", "beffroi", secret, **server)
    return Introspection(about, clock, transport=httpx2.MockTransport(answer))


async def test_rfc_7662_the_question_and_the_answer(clock: ManualClock) -> None:
    asked: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        ends = int(clock.now()) + 30
        return httpx2.Response(200, json={"active": True, "email": ANNE, "scope": "mail x", "exp": ends})

    check = introspection(answer, clock, scope="mail")
    facts = await check.check(Secret("to+ken/="))
    assert facts == TokenFacts(ANNE, float(int(clock.now()) + 30))
    (request,) = asked
    assert (request.method, str(request.url)) == ("POST", "https://auth.test/introspect")
    assert request.content == b"token=to%2Bken%2F%3D&token_type_hint=access_token"
    assert request.headers["authorization"] == "Basic " + base64.b64encode(b"beffroi:s3cret").decode()
    assert await check.check(Secret("to+ken/=")) == facts
    assert len(asked) == 1
    clock.advance(31)
    await check.check(Secret("to+ken/="))
    assert len(asked) == 2
    await check.close()


@pytest.mark.parametrize(
    "answer",
    [
        {"active": False}, {"active": False, "email": ANNE}, {"active": True}, {"active": True, "email": 7},
        {"active": True, "email": ANNE}, {"active": True, "email": ANNE, "scope": "mailx"},
        {"active": True, "email": ANNE, "scope": "mail", "exp": 1},
    ],
    ids=str,
)  # fmt: skip
async def test_h119_a_token_that_is_not_for_us(clock: ManualClock, answer: dict[str, object]) -> None:
    check = introspection(lambda _: httpx2.Response(200, json=answer), clock, scope="mail")
    assert await check.check(Secret("t")) is None
    await check.close()


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(401), httpx2.Response(500, json={"active": True}), httpx2.Response(200, content=b"not json"),
        httpx2.Response(200, json=[True]), httpx2.Response(200, json={"active": "yes"}),
        httpx2.Response(302, headers={"Location": "https://evil.test/"}),
        httpx2.Response(200, content=b'{"active": true, "x": "' + b"x" * 70_000 + b'"}'),
    ],
    ids=["401", "500", "text", "list", "word", "redirect", "huge"],
)  # fmt: skip
async def test_f160_an_answer_that_is_none_is_nobodys_fault(clock: ManualClock, answer: httpx2.Response) -> None:
    asked = 0

    def handler(_: httpx2.Request) -> httpx2.Response:
        nonlocal asked
        asked += 1
        return httpx2.Response(answer.status_code, headers=answer.headers, content=answer.content)

    check = introspection(handler, clock)
    for _ in range(8):
        with pytest.raises(TemporaryError) as raised:
            await check.check(Secret("secret-token"))
        assert "secret-token" not in repr(raised.value.__dict__)
        assert raised.value.__cause__ is None
    assert asked == 5  # then it is left alone for a while
    await check.close()


async def test_many_tokens_at_once_wait_for_no_other(clock: ManualClock) -> None:
    check = introspection(lambda _: httpx2.Response(200, json={"active": True, "email": ANNE}), clock)
    found = await asyncio.gather(*(check.check(Secret(f"t{number}")) for number in range(50)))
    assert set(found) == {TokenFacts(ANNE, None)}
    await check.close()
