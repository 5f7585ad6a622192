"""The words of the house: address, domain, envelope, status, errors, configuration, clock, ids, log, limits, resolver.

Knows nothing of messages, mailboxes, sockets or databases; imports no other package of ours.
"""
