"""The composition root: command line, supervisor, wiring, start and stop order. Everything meets only here."""
