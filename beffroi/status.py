"""What `beffroi status` sees from outside: the lock of the running instance, whether each door answers, and what of
the disk keeps mail out although they do.

The kernel spreads connections over the workers of a door: a few are made at once, so that one worker that hangs among
several is met.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from beffroi.ailments import of_the_disk
from beffroi.probe import Answer, probe
from beffroi.supervisor.instance import running_pid
from beffroi.supervisor.sockets import FRONT_DOORS, WEB_DOORS
from core.config import Config

TRIES = 3  # for each front worker, at each of its doors
MOST_TRIES = 24
AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class DoorState:
    role: str
    endpoint: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Report:
    pid: int | None
    doors: tuple[DoorState, ...]
    ailments: tuple[str, ...] = ()

    @property
    def well(self) -> bool:
        return self.pid is not None and not self.ailments and all(door.answer is Answer.ANSWERS for door in self.doors)


def report(config: Config) -> Report:
    pid = running_pid(config.pid_file)
    values = config.listen.model_dump()
    doors = [(role, endpoint) for role in (*FRONT_DOORS, *WEB_DOORS) for endpoint in values[role]]
    if pid is None:
        return Report(None, tuple(DoorState(*door, Answer.SILENT) for door in doors))
    return Report(pid, tuple(_asked(config, doors)), tuple(of_the_disk(config)))


def _asked(config: Config, doors: list[tuple[str, str]]) -> list[DoorState]:
    """All at once: together they take as long as the slowest."""
    front = min(TRIES * config.workers, MOST_TRIES)
    asked = [door for door in doors for _ in range(front if door[0] in FRONT_DOORS else 1)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ask = partial(probe, balancers=config.listen.proxy_networks)
        answers = list(zip(asked, pool.map(ask, *zip(*asked, strict=True)), strict=True)) if asked else []
    return [DoorState(*door, _worst([answer for other, answer in answers if other == door])) for door in doors]


def _worst(answers: list[Answer]) -> Answer:
    return next(answer for answer in (Answer.SILENT, Answer.HANGS, Answer.ANSWERS) if answer in answers)
