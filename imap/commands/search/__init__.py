"""SEARCH and UID SEARCH: criteria values, parser, evaluation in stages of rising price (RFC 9051 6.4.4)."""

from imap.commands.search.handle import SEARCH, UID_SEARCH

__all__ = ["SEARCH", "UID_SEARCH"]
