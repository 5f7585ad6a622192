"""`beffroi demo`: what `make run` starts."""

from __future__ import annotations

import os
from pathlib import Path

from beffroi.cli.console import refuse


def demo() -> None:
    """Start a demonstration with two communes on loopback and keep it running until Ctrl-C."""
    from beffroi.demo.run import DemoError, run

    try:
        code = run(Path(os.environ.get("BEFFROI_DEMO", "demo-data")))
    except (DemoError, OSError) as error:
        refuse(str(error))
    raise SystemExit(code)
