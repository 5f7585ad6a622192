"""The per-domain Maildir store, its index, changes, search and quota.

The only code that touches message files; `store.fsops` makes every file-system call. The files are the truth,
the index is a cache that may be deleted. Refuses to know protocols, addresses' meaning and policy.
"""
