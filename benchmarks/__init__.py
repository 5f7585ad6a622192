"""Figures against Postfix + Dovecot, measured in the same run on the same machine: `make bench [ARGS=name …]`."""
