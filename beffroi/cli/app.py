"""The one table of commands."""

from __future__ import annotations

import sys

import typer

from beffroi.cli import (
    admin,
    alias,
    app_password,
    backup,
    demo,
    dkim,
    domain,
    installation,
    mailbox,
    organisation,
    queue,
    share,
    storage,
)
from beffroi.cli.console import UsageError, take_global_options

app = typer.Typer(
    name="beffroi",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Beffroi, a mail suite for communes. --config FILE and --json may stand before or after any command.",
)

COMMANDS = (
    ("init", installation.init),
    ("serve", installation.serve),
    ("check-config", installation.check_config),
    ("migrate", installation.migrate),
    ("status", installation.status),
    ("backup", backup.backup),
    ("demo", demo.demo),
)
FAMILIES = (
    ("organisation", organisation.app),
    ("domain", domain.app),
    ("mailbox", mailbox.app),
    ("app-password", app_password.app),
    ("share", share.app),
    ("alias", alias.app),
    ("admin", admin.app),
    ("dkim", dkim.app),
    ("queue", queue.app),
    ("store", storage.app),
)

for _name, _command in COMMANDS:
    app.command(_name)(_command)
for _name, _family in FAMILIES:
    app.add_typer(_family, name=_name)


def main() -> None:
    try:
        arguments = take_global_options(sys.argv[1:])
    except UsageError as error:
        sys.stderr.write(f"beffroi: {error}\n")
        raise SystemExit(2) from None
    app(args=arguments, prog_name="beffroi")
