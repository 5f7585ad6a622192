"""What a notification tells a person, in French and then in English: subject and body, no protocol."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from message import charset

if TYPE_CHECKING:
    from message.dsn import Action, Notice, RecipientReport

_SUBJECT = {
    "failed": "Message non remis / Undelivered mail",
    "delayed": "Message retardé / Delayed mail",
    "delivered": "Message remis / Delivered mail",
    "relayed": "Message transmis / Relayed mail",
    "expanded": "Message remis à la liste / Expanded mail",
}
_FRENCH = {
    "failed": "n'a pas été remis :",
    "delayed": "n'a pas encore été remis ; nous continuons d'essayer et vous n'avez rien à faire :",
    "delivered": "a été remis :",
    "relayed": "a été transmis à un autre serveur, qui ne confirmera peut-être pas la remise :",
    "expanded": "a été remis à une liste de destinataires :",
}
_ENGLISH = {
    "failed": "was not delivered:",
    "delayed": "has not been delivered yet; we keep trying and you need not do anything:",
    "delivered": "was delivered:",
    "relayed": "was passed on to another server, which may not confirm its delivery:",
    "expanded": "was delivered to a list of recipients:",
}
# Causes by enhanced status (RFC 3463), the class left off: (French, English).
_CAUSES = {
    "1.1": ("Cette adresse n'existe pas.", "This address does not exist."),
    "1.2": ("Le domaine de cette adresse n'existe pas.", "The domain of this address does not exist."),
    "1.10": ("Ce domaine n'accepte aucun message.", "This domain accepts no mail."),
    "2.1": ("Cette boîte est désactivée.", "This mailbox is disabled."),
    "2.2": ("La boîte du destinataire est pleine.", "The recipient's mailbox is full."),
    "2.3": ("Le message est trop volumineux pour cette boîte.", "The message is too large for this mailbox."),
    "3.4": ("Le message est trop volumineux.", "The message is too large."),
    "4.1": ("Le serveur du destinataire ne répond pas.", "The recipient's server does not answer."),
    "4.2": ("La liaison avec le serveur du destinataire a été coupée.", "The connection to the server was lost."),
    "4.3": ("Le DNS du destinataire ne répond pas.", "The recipient's DNS does not answer."),
    "4.4": ("Aucun serveur de messagerie n'a été trouvé pour ce domaine.", "No mail server was found for this domain."),
    "4.6": ("Le message tourne en rond entre des serveurs.", "The message loops between servers."),
    "4.7": ("Le délai de remise est dépassé.", "The time allowed for delivery has passed."),
    "6.3": (
        "Le serveur du destinataire ne prend pas les accents tels qu'ils ont été envoyés.",
        "The recipient's server takes 7-bit text only.",
    ),
    "6.7": (
        "Le serveur du destinataire n'accepte pas les adresses internationales.",
        "The recipient's server does not accept international addresses.",
    ),
    "7.1": ("Le serveur du destinataire a refusé le message.", "The recipient's server refused the message."),
    "7.26": ("Le message n'a pas pu être authentifié.", "The message could not be authenticated."),
    "7.30": ("Le chiffrement demandé n'était pas possible.", "The encryption that was asked for was not possible."),
}


def subject(action: Action) -> str:
    return _SUBJECT[action.value]


def body(notice: Notice) -> str:
    """Grouped by what happened, the gravest first; then the same in English."""
    return "\n".join(
        (
            "Bonjour,",
            "",
            f"Votre message du {_moment(notice.arrived, 0)}",
            *_groups(notice, _FRENCH, 0),
            "Cet avis a été écrit par le serveur de messagerie ; inutile d'y répondre.",
            f"Référence pour l'assistance : {notice.queue_id}",
            "",
            "-- English --",
            "",
            f"Your message of {_moment(notice.arrived, 1)}",
            *_groups(notice, _ENGLISH, 1),
            "This notice was written by the mail server; there is no need to answer it.",
            f"Reference for support: {notice.queue_id}",
        )
    )


def _moment(seconds: float, language: int) -> str:
    """As people write it, in UTC and said so: the reader's zone is not known here."""
    moment = datetime.fromtimestamp(int(seconds), UTC)
    return f"{moment:%d/%m/%Y à %H:%M} (UTC)" if language == 0 else f"{moment:%d %b %Y at %H:%M} (UTC)"


def _groups(notice: Notice, titles: dict[str, str], language: int) -> list[str]:
    lines: list[str] = []
    for action, title in titles.items():
        items = [item for item in notice.recipients if item.action.value == action]
        if items:
            lines += [title, ""]
            for item in items:
                lines += _recipient(item, language)
            lines.append("")
    return lines


def _recipient(item: RecipientReport, language: int) -> list[str]:
    lines = [f"    {item.address.display()}"]
    cause = _CAUSES.get(item.status.enhanced.partition(".")[2])
    if cause is not None and not item.status.ok:
        lines.append(f"        {cause[language]}")
    host = (charset.shown(item.remote) or "-") + (" :", ":")[language]
    if item.diagnostic and not item.status.ok:
        said = ("Réponse de", "Answer of")[language]
        lines.append(f"        {said} {host} {charset.shown(item.diagnostic)[:900]}")
    elif not item.status.ok and (cause is None or cause is _CAUSES["4.7"]):  # what came last, for who can read it
        lines.append(f"        {host} {charset.shown(item.status.text)[:900]}")
    if item.retry_until is not None and item.action.value == "delayed":
        until = ("Nous essayons jusqu'au", "We keep trying until")[language]
        lines.append(f"        {until} {_moment(item.retry_until, language)}.")
    return lines
