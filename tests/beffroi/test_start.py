"""What a command pays before it begins: its own rooms and no others."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("sqlalchemy", "apsw", "cryptography", "dns", "argon2", "fastapi", "uvicorn", "httpx2", "aiosmtpd")
ASK = "import sys, beffroi.cli.app; print(*sorted(set(sys.modules) & set({heavy!r})))"


def test_the_table_of_commands_opens_no_room() -> None:
    """`beffroi --help` and `status` took more than twice as long while it did."""
    asked = subprocess.run(
        [sys.executable, "-c", ASK.format(heavy=HEAVY)], capture_output=True, text=True, check=True, timeout=60
    )
    assert asked.stdout.split() == []
