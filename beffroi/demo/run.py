"""The demonstration's story: start, set up two communes over REST, deliver a first message through the MX, wait."""

from __future__ import annotations

import imaplib
import json
import signal
import smtplib
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path

from beffroi.demo.places import COMMUNES, HOSTNAME, Place, Secrets, choose_ports, new_password

START = 90.0  # seconds; a first start compiles every module
ARRIVAL = 30.0


class DemoError(Exception):
    """The demonstration cannot go on; one line for the person at the terminal."""


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run(folder: Path) -> int:
    """Until Ctrl-C; the exit code."""
    place = Place(folder.absolute(), choose_ports())
    say(f"Preparing the demonstration in {place.folder} ...")
    _beffroi("init", "--data", str(place.folder), "--hostname", HOSTNAME)
    place.write_config()
    secrets = place.load_secrets()
    if not secrets.token:
        secrets.token = _beffroi("--config", str(place.config), "admin", "add", "demo", "--role", "operator").strip()
        place.save_secrets(secrets)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    say("Starting the suite ...")
    server = _serve(place)
    try:
        _provision(place, secrets)
        mark = _first_message(place, secrets)
        _show(place, secrets)
        say(mark)
        say("ready")
        while not stop.is_set() and server.poll() is None:
            stop.wait(0.5)
    finally:
        code = _end(server)
    say("stopped")
    return 0 if stop.is_set() else code


def _beffroi(*arguments: str) -> str:
    command = [sys.executable, "-m", "beffroi", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - our own program
    if done.returncode:
        raise DemoError(done.stderr.strip())
    return done.stdout


def _serve(place: Place) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "beffroi", "serve", "--config", str(place.config)]
    with place.log.open("a") as log:
        # A session of its own: Ctrl-C at the terminal reaches us, and we stop the suite in order.
        server = subprocess.Popen(  # noqa: S603 - our own program
            command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )
    assert server.stdout is not None
    timer = threading.Timer(START, server.kill)
    timer.start()
    try:
        line = server.stdout.readline()
    finally:
        timer.cancel()
    if line != "ready\n":
        server.wait(10)
        raise DemoError(f"the suite did not start; the end of {place.log}:\n{_tail(place.log)}")
    return server


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-8:])


def _end(server: subprocess.Popen[str]) -> int:
    if server.poll() is None:
        say("Stopping ...")
        server.terminate()
    try:
        return server.wait(45)
    except subprocess.TimeoutExpired:
        server.kill()
        return server.wait()


def _api(place: Place, secrets: Secrets, method: str, path: str, body: object) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{place.ports['api']}/v1{path}",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {secrets.token}", "Content-Type": "application/json"},
        method=method,
    )
    try:
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310 - our own door
    except urllib.error.HTTPError as error:
        with error:
            problem = json.loads(error.read() or b"{}")
        if error.code != 409:  # it exists from an earlier run
            raise DemoError(f"{path}: {problem.get('detail_en', error.code)}") from error


def _provision(place: Place, secrets: Secrets) -> None:
    say("Setting up two communes over REST ...")
    for organisation, domain, names in COMMUNES:
        _api(place, secrets, "POST", "/organisations", {"name": organisation})
        _api(place, secrets, "POST", "/domains", {"name": domain, "organisation": organisation})
        for name in names:
            address = f"{name}@{domain}"
            secrets.passwords.setdefault(address, new_password())
            place.save_secrets(secrets)
            _api(place, secrets, "POST", "/mailboxes", {"address": address, "password": secrets.passwords[address]})


def _first_message(place: Place, secrets: Secrets) -> str:
    """Through the MX like any stranger's mail, then looked for over IMAP."""
    _, domain, names = COMMUNES[0]
    recipient = f"{names[0]}@{domain}"
    message = EmailMessage()
    message["From"] = "Le beffroi <bienvenue@visiteur.example>"
    message["To"] = recipient
    message["Subject"] = "Bienvenue : votre messagerie fonctionne"
    message["Date"] = formatdate(localtime=False)
    message["Message-ID"] = make_msgid(domain="visiteur.example")
    message.set_content("Bonjour,\n\nCe message est arrivé par le serveur MX de la démonstration.\n\nLe beffroi\n")
    with smtplib.SMTP("127.0.0.1", place.ports["mx"], local_hostname="visiteur.example", timeout=30) as client:
        client.send_message(message, "bienvenue@visiteur.example", [recipient])
    _await_arrival(place, recipient, secrets.passwords[recipient], str(message["Message-ID"]))
    return f"A first message was delivered through the MX to {recipient}."


JUNK = '"Ind&AOk-sirables"'  # as IMAP spells the standard folder's name


def _await_arrival(place: Place, user: str, password: str, message_id: str) -> None:
    context = ssl.create_default_context(cafile=str(place.folder / "tls/certificate.pem"))
    context.check_hostname = False
    deadline = time.monotonic() + ARRIVAL
    with imaplib.IMAP4_SSL("127.0.0.1", place.ports["imaps"], ssl_context=context, timeout=30) as c:
        c.login(user, password)
        while time.monotonic() < deadline:
            for folder in ("INBOX", JUNK):
                c.select(folder, readonly=True)
                if c.search(None, "HEADER", "Message-ID", f'"{message_id}"')[1] not in ([b""], [None]):
                    return
            time.sleep(0.2)
    raise DemoError(f"the first message did not arrive at {user} within {ARRIVAL:.0f} s; see {place.log}")


def _show(place: Place, secrets: Secrets) -> None:
    from rich.console import Console
    from rich.table import Table

    doors = Table("What", "Address", title="Beffroi, the demonstration", title_justify="left")
    names = {
        "imaps": "IMAP over TLS", "imap": "IMAP with STARTTLS", "submissions": "Sending over TLS",
        "submission": "Sending with STARTTLS", "mx": "MX (from other servers)", "api": "REST API (/v1)",
        "metrics": "Metrics",
    }  # fmt: skip
    for door, label in names.items():
        doors.add_row(label, f"127.0.0.1:{place.ports[door]}")
    logins = Table("Mailbox", "Password")
    for address, password in sorted(secrets.passwords.items()):
        logins.add_row(address, password)
    terminal = Console(width=None if sys.stdout.isatty() else 100)
    terminal.print(doors)
    terminal.print(logins)
    terminal.print(f"API token   {secrets.token}", highlight=False, soft_wrap=True)
    terminal.print(f"Data        {place.folder}", highlight=False, soft_wrap=True)
    terminal.print(f"Certificate {place.folder}/tls/certificate.pem (self-signed)", highlight=False, soft_wrap=True)
    terminal.print("Ctrl-C stops it; the next `make run` finds everything again.", highlight=False)
