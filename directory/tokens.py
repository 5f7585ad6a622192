"""What an access token says: the border to whoever knows (OAUTHBEARER, XOAUTH2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from core.log import Secret


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """`address` as the token's issuer gives it; `expires_at` in Unix seconds, None when it does not say."""

    address: str
    expires_at: float | None


class TokenCheck(Protocol):
    async def check(self, token: Secret) -> TokenFacts | None:
        """None when it is not valid, or not for us. Raises `TemporaryError` when nobody can say."""

    async def close(self) -> None: ...
