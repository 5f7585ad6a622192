"""The bytes of a message: bounded header and MIME scanner, summary, structure, trace fields, DSN, composing.

Pure functions over bytes. Refuses to know files, sockets, accounts or policy, and never raises on bad mail:
what cannot be understood becomes an opaque leaf (RFC 5322, RFC 2045-2049, RFC 9051 7.5.2).
"""
