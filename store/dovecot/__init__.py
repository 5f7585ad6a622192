"""A Dovecot Maildir++ becomes an account of ours: read (`formats`, `source`), copied (`convert`). The source stays
as it is.

Dovecot's own pages tell the formats: dovecot-uidlist version 1 and 3, dovecot-keywords, subscriptions version 1 and 2.
"""
