"""The configuration, by subject: quantities as they are written, one section for each subject, the whole.

pydantic is touched here only. Every key is also `BEFFROI_SECTION__KEY` (lists and tables as JSON there). The keys are
an outside contract: they are added to, never renamed.
"""

from core.config.limits import Limits
from core.config.quantities import parse_duration, parse_endpoint, parse_size
from core.config.sections import Antispam, Auth, Delivery, Imap, Listen, MtaSts, TlsFiles
from core.config.whole import Config, ConfigError, load, unknown_variables

__all__ = [
    "Antispam",
    "Auth",
    "Config",
    "ConfigError",
    "Delivery",
    "Imap",
    "Limits",
    "Listen",
    "MtaSts",
    "TlsFiles",
    "load",
    "parse_duration",
    "parse_endpoint",
    "parse_size",
    "unknown_variables",
]
