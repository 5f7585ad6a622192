"""MAIL and RCPT arguments: accepted forms, and the exact refusal of everything else (rows 14, 17, 43-50)."""

import pytest

from core.address import Address
from core.envelope import Dsn
from delivery.types import MailParameters
from smtp import replies, xtext
from smtp.parameters import ArgumentError, MailArgument, Offers, parse_mail, parse_rcpt

OFFERS = Offers(extended=True, size_limit=1000, tls=True, auth=True)
A = Address("a", "b.fr")


def rcpt(argument: str, *, extended: bool = True, smtputf8: bool = False) -> tuple[Address, Dsn]:
    found = parse_rcpt(argument, extended=extended, smtputf8=smtputf8, hostname="mx.test")
    return found.recipient, found.dsn


@pytest.mark.parametrize(
    ("argument", "sender", "parameters"),
    [
        ("FROM:<a@b.fr>", A, MailParameters()),
        ("from: <a@B.FR>", A, MailParameters()),
        ("FROM:<>", None, MailParameters()),
        ("FROM:<@x.fr,@y.fr:a@b.fr>", A, MailParameters()),
        ('FROM:<"a b"@b.fr> SIZE=1', Address("a b", "b.fr"), MailParameters(size=1)),
        ("FROM:<a@b.fr> SIZE=1000 BODY=8bitmime", A, MailParameters(size=1000, body="8BITMIME")),
        ("FROM:<a@b.fr> BODY=binarymime", A, MailParameters(body="BINARYMIME")),
        ("FROM:<a@b.fr> RET=hdrs ENVID=q+2B1+20x", A, MailParameters(ret="HDRS", envid="q+1 x")),
        ("FROM:<a@b.fr> ENVID=" + "+2B" * 100, A, MailParameters(envid="+" * 100)),
        ("FROM:<a@b.fr> AUTH=<>", A, MailParameters(auth="")),
        ("FROM:<a@b.fr> AUTH=e+3Dmc2@b.fr", A, MailParameters(auth="e=mc2@b.fr")),
        ("FROM:<a@b.fr> AUTH=" + "x" * 500, A, MailParameters(auth="x" * 500)),
        ("FROM:<a@b.fr> REQUIRETLS", A, MailParameters(require_tls=True)),
        ("FROM:<é@b.fr> SMTPUTF8", Address("é", "b.fr"), MailParameters(smtputf8=True)),
    ],
)
def test_mail_arguments(argument: str, sender: Address | None, parameters: MailParameters) -> None:
    assert parse_mail(argument, OFFERS) == MailArgument(sender, parameters)


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("", replies.BAD_MAIL),
        ("FROM", replies.BAD_MAIL),
        ("FROM:a@b.fr", replies.BAD_MAIL),
        ("FROM:<a@b.fr", replies.BAD_MAIL),
        ("FROM:<a@b.fr>SIZE=1", replies.BAD_MAIL),
        ("FROM:<a@b.fr c>", replies.BAD_MAIL),
        ("TO:<a@b.fr>", replies.BAD_MAIL),
        ("FROM:<a@>", replies.BAD_SENDER),
        ("FROM:<a>", replies.BAD_SENDER),
        ("FROM:<a@[127.0.0.1]>", replies.BAD_SENDER),
        ('FROM:<""@b.fr>', replies.BAD_SENDER),
        ("FROM:<é@b.fr>", replies.SENDER_NEEDS_UTF8),
        ("FROM:<a@b.fr> SIZE=-1", replies.BAD_PARAMETER),
        ("FROM:<a@b.fr> SIZE=" + "9" * 31, replies.BAD_PARAMETER),
        ("FROM:<a@b.fr> SIZE=1001", replies.TOO_BIG),
        ("FROM:<a@b.fr> SIZE=1 SIZE=2", replies.BAD_PARAMETER),
        ("FROM:<a@b.fr> SIZE=1 size=2", replies.BAD_PARAMETER),
        ("FROM:<a@b.fr> SIZE", replies.BAD_PARAMETER),
        ("FROM:<a@b.fr> BODY=BINARY", replies.BAD_PARAMETER),
        ("FROM:<a@b.fr> ENVID=+0AQUIT", replies.BAD_PARAMETER),
        ("FROM:<a@b.fr> ENVID=+0a", replies.BAD_PARAMETER),
        ("FROM:<a@b.fr> ENVID=" + "x" * 101, replies.BAD_PARAMETER),
        ("FROM:<a@b.fr> ENVID=" + "+2B" * 101, replies.BAD_PARAMETER),
        ("FROM:<a@b.fr> RET=ALL", replies.BAD_PARAMETER),
        ("FROM:<a@b.fr> AUTH=" + "x" * 501, replies.BAD_PARAMETER),
        ("FROM:<a@b.fr> AUTH=a+0Ab@b.fr", replies.BAD_PARAMETER),
        ("FROM:<a@b.fr> AUTH", replies.BAD_PARAMETER),
        ("FROM:<a@b.fr> SMTPUTF8=1", replies.BAD_PARAMETER),
        ("FROM:<a@b.fr> =x", replies.BAD_PARAMETER),
        ("FROM:<a@b.fr> XCLIENT=1", replies.UNKNOWN_PARAMETER),
        ("FROM:<a@b.fr> NOTIFY=NEVER", replies.UNKNOWN_PARAMETER),
    ],
)
def test_h017_bad_mail_arguments(argument: str, reply: replies.Reply) -> None:
    with pytest.raises(ArgumentError) as caught:
        parse_mail(argument, OFFERS)
    assert caught.value.reply is reply


def test_parameters_need_what_was_announced() -> None:
    plain = Offers(extended=True, size_limit=0)
    for argument, reply in (
        ("FROM:<a@b.fr> REQUIRETLS", replies.REQUIRETLS_NEEDS_TLS),
        ("FROM:<a@b.fr> AUTH=<>", replies.UNKNOWN_PARAMETER),
    ):
        with pytest.raises(ArgumentError) as caught:
            parse_mail(argument, plain)
        assert caught.value.reply is reply
    with pytest.raises(ArgumentError) as caught:
        parse_mail("FROM:<a@b.fr> SIZE=1", Offers(extended=False))
    assert caught.value.reply is replies.UNKNOWN_PARAMETER


@pytest.mark.parametrize(
    ("argument", "dsn"),
    [
        ("TO:<a@b.fr>", Dsn()),
        ("TO:<a@b.fr> NOTIFY=NEVER", Dsn(frozenset({"NEVER"}))),
        ("TO:<a@b.fr> NOTIFY=success,FAILURE", Dsn(frozenset({"SUCCESS", "FAILURE"}))),
        ("TO:<a@b.fr> ORCPT=rfc822;x+2By@b.fr", Dsn(original="rfc822;x+y@b.fr")),
        ("TO:<a@b.fr> ORCPT=rfc822;" + "x" * 493, Dsn(original="rfc822;" + "x" * 493)),
    ],
)
def test_rcpt_arguments(argument: str, dsn: Dsn) -> None:
    assert rcpt(argument) == (A, dsn)


@pytest.mark.parametrize("path", ["postmaster", "Postmaster", "POSTMASTER"])
def test_h056_postmaster_needs_no_domain(path: str) -> None:
    assert rcpt(f"TO:<{path}>")[0] == Address(path, "mx.test")


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("TO:<>", replies.BAD_RECIPIENT),
        ("TO:<@>", replies.BAD_RECIPIENT),
        ("TO:<user@mairie.fr@other.org>", replies.BAD_RECIPIENT),
        ('TO:<"a\tb"@b.fr>', replies.BAD_RECIPIENT),
        ("TO:<" + "a" * 65 + "@b.fr>", replies.BAD_RECIPIENT),
        ("TO:<a@" + "b" * 70000 + ">", replies.BAD_RECIPIENT),
        ("TO:<é@b.fr>", replies.RECIPIENT_NEEDS_UTF8),
        ("TO:<a@b.fr> NOTIFY=NEVER,SUCCESS", replies.BAD_PARAMETER),
        ("TO:<a@b.fr> NOTIFY=FAILURE,NEVER", replies.BAD_PARAMETER),
        ("TO:<a@b.fr> NOTIFY=SUCCESS,SUCCESS", replies.BAD_PARAMETER),
        ("TO:<a@b.fr> NOTIFY=", replies.BAD_PARAMETER),
        ("TO:<a@b.fr> ORCPT=rfc822;a+0Ab", replies.BAD_PARAMETER),
        ("TO:<a@b.fr> ORCPT=rfc822", replies.BAD_PARAMETER),
        ("TO:<a@b.fr> ORCPT=rfc822;" + "x" * 494, replies.BAD_PARAMETER),
        ("TO:<a@b.fr> ORCPT=utf-8;é@b.fr", replies.BAD_PARAMETER),
        ("TO:<a@b.fr> SIZE=1", replies.UNKNOWN_PARAMETER),
    ],
)
def test_h043_h045_h047_h050_bad_rcpt_arguments(argument: str, reply: replies.Reply) -> None:
    with pytest.raises(ArgumentError) as caught:
        rcpt(argument)
    assert caught.value.reply is reply


def test_an_internationalised_orcpt_needs_smtputf8() -> None:
    assert rcpt("TO:<a@b.fr> ORCPT=utf-8;é@b.fr", smtputf8=True)[1].original == "utf-8;é@b.fr"


@pytest.mark.parametrize(
    ("written", "smtputf8", "read"),
    [
        ("rfc822;h+C3+A9l+C3+A8ne@b.fr", True, "utf-8;hélène@b.fr"),  # as Postfix writes it: it was 501, mail came back
        ("rfc822;h+C3+A9l+C3+A8ne@b.fr", False, None),
        ("rfc822;h+C3l@b.fr", True, None),
        ("rfc822;h+C2+85l@b.fr", True, None),  # NEL, a control character
        ("utf-8;h\\x{E9}l\\x{E8}ne@b.fr", False, "utf-8;hélène@b.fr"),  # RFC 6533 3: utf-8-addr-xtext
        ("utf-8;a\\x{0A}b@b.fr", True, None),
        ("utf-8;a\\x{D800}b@b.fr", True, None),
        ("utf-8;a\\x{110000}b@b.fr", True, None),
    ],
)
def test_an_original_recipient_beyond_ascii_is_read_however_it_is_written(
    written: str, smtputf8: bool, read: str | None
) -> None:
    if read is None:
        with pytest.raises(ArgumentError):
            rcpt(f"TO:<a@b.fr> ORCPT={written}", smtputf8=smtputf8)
    else:
        assert rcpt(f"TO:<a@b.fr> ORCPT={written}", smtputf8=smtputf8)[1].original == read


def test_an_original_recipient_beyond_ascii_is_written_as_it_is_read() -> None:
    assert xtext.decode_utf8(xtext.encode_utf8("hélène+x\\@b.fr")) == "hélène+x\\@b.fr"


@pytest.mark.parametrize("text", ["", "a+b=c d", "~!+", "".join(map(chr, range(32, 127)))])
def test_xtext_round_trip(text: str) -> None:
    assert xtext.decode(xtext.encode(text)) == text


@pytest.mark.parametrize("text", ["a\r\n", "é", "\0"])
def test_xtext_sends_no_control_characters(text: str) -> None:
    with pytest.raises(xtext.XtextError):
        xtext.encode(text)
