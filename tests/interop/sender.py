"""The suite as a sender, driven from outside: a client submits over TLS, a worker delivers, a real Postfix receives."""

from __future__ import annotations

import contextlib
import smtplib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.interop.mail import Marked
from tests.peers.dns import Dns
from tests.peers.postfix import Postfix
from tests.peers.process import wait_until
from tests.peers.suite import ApiError, Suite

HOME = "saint-aubin.test"  # ours
PASSWORD = "le beffroi sonne a midi"


@dataclass
class Sender:
    dns: Dns
    postfix: Postfix
    suite: Suite

    @property
    def ports(self) -> dict[str, int]:
        return self.suite.ports

    def submit(
        self,
        recipients: Sequence[str],
        raw: bytes,
        *,
        user: str = f"secretariat@{HOME}",
        mail: Sequence[str] = ("BODY=8BITMIME",),
        rcpt: Sequence[str] = (),
    ) -> None:
        with smtplib.SMTP("127.0.0.1", self.ports["submission"], timeout=60) as client:
            client.starttls(context=self.suite.tls())
            client.ehlo()
            client.user, client.password = user, PASSWORD
            client.auth("PLAIN", lambda _=None: f"\0{user}\0{PASSWORD}")
            refused = client.sendmail(user, list(recipients), raw, mail_options=mail, rcpt_options=rcpt)
            assert not refused

    def received(self, box: str, message: Marked) -> list[bytes]:
        """What Postfix holds of a message, each copy with CRLF lines."""
        return [raw.replace(b"\n", b"\r\n") for raw in self.postfix.messages(box) if message.mark.encode() in raw]

    def await_received(self, box: str, message: Marked, count: int = 1) -> list[bytes]:
        wait_until(lambda: len(self.received(box, message)) >= count, what=f"{message.mark} at {box}", timeout=60)
        return self.received(box, message)

    def waiting(self, recipient: str) -> list[dict[str, Any]]:
        """Our queue's messages that wait for a recipient."""
        found = self.suite.api("GET", "/queue")
        assert isinstance(found, list)
        return [item for item in found if recipient in [person["address"] for person in item["recipients"]]]

    def attempts(self, recipient: str) -> list[dict[str, object]]:
        """The log's lines of what our queue tried for a recipient."""
        return [event for event in self.suite.events("delivery-attempt") if event["recipient"] == recipient]

    def await_attempts(self, recipient: str, count: int, since: int = 0) -> list[dict[str, object]]:
        """At least so many after the first `since`; the log follows the queue by a moment."""
        wait_until(lambda: len(self.attempts(recipient)) >= since + count, what=f"{count} attempts", timeout=60)
        return self.attempts(recipient)[since:]

    def retried(self, recipient: str) -> None:
        """All that waits for a recipient is due now."""
        for item in self.waiting(recipient):
            with contextlib.suppress(ApiError):  # it left meanwhile
                self.suite.api("POST", f"/queue/{item['queue_id']}/retry")

    def settled(self, recipient: str) -> None:
        """Nothing waits for this recipient, and no worker met a bug."""
        wait_until(lambda: not self.waiting(recipient), what=f"our queue's mail for {recipient} to go", timeout=60)
        assert not self.suite.tracebacks()


__all__ = ["HOME", "PASSWORD", "Sender"]
