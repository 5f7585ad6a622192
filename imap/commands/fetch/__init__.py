"""FETCH and UID FETCH: items, sections, plan, and the answer in bounded blocks (RFC 9051 6.4.5)."""

from imap.commands.fetch.handle import FETCH, UID_FETCH

__all__ = ["FETCH", "UID_FETCH"]
