"""Who exists: operator > organisation > domain > account, alias, grant, credential; and who may log in.

The only owner of this SQL. Refuses to know messages, files and protocols.
"""
