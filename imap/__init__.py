"""The IMAP server (RFC 9051, RFC 3501): types, wire, responses, session, view, one file per command, one table.

Speaks to `store` and `directory` only; refuses to know SMTP and the REST API.
"""
