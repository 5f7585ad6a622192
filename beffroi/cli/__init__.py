"""The command line: one file per family of commands, all of them listed in `beffroi.cli.app`.

Refuses to know how things are done: each command opens what it needs through `beffroi.wiring`, calls one operation and
prints its answer. Exit codes: 0 done, 1 refused with one clear line, 2 usage.
"""
