"""For all tests: what they log is plain. A traceback as structlog renders it where rich is installed shows the values
in each frame, and took two seconds for every bug that a test provokes."""

from __future__ import annotations

import structlog
from structlog.dev import ConsoleRenderer, plain_traceback

*_steps, _coloured = structlog.get_config()["processors"]
assert isinstance(_coloured, ConsoleRenderer)
structlog.configure(processors=[*_steps, ConsoleRenderer(colors=False, exception_formatter=plain_traceback)])
