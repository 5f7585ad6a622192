"""Who vouches for a message: SPF (RFC 7208), DKIM (RFC 6376, 8463), DMARC (RFC 9989), iprev, and the header that
tells it (RFC 8601). Evaluators take a resolver and return results; a failure of theirs is a value, not an exception.
"""
