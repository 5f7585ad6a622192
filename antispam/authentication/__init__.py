"""Who vouches for a message: SPF, DKIM, DMARC, iprev, and how we say so (Authentication-Results).

Pure parsing and evaluation over a `core.resolver.Resolver`; the resolver, the clock and the limits are arguments.
"""

from antispam.authentication.authenticator import Authenticator
from antispam.authentication.dkim import DkimVerification
from antispam.authentication.results import compose, compose_login

__all__ = ["Authenticator", "DkimVerification", "compose", "compose_login"]
