"""What the supervisor starts: front (SMTP and IMAP), delivery (the queue's runner), web (REST, metrics).

One process each, exec'd with its sockets. `beffroi.worker.__main__` holds the table of kinds.
"""
