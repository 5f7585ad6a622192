"""From a name and a password to a logged-in session; shared by LOGIN and AUTHENTICATE.

Knows what to answer, never whether a password is right: that is the directory's, in equal time for all. The directory
logs it too, without what is no address: people type passwords into the name field (promise P10).
"""

from __future__ import annotations

from core.errors import TemporaryError
from core.log import Secret
from directory.sharing import Sharing
from directory.types import Account, LoggedIn, LoginRefused, LoginResult, LoginUnavailable
from imap import capability, responses
from imap.ahead import look_ahead
from imap.errors import Bye, Code, No
from imap.places import Places
from imap.responses import Ok
from imap.session import Session
from store.types import AccountRef

MAX_FAILURES = 5  # per connection; the directory slows an address down long before a stranger gets far


def require_privacy(session: Session) -> None:
    """RFC 5530 3, security.md row 24: a password in the clear is refused before it is looked at."""
    if not capability.may_send_password(session):
        raise No("use TLS first", Code.PRIVACYREQUIRED)


async def log_in(session: Session, identity: str, secret: Secret) -> Ok:
    """Raises `No` for what is wrong and `Bye` after too many failures."""
    directory = session.services.directory
    return await opened(session, await directory.login(identity, secret, protocol="imap", remote=session.link.remote))


async def opened(session: Session, result: LoginResult) -> Ok:
    """What came of a login, whatever the mechanism. Raises like `log_in`."""
    services = session.services
    match result:
        case LoggedIn():
            ref = AccountRef.of(result.account)
            anew = services.store.opens_alone(ref)
            own = await services.store.account(ref)
            sharing = services.directory.sharing
            places = Places(own, result.account, services.store, sharing, services.namespaces)
            session.logged_in(result, places, sets_quotas=await _sets_quotas(sharing, result.account))
            if anew:
                await look_ahead(session)
            return Ok("logged in", responses.capability_code(capability.names(session)))
        case LoginUnavailable():
            raise No("login is not possible at the moment", Code.UNAVAILABLE)
        case LoginRefused():
            raise failed(session)


async def _sets_quotas(sharing: Sharing, account: Account) -> bool:
    """A directory that is away now keeps nobody out who could be let in without it."""
    try:
        return bool(await sharing.quotas_of(account))
    except TemporaryError:
        return False


def failed(session: Session) -> No | Bye:
    """One answer for all causes: unknown, wrong, suspended and throttled look the same (promise P8)."""
    session.failed_logins += 1
    if session.failed_logins >= MAX_FAILURES:
        return Bye("too many failed logins", Code.AUTHENTICATIONFAILED)
    return No("authentication failed", Code.AUTHENTICATIONFAILED)
