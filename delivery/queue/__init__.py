"""The durable queue: what leaves or must wait, in one database of its own (SQLite now; the SQL is portable).

The only owner of this SQL. Refuses to know how anything is delivered.
"""
