"""What `beffroi status` sees from outside: the lock of the running instance and whether each door accepts."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from beffroi.supervisor.instance import running_pid
from beffroi.supervisor.sockets import FRONT_DOORS, WEB_DOORS
from core.config import Config, parse_endpoint

CONNECT_TIMEOUT = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class DoorState:
    role: str
    endpoint: str
    answers: bool


@dataclass(frozen=True, slots=True)
class Report:
    pid: int | None
    doors: tuple[DoorState, ...]

    @property
    def well(self) -> bool:
        return self.pid is not None and all(door.answers for door in self.doors)


def report(config: Config) -> Report:
    pid = running_pid(config.pid_file)
    values = config.listen.model_dump()
    doors = [
        DoorState(role, endpoint, pid is not None and _answers(endpoint))
        for role in (*FRONT_DOORS, *WEB_DOORS)
        for endpoint in values[role]
    ]
    return Report(pid, tuple(doors))


def _answers(endpoint: str) -> bool:
    host, port = parse_endpoint(endpoint)
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        with socket.create_connection((target, port), CONNECT_TIMEOUT):
            return True
    except OSError:
        return False
