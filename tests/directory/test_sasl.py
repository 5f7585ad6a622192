"""SASL exchanges: RFC 4616's PLAIN and LOGIN, and what is made of nonsense (security.md row 95)."""

from __future__ import annotations

from base64 import b64encode

import pytest

from directory import sasl
from directory.sasl import Challenge, Credentials, Failed


def plain(message: bytes) -> sasl.Step:
    return sasl.start("PLAIN", b64encode(message))


def opened(step: sasl.Step) -> tuple[str, str]:
    assert isinstance(step, Credentials)
    return step.identity, step.secret.reveal()


def test_plain_with_initial_response() -> None:
    assert opened(plain(b"\0tim\0tanstaaftanstaaf")) == ("tim", "tanstaaftanstaaf")  # RFC 4616 4
    assert opened(sasl.start("plain", b"AGFAYi5mcgDDqXTDqQ==")) == ("a@b.fr", "été")


def test_plain_without_initial_response() -> None:
    step = sasl.start("PLAIN")
    assert isinstance(step, Challenge)
    assert step.text == b""
    assert opened(step.respond(b64encode(b"\0a\0b"))) == ("a", "b")


def test_login_asks_twice_unless_the_name_came_along() -> None:
    step = sasl.start("LOGIN")
    assert isinstance(step, Challenge)
    assert step.text == b"VXNlcm5hbWU6"
    step = step.respond(b64encode(b"a@b.fr"))
    assert isinstance(step, Challenge)
    assert step.text == b"UGFzc3dvcmQ6"
    assert opened(step.respond(b64encode(b"secret"))) == ("a@b.fr", "secret")
    step = sasl.start("LOGIN", b64encode(b"a@b.fr"))
    assert isinstance(step, Challenge)
    assert opened(step.respond(b64encode(b"secret"))) == ("a@b.fr", "secret")


def test_another_identity_is_not_to_be_had() -> None:
    assert opened(plain(b"A@b.fr\0a@b.fr\0pw")) == ("a@b.fr", "pw")
    assert plain(b"maire@b.fr\0a@b.fr\0pw") == Failed("authorization")


@pytest.mark.parametrize(
    "message",
    [b"", b"a", b"a\0b", b"\0a\0b\0c", b"\0\0pw", b"\0a\0", b"\0\xff\0pw", b"\0a\0\xed\xa0\x80", b"\0a\0\xc0\x80"],
)
def test_h095_malformed_messages_fail(message: bytes) -> None:
    assert plain(message) == Failed("malformed")


@pytest.mark.parametrize("line", [b"!", b"YQ", b"YQ=", b"Y Q==", b"YQ==\r\n", b"\xff\xfe", b"====", b"YQ==YQ=="])
def test_h095_invalid_base64_fails(line: bytes) -> None:
    for mechanism in sasl.MECHANISMS:
        step = sasl.start(mechanism)
        assert isinstance(step, Challenge)
        assert step.respond(line) == Failed("invalid-base64")
    assert sasl.start("PLAIN", line) == Failed("invalid-base64")


def test_h095_a_client_may_cancel_any_exchange() -> None:
    for mechanism in sasl.MECHANISMS:
        step = sasl.start(mechanism)
        assert isinstance(step, Challenge)
        assert step.respond(b"*") == Failed("cancelled")
        assert sasl.start(mechanism, b"*") == Failed("cancelled")


def test_an_empty_initial_response_is_one() -> None:
    assert sasl.start("PLAIN", b"=") == Failed("malformed")
    step = sasl.start("LOGIN", b"=")
    assert isinstance(step, Challenge)
    assert step.respond(b64encode(b"pw")) == Failed("malformed")


@pytest.mark.parametrize("name", ["", "CRAM-MD5", "PLAIN ", "__class__", "X" * 10_000])
def test_unknown_mechanisms_are_refused(name: str) -> None:
    assert sasl.start(name, b"YQ==") == Failed("unsupported-mechanism")


def test_bounds_at_the_limit_and_one_past_it() -> None:
    fits = b64encode(b"\0" + b"a" * 1024 + b"\0" + b"b" * 1024)
    assert isinstance(sasl.start("PLAIN", fits), Credentials)
    assert plain(b"\0" + b"a" * 1025 + b"\0b") == Failed("too-long")
    assert plain(b"\0a\0" + b"b" * 1025) == Failed("too-long")
    assert sasl.start("PLAIN", b"A" * 12288) == Failed("malformed")
    assert sasl.start("PLAIN", b"A" * 12292) == Failed("too-long")


def test_no_secret_shows() -> None:
    assert "tanstaaf" not in repr(plain(b"\0tim\0tanstaaf"))
    step = sasl.start("LOGIN", b64encode(b"tim"))
    assert "tim" not in repr(step)
