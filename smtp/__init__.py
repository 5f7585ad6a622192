"""The sockets of SMTP: the server sessions (MX, submission) and the outbound client (RFC 5321).

Refuses to know what happens to a message once it is whole: that is `delivery`.
"""
