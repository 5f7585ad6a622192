"""IMAP on the wire, without I/O: framing, scanner, sequence sets, dates, modified UTF-7, encoding (RFC 9051 9)."""
