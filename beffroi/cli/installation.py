"""`beffroi init | serve | check-config | migrate | status`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer

from beffroi.cli.console import console, refuse
from core import log
from core.config import Config, ConfigError, load
from core.errors import MailError


def init(
    data: Path = typer.Option(..., help="The data directory, made when missing."),
    hostname: str = typer.Option(..., help="The public name of this machine, as in its MX records."),
) -> None:
    """Write DATA/beffroi.toml, keys, a self-signed certificate and an empty database."""
    from beffroi.installation import initialise

    try:
        path = initialise(data, hostname)
    except (ConfigError, MailError, OSError) as error:
        refuse(error)
    console.answer({"config": str(path)}, f"configuration written to {path}")


def serve() -> None:
    """Run the suite in the foreground until SIGTERM or Ctrl-C."""
    from beffroi.installation import check_installation
    from beffroi.supervisor.supervisor import serve as run_supervisor

    path = console.config_path
    config = None
    try:
        config = load(path)
        log.configure(config.log_level, stream=sys.stderr)
        check_installation(config)
        code = run_supervisor(config, lambda: _checked(path))
    except (ConfigError, MailError, OSError) as error:
        refuse(error, config)
    _drop_unheard()
    raise SystemExit(code)


def _drop_unheard() -> None:
    """What a log that is gone did not take (fault 169). Python 3.13 tries it again at its end, and exits with 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _checked(path: Path) -> Config:
    """What a reload takes: a worker that dies later starts from it, so its certificate must be usable (fault 166)."""
    from beffroi.installation import check_certificate

    config = load(path)
    check_certificate(config)
    return config


def check_config() -> None:
    """Read the configuration and the files it names, and say what is wrong or unwise."""
    from beffroi.ailments import ailments
    from beffroi.installation import check_values, warnings

    try:
        config = load(console.config_path)
        check_values(config)
    except ConfigError as error:
        refuse(error)
    notes = [*ailments(config), *warnings(config)]
    console.answer(
        {"valid": True, "warnings": notes}, "\n".join(["configuration is valid", *(f"warning: {n}" for n in notes)])
    )


def migrate() -> None:
    """Bring the database to this version's schema."""
    from beffroi.installation import check_data
    from migrations.runner import current, head, upgrade

    config = _config()
    try:
        check_data(config)
        before = current(config.database_url)
        upgrade(config.database_url)
    except (ConfigError, MailError, OSError) as error:
        refuse(error, config)
    console.answer({"from": before, "to": head()}, f"schema {before or 'empty'} > {head()}")


def status() -> None:
    """Is the suite running, does every door answer, and is the disk writable? Exit code 1 when not."""
    from beffroi.status import report

    value = report(_config())
    rows: list[dict[str, object]] = [
        {"what": door.role, "address": door.endpoint, "state": door.answer.value} for door in value.doors
    ]
    if console.json:
        console.answer(
            {"running": value.pid is not None, "pid": value.pid, "doors": rows, "faults": list(value.ailments)}, ""
        )
    else:
        console.answer(None, f"running, pid {value.pid}" if value.pid else "not running")
        console.table(rows, ("what", "address", "state"))
        for fault in value.ailments:
            console.warn(fault)
    if not value.well:
        raise SystemExit(1)


def _config() -> Config:
    try:
        return console.config()
    except ConfigError as error:
        refuse(error)
