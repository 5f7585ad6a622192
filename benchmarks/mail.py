"""Mail as a town hall gets it: 2 to 6 KB, two or three dozen header lines, one to three parts, answers among the rest.

The same for each number, so that two servers can be given the same mailbox. Header and structure differ from message to
message; texts and attachments are cut from a stock, or writing a hundred thousand of them would take longer than what
is measured.
"""

from __future__ import annotations

import base64
import random
import time
from collections.abc import Iterator

FIRST_DAY = 1_700_000_000
BETWEEN = 300  # seconds from one message to the next
STOCK = 400  # texts that bodies are made of
WORDS = (
    "le la les de du des un une conseil municipal mairie commune maire adjoint seance ordre du jour compte rendu "
    "deliberation arrete permis construire urbanisme voirie ecole cantine budget subvention association salle reunion "
    "dossier piece jointe rendez-vous madame monsieur bonjour cordialement merci veuillez trouver ci-joint pour par "
    "avec dans sur est sont nous vous votre notre demande reponse travaux eau dechets cimetiere etat civil election"
).split()
ACCENTED = ("délibération", "arrêté", "école", "séance", "pièce", "règlement", "où", "élus", "été", "marché")
AGENTS = 300
FREQUENT = "conseil"  # in nearly every message

Message = tuple[int, bytes]  # seconds since 1970, octets with LF line ends


def corpus(count: int) -> Iterator[Message]:
    source = random.Random(20261122)
    stock = [_paragraphs(source) for _ in range(STOCK)]
    threads: list[tuple[str, list[str]]] = []
    for number in range(count):
        date = FIRST_DAY + number * BETWEEN + source.randrange(BETWEEN)
        name = f"{source.getrandbits(64):016x}.{number}@mail.prefecture.test"
        if threads and source.random() < 0.45:
            subject, references = threads[source.randrange(max(0, len(threads) - 60), len(threads))]
            subject = subject if subject.startswith("Re: ") else f"Re: {subject}"
        else:
            subject, references = " ".join(source.choices(WORDS, k=source.randrange(3, 9))).capitalize(), []
        threads.append((subject, [*references, name][-8:]))
        del threads[:-60]
        kind, body = _body(source, stock, number)
        yield date, _head(source, number, name, date, subject, references, kind) + body


def _paragraphs(source: random.Random) -> str:
    text = []
    for _ in range(source.randrange(2, 7)):
        words = source.choices(WORDS + list(ACCENTED), k=source.randrange(25, 90))
        lines = [" ".join(words[start : start + 11]) for start in range(0, len(words), 11)]
        text.append("\n".join(lines))
    return "\n\n".join(text) + "\n"


def _head(
    source: random.Random, number: int, name: str, date: int, subject: str, references: list[str], kind: str
) -> bytes:
    """The fields of mail that came through two servers and was signed by its sender."""
    agent, when = source.randrange(AGENTS), _date(date)
    address = f"agent{agent}@prefecture.test"
    token = f"{source.getrandbits(512):0128x}"
    if source.random() < 0.3:
        subject = f"=?utf-8?q?{subject.replace(' ', '_')}_-_s=C3=A9ance?="
    lines = [
        f"Return-Path: <{address}>",
        f"Received: from relais.prefecture.test (relais.prefecture.test [192.0.2.{agent % 250 + 1}])\n"
        f"\tby mx.dept.test with ESMTPS id {token[:12]}\n\tfor <u0@bench.test>; {when}",
        "Authentication-Results: mx.dept.test;\n\tspf=pass smtp.mailfrom=prefecture.test;\n"
        "\tdkim=pass header.d=prefecture.test header.s=s2026 header.a=rsa-sha256;\n"
        "\tdmarc=pass header.from=prefecture.test",
        f"Received: from poste{agent} (poste{agent}.intra.prefecture.test [10.0.{agent % 250}.7])\n"
        f"\tby relais.prefecture.test (Postfix) with ESMTPSA id {token[12:24]}; {when}",
        "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=prefecture.test; s=s2026;\n"
        f"\tt={date}; h=from:to:subject:date:message-id:mime-version;\n\tbh={token[:44]};\n\tb={token[:72]}\n"
        f"\t {token[56:]}",
        f'From: "Agent {agent} (Service des assembles)" <{address}>',
        "To: Secretariat de mairie <u0@bench.test>" + (f",\n\telu{number % 15}@bench.test" if number % 3 == 0 else ""),
        *([f"Cc: Adjoint {number % 9} <adjoint{number % 9}@bench.test>"] if number % 4 == 0 else []),
        f"Subject: {subject}",
        f"Date: {when}",
        f"Message-ID: <{name}>",
        *([f"In-Reply-To: <{references[-1]}>"] if references else []),
        *(["References: " + "\n ".join(f"<{each}>" for each in references)] if references else []),
        "User-Agent: Mozilla Thunderbird",
        "Content-Language: fr",
        *(["X-Priority: 1 (Highest)", "Importance: high"] if number % 25 == 0 else []),
        "MIME-Version: 1.0",
        kind,
    ]
    return "\n".join([*lines, "", ""]).encode()


def _body(source: random.Random, stock: list[str], number: int) -> tuple[str, bytes]:
    """(Content-Type and encoding, the octets): half plain text, a third with HTML beside it, the rest with a file."""
    text, chance = source.choice(stock), source.random()
    if chance < 0.5:
        return "Content-Type: text/plain; charset=UTF-8; format=flowed\nContent-Transfer-Encoding: 8bit", text.encode()
    if chance < 0.83:
        border = f"------------alt{number:012d}"
        return f'Content-Type: multipart/alternative;\n boundary="{border}"', _alternative(border, text)
    outer, inner = f"------------mix{number:012d}", f"------------alt{number:012d}"
    content = base64.encodebytes(source.randbytes(source.randrange(500, 1500))).decode()
    head = (
        "This is a multi-part message in MIME format.\n"
        f'--{outer}\nContent-Type: multipart/alternative;\n boundary="{inner}"\n\n'
    )
    file = (
        f'\n--{outer}\nContent-Type: application/pdf; name="deliberation-{number}.pdf"\n'
        f'Content-Disposition: attachment; filename="deliberation-{number}.pdf"\n'
        f"Content-Transfer-Encoding: base64\n\n{content}\n--{outer}--\n"
    )
    octets = head.encode() + _alternative(inner, text[:900]) + file.encode()
    return f'Content-Type: multipart/mixed;\n boundary="{outer}"', octets


def _alternative(border: str, text: str) -> bytes:
    rich = text.replace("\n\n", "</p>\n<p>")
    return (
        f"--{border}\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\n\n{text}\n"
        f"--{border}\nContent-Type: text/html; charset=UTF-8\nContent-Transfer-Encoding: 8bit\n\n"
        f"<html><head></head><body>\n<p>{rich}</p>\n</body></html>\n\n--{border}--\n"
    ).encode()


def _date(seconds: int) -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(seconds))
