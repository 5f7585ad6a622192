"""Tokens, certificates and SCRAM beside passwords: whom they log in, and that a refusal tells nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from scramp import ScramClient

from core.clock import ManualClock
from core.config import Limits
from core.errors import TemporaryError
from core.ids import RandomIds
from core.log import Secret
from directory import sasl, scram
from directory.authentication import Authentication, Door, Outcome
from directory.certificates import fingerprint
from directory.proving import Means
from directory.service import SqlDirectory
from directory.tokens import TokenFacts
from directory.types import LoggedIn, LoginRefused, LoginResult, LoginUnavailable, Scope
from tests.directory.anne import ANNE, REFUSED, add, anne, login
from tests.directory.helpers import GOOD, LOCAL, OPERATOR, at, mailbox

IMAP, SMTP = Door("imap", LOCAL), Door("smtp", LOCAL)


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
    escaped = [
        (b"n,a=a=2Cb=3Dc@x.test,", "OAUTHBEARER", "a,b=c@x.test"),
        (b"user=a=2Cb@x.test", "XOAUTH2", "a=2Cb@x.test"),
    ]
    for words, mechanism, identity in escaped:  # XOAUTH2 has no escapes
        step = sasl.start(mechanism, base64.b64encode(words + b"\x01auth=Bearer x\x01\x01"))
        assert isinstance(step, sasl.Bearer)
        assert step.identity == identity
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
    assert scram.read_first(b"n,,n=a=2Cb=3Dc,r=x") == scram.First("n,,", "n=a=2Cb=3Dc,r=x", "a,b=c", "", "x")
    assert scram.read_first(b"y,a=b,n=b,r=x,z=1") == scram.First("y,a=b,", "n=b,r=x,z=1", "b", "b", "x")
    for bad in (
        b"", b"p=tls-unique,,n=a,r=x", b"n,,n=,r=x", b"n,,n=a", b"n,,n=a=2,r=x", b"n,,m=x,n=a,r=x", b"\xff",
        b"n,,n=a,r=" + b"x" * 257,
    ):  # fmt: skip
        assert scram.read_first(bad) is None, bad
    words = base64.b64encode(b"n,a=other,n=anne,r=x")
    assert sasl.start(scram.MECHANISM, words) == sasl.Failed("authorization")


def test_rfc7677_3_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scram, "salt_of", lambda _: base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
    first = scram.read_first(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
    assert first
    keys = scram.make_keys("pencil", "user")
    exchange = scram.Exchange(first, "user", {"app": keys}, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
    nonce = b"rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    assert exchange.challenge == b"r=" + nonce + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    final = b"c=biws,r=" + nonce + b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    assert exchange.finish(final) == ("app", b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    for torn in (final.replace(b",p=d", b",p=e"), final.replace(b"biws", b"eSws"), final.replace(b"$k0", b"$k1"),
                 final.replace(b",p=", b",m=x,p="), final + b",z=1", final[:-2] + b"=="):  # fmt: skip
        assert exchange.finish(torn) is None, torn


@pytest.mark.parametrize("header", ["n,,", "y,,", "n,a=Anne@brou.test,"])
async def test_scram_with_ones_own_name_as_identity_and_unknown_attributes(
    sqlite_url: str, clock: ManualClock, header: str
) -> None:
    """As mutt says it, whose SASL is the GNU library's: it was an internal error. What follows is signed, too."""
    directory = await open_with(sqlite_url, clock, Means(scram=True))
    account = await anne(directory)
    app, clear = await add(directory)
    bare = f"n={ANNE},r=clientnonce,z=whatever"
    exchange = Authentication(directory, IMAP)
    outcome = await exchange.settle(exchange.start(scram.MECHANISM, base64.b64encode((header + bare).encode())))
    assert isinstance(outcome, sasl.Challenge)
    told = base64.b64decode(outcome.text).decode()
    nonce, salt, _ = (part[2:] for part in told.split(",", 2))
    final = f"c={base64.b64encode(header.encode()).decode()},r={nonce},x=1"
    salted = hashlib.pbkdf2_hmac("sha256", clear.encode(), base64.b64decode(salt), 4096)
    client = hmac.digest(salted, b"Client Key", "sha256")
    signed = hmac.digest(hashlib.sha256(client).digest(), f"{bare},{told},{final}".encode(), "sha256")
    proof = base64.b64encode(bytes(one ^ two for one, two in zip(client, signed, strict=True))).decode()
    outcome = await exchange.settle(outcome.respond(base64.b64encode(f"{final},p={proof}".encode())))
    assert isinstance(outcome, sasl.Challenge)
    assert await exchange.settle(outcome.respond(b"")) == LoggedIn(account, app)
    await directory.close()


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
    attempts: dict[str, Callable[[], Awaitable[object]]] = {
        "password": lambda: login(directory, "wrong password"),
        "token": lambda: directory.login_token(ANNE, Secret("bad"), IMAP),
        "certificate": lambda: directory.login_certificate(ANNE, Door("imap", LOCAL, certificate())),
        "scram": lambda: scram_login(directory, ANNE, "wrong"),
    }
    result = await attempts[mechanism]()
    assert isinstance(result, LoginRefused)
    assert throttle.wait(LOCAL, ANNE) > 0
    await directory.close()
