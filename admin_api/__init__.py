"""The REST API under /v1: routes, schemas, roles, problems (RFC 9457).

Refuses to know SMTP, IMAP and the content of messages.
"""
