"""What `make run` starts: an installation with two communes on unprivileged loopback ports, and a first message.

It drives the suite from outside, as an operator would: the command line, REST, SMTP and IMAP; nothing here is known to
the suite itself.
"""
