"""Who vouches for a message: SPF, DKIM, DMARC, iprev, and how we say so (Authentication-Results).

Pure parsing and evaluation over a `core.resolver.Resolver`; the resolver, the clock and the limits are arguments.
"""
