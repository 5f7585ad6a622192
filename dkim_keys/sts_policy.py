"""The MTA-STS policy of hosted domains, written: one text for all of them, because all have the same MX (RFC 8461).

Its id is a digest of the text: a changed policy changes the TXT record that communes publish, and nothing else does.
Who serves the text is `beffroi.worker.sites`.
"""

from __future__ import annotations

import hashlib

from core.config import Config

PATH = "/.well-known/mta-sts.txt"


def policy_text(config: Config) -> str:
    """RFC 8461 3.2; "" when none is published: no door that could serve it, or switched off."""
    settings = config.mta_sts
    if settings.mode == "off" or not config.listen.https:
        return ""
    return "".join(
        f"{name}: {value}\r\n"
        for name, value in (
            ("version", "STSv1"),
            ("mode", settings.mode),
            ("mx", config.hostname),
            ("max_age", settings.max_age_seconds),
        )
    )


def policy_id(text: str) -> str:
    """RFC 8461 3.1: at most 32 letters and digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:20]
