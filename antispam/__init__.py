"""What we think of a message: authentication results, Rspamd's opinion, and later DNS lists and impersonation.

Gathers opinions as values; refuses to decide what happens to the message (that is `delivery.policy`).
"""
