"""MTA-STS policies on disk: what keeps protecting a domain while its DNS or web server is blocked (RFC 8461 2, 10.2).

One small JSON file per domain, replaced whole, so that several workers and restarts share it. A file that cannot be
read is no policy; a disk that cannot be written costs the protection across a restart, and never a delivery.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import OrderedDict
from pathlib import Path

from core.log import get
from smtp.outbound.sts import PolicyFault, StsPolicy, read_policy

REMEMBERED = 5_000  # policies kept in memory
KEPT = 50_000  # files

_log = get(__name__)


class StsCache:
    """`directory` is made when first needed. Reads and writes a few hundred octets: no thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._kept: OrderedDict[str, StsPolicy] = OrderedDict()
        self._files: int | None = None

    def get(self, domain: str, now: float) -> StsPolicy | None:
        """The policy that still holds, None otherwise."""
        known = self._kept.get(domain)
        if known is None or not known.holds(now):
            known = self._read(domain)  # another worker may have a newer one
        if known is None or not known.holds(now):
            return None
        self._remember(known)
        return known

    def put(self, policy: StsPolicy) -> None:
        self._remember(policy)
        file = self._file(policy.domain)
        temporary = file.with_suffix(f".{os.getpid()}")
        text = json.dumps(
            {"domain": policy.domain, "id": policy.id, "fetched": policy.fetched, "policy": "\n".join(policy.lines)}
        )
        try:
            if self._full() and not file.exists():
                return
            with temporary.open("w", encoding="ascii") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(file)
        except OSError as error:
            _log.warning("sts-policy-not-kept", domain=policy.domain, error=str(error))
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _full(self) -> bool:
        """A stranger with many domains must not fill the disk with files."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._files is None or self._files >= KEPT:
            self._files = sum(1 for _ in self._directory.iterdir())
        self._files += 1
        return self._files > KEPT

    def _read(self, domain: str) -> StsPolicy | None:
        try:
            data = json.loads(self._file(domain).read_bytes())
            policy = read_policy(domain, data["policy"].encode(), str(data["id"]), float(data["fetched"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, PolicyFault) as error:
            _log.warning("sts-policy-unreadable", domain=domain, error=str(error))
            return None
        return policy if data.get("domain") == domain else None

    def _remember(self, policy: StsPolicy) -> None:
        self._kept[policy.domain] = policy
        self._kept.move_to_end(policy.domain)
        while len(self._kept) > REMEMBERED:
            self._kept.popitem(last=False)

    def _file(self, domain: str) -> Path:
        return self._directory / f"{hashlib.sha256(domain.encode()).hexdigest()[:40]}.json"
