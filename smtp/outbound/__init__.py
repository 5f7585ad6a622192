"""The SMTP client: sans-I/O dialogue and reply parser, MX selection, TLS policy, connections, the delivery agent."""
