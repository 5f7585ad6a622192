"""For programs of the tests that make faults by the thousand: what the suite says of them is nobody's."""

from __future__ import annotations

import os

import core.log


def silence() -> None:
    """For the life of the process."""
    core.log.configure("error", stream=open(os.devnull, "w"))  # noqa: SIM115 - for the life of the process
