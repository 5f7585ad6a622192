"""What a piece of code costs, whatever else the machine, and this process, have to do."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Iterator


@contextlib.contextmanager
def cheap(seconds: float, what: object = "") -> Iterator[None]:
    """At most so many seconds of CPU, its threads' among them. The collector rests meanwhile: a full look at what other
    tests have left takes tenths of a second."""
    gc.disable()
    began = time.process_time()
    try:
        yield
    finally:
        took = time.process_time() - began
        gc.enable()
    assert took < seconds, what
