"""Section `limits`: every bound of the suite, with its reasons in docs/limits.md."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network

from pydantic import Field, field_validator

from core.config.quantities import KIB, MIB, parse_size
from core.config.section import Section


@lru_cache(maxsize=16)
def _networks(items: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(item, strict=False) for item in items)


class Limits(Section):
    """Every bound of the suite (security.md section 2). Sizes in octets, times in seconds."""

    exempt: list[str] = []
    message_size: str = "60M"
    account_recipients_per_day: int = 500
    account_new_recipients_per_day: int = 150
    account_hijack_per_hour: int = 100
    # SMTP sessions
    command_line: int = 2048  # RFC 5321 4.5.3.1.4 asks 512 and more for extensions
    auth_line: int = 12288  # RFC 4954 4
    data_line: int = 64 * KIB
    recipients_mx: int = 500
    recipients_submission: int = 200
    errors_soft: int = 10
    errors_hard: int = 20
    junk_commands: int = 100
    idle_before_mail: float = 60.0
    idle_command: float = 300.0
    data_stall: float = 300.0
    submission_stall: float = 60.0
    transaction: float = 600.0
    minimum_rate: int = 500
    minimum_rate_submission: int = 2 * KIB
    tls_handshake: float = 10.0
    connections_per_address: int = 50
    connections_per_network: int = 200  # /24 or /56
    connections_per_region: int = 600  # /20 or /48
    connection_rate_address: int = 1200  # a minute
    connection_rate_network: int = 2400
    connection_rate_region: int = 4800
    smtp_connections: int = 2000  # of strangers, at all doors of SMTP
    submission_connections_per_account: int = 40
    future_release: int = Field(default=30 * 86400, ge=1, le=366 * 86400)  # the longest a sender may hold mail back
    future_release_messages: int = Field(default=100, ge=1)  # of one account, kept back at a time
    deliver_by_minimum: int = Field(default=60, ge=1, le=86400)  # the shortest time after which mail is returned
    priority: int = Field(default=4, ge=0, le=9)  # the highest that senders get
    harvest_ban: float = 3600.0
    greylist_entries: int = Field(default=200_000, ge=1000)
    # messages
    header_field: int = 64 * KIB
    header_block: int = 256 * KIB
    header_fields: int = 1000
    mime_depth: int = 50
    mime_parts: int = 2000
    addresses_per_field: int = 1000
    mime_parameters: int = 100
    hops: int = 50
    alias_depth: int = 10
    # IMAP
    imap_line: int = 64 * KIB
    imap_line_before_login: int = 8 * KIB
    imap_literals: int = 1 * MIB
    imap_bad_before_login: int = 3
    imap_bad_after_login: int = 20
    imap_idle: float = 1800.0  # RFC 9051 5.4: at least 30 minutes
    imap_login_timeout: float = 60.0
    imap_stall: float = 60.0  # a peer that neither reads our answer nor sends its literal on
    imap_connections_per_account: int = 40
    imap_messages: int = Field(default=0, ge=0)  # RFC 9738 3: SHOULD NOT be lower than 1000
    imap_saved_messages: int = Field(default=0, ge=0)
    # accounts
    folders: int = 1000
    account_messages: int = 1_000_000  # 0: no limit
    keywords: int = 64
    keyword_length: int = 128
    recycle_days: int = 30
    metadata_value: int = 16 * KIB  # RFC 5464 4.1: at least 1,024
    metadata_entries: int = 100  # of one folder, and again of each of its readers; RFC 5464 4.1: at least 10
    metadata_octets: int = 1 * MIB  # of one account
    postmaster_mailbox: int = 100 * MIB  # what is kept for postmaster@ until the operator says who reads it
    password: int = 256
    concurrent_hashes: int = 4
    # evidence
    dkim_signatures: int = 10
    spf_timeout: float = 20.0
    helo_timeout: float = 5.0
    explanation_timeout: float = 2.0
    evidence_timeout: float = 30.0
    # REST
    api_body: int = 1 * MIB

    @field_validator("*")
    @classmethod
    def _bound(cls, value: object) -> object:
        if isinstance(value, int | float) and not 0 <= value < float("inf"):  # nan neither
            raise ValueError("a bound is not below 0, and it ends")
        return value

    @field_validator("message_size")
    @classmethod
    def _size(cls, value: str) -> str:
        parse_size(value)
        return value

    @field_validator("exempt")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for item in value:
            ip_network(item, strict=False)
        return value

    @property
    def message_octets(self) -> int:
        return parse_size(self.message_size)

    @property
    def exempt_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return _networks(tuple(self.exempt))
