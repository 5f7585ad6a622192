"""Hints between sessions and processes: something was committed, look for yourself.

Unix datagrams in DATA/run/changes/, one socket a process. Sending never blocks and nothing is trusted: a hint that is
lost (a full buffer, a process that started late) is healed by a look at least every 2 s while anyone listens
(design.md section 5). Refuses to know what changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import core.log
from core.errors import MailError
from store.fsops import FileSystem
from store.types import AccountRef, Hint

log = core.log.get(__name__)

LOOK_EVERY = 2.0
PEERS_EVERY = 1.0  # seconds the list of other processes is believed
MAX_DATAGRAM = 32 * 1024
RECEIVE_BUFFER = 1024 * 1024
_DATAGRAMS = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
SLICE = 50  # looks between two breaths of the loop

Callback = Callable[[Hint], None]
Look = Callable[[AccountRef], Awaitable[Sequence[Hint]]]


class ChangeHub:
    """One per process. `directory` is a descriptor of DATA/run/changes; `look` reads where folders stand."""

    def __init__(
        self,
        fs: FileSystem,
        directory: int,
        look: Look,
        unique: str,
        forgot: Callable[[str], object] = lambda _account: None,
    ) -> None:
        self._forgot = forgot
        self._fs, self._directory, self._look = fs, directory, look
        self._name = f"{os.getpid()}.{unique}"
        self._sender: socket.socket | None = None
        self._socket: socket.socket | None = None  # of a process that listens; the others are told nothing
        self._peers: list[str] = []
        self._peers_until = 0.0
        self._listeners: dict[str, tuple[Callback, ...]] = {}
        self._refs: dict[str, AccountRef] = {}
        self._seen: dict[str, dict[str, int]] = {}  # account > folder > mod-sequence

    def open(self) -> None:
        self._sender = socket.socket(socket.AF_UNIX, _DATAGRAMS)

    def _attend(self) -> None:
        """Have a name that others send to, from the first listener on."""
        sock = socket.socket(socket.AF_UNIX, _DATAGRAMS)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            sock.bind(self._path(self._name))
            asyncio.get_running_loop().add_reader(sock.fileno(), self._receive)
        except BaseException:
            sock.close()
            raise
        self._socket = sock

    def close(self) -> None:
        if self._sender is not None:
            self._sender.close()
            self._sender = None
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
            with contextlib.suppress(OSError):
                self._fs.unlink(self._directory, self._name)

    def _path(self, name: str) -> str:
        """Through the descriptor: a socket's path may have 107 octets only."""
        return f"/proc/self/fd/{self._directory}/{name}"

    # -- listening -----------------------------------------------------------------------------------------------------

    def listen(self, ref: AccountRef, callback: Callback) -> Callable[[], None]:
        if self._socket is None and self._sender is not None:
            try:
                self._attend()
            except OSError as error:  # deaf until the next listener comes; what changes is found by looking
                log.warning("store-hints-deaf", cause=str(error))
        self._listeners[ref.id] = (*self._listeners.get(ref.id, ()), callback)
        self._refs[ref.id] = ref
        return partial(self._leave, ref.id, callback)

    def _leave(self, account_id: str, callback: Callback) -> None:
        """Idempotent."""
        callbacks = list(self._listeners.get(account_id, ()))
        if callback in callbacks:
            callbacks.remove(callback)
        if callbacks:
            self._listeners[account_id] = tuple(callbacks)
        else:
            self._forget(account_id)

    def _forget(self, account_id: str) -> None:
        self._listeners.pop(account_id, None)
        self._refs.pop(account_id, None)
        self._seen.pop(account_id, None)
        self._forgot(account_id)  # the next listener's first look finds what there is

    def _tell(self, hint: Hint) -> None:
        callbacks = self._listeners.get(hint.account_id, ())
        if not callbacks:
            return
        seen = self._seen.setdefault(hint.account_id, {})
        seen[hint.folder_id] = max(seen.get(hint.folder_id, 0), hint.modseq)
        for callback in callbacks:
            try:
                callback(hint)
            except Exception:  # one listener's bug is not another's
                log.exception("store-listener-failed", account=hint.account_id)

    # -- sending and receiving -----------------------------------------------------------------------------------------

    def publish(self, hints: Sequence[Hint]) -> None:
        """To listeners here at once, to other processes as one datagram."""
        for hint in hints:
            self._tell(hint)
        if not hints or self._sender is None or not self._others():
            return
        text = "\n".join(f"{hint.account_id} {hint.folder_id} {hint.modseq}" for hint in hints).encode("utf-8")
        for peer in self._others():
            self._send(peer, text[:MAX_DATAGRAM])

    def _others(self) -> list[str]:
        now = asyncio.get_running_loop().time()
        if now >= self._peers_until:
            self._peers_until = now + PEERS_EVERY
            with contextlib.suppress(OSError):
                self._peers = [name for name in self._fs.names(self._directory) if name != self._name]
        return self._peers

    def _send(self, peer: str, data: bytes) -> None:
        try:
            if self._sender is not None:
                self._sender.sendto(data, self._path(peer))
        except (ConnectionRefusedError, FileNotFoundError):  # a process that died
            self._peers = [name for name in self._peers if name != peer]
            with contextlib.suppress(OSError):
                self._fs.unlink(self._directory, peer)
        except OSError:  # full: that process looks by itself soon
            pass

    def _receive(self) -> None:
        while self._socket is not None:
            try:
                data = self._socket.recv(MAX_DATAGRAM)
            except OSError:
                return
            for line in data.decode("utf-8", "replace").splitlines():
                account, _, rest = line.partition(" ")
                folder, _, modseq = rest.partition(" ")
                if modseq.isdigit():
                    self._tell(Hint(account, folder, int(modseq)))

    # -- looking -------------------------------------------------------------------------------------------------------

    async def run_looks(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self.look_now()

    async def _looked(self, ref: AccountRef) -> Sequence[Hint]:
        """An account that cannot be looked at (removed, a failing disk) is not the others' affair."""
        try:
            return await self._look(ref)
        except MailError as error:
            log.warning("store-look-failed", account=ref.id, code=error.code, **error.fields)
            return ()

    async def look_now(self) -> None:
        """Tell every listener what no hint told."""
        for count, ref in enumerate(list(self._refs.values()), 1):
            found = await self._looked(ref)
            seen = self._seen.get(ref.id, {})
            for hint in found:
                if hint.modseq > seen.get(hint.folder_id, 0):
                    self._tell(hint)
            for gone in seen.keys() - {hint.folder_id for hint in found} if found else ():  # a look finds all there are
                self._tell(Hint(ref.id, gone, seen[gone] + 1))
                seen.pop(gone, None)
            if count % SLICE == 0:
                await asyncio.sleep(0)
