"""DKIM keys of the hosted domains: generate, keep, rotate (publish > active > retired), DNS records, sign.

Refuses to know how a message came to be or where it goes (RFC 6376, RFC 8463).
"""
