"""Errors as problem details (RFC 9457): a stable `code`, a French sentence for a secretary, an English one.

The one translator of this protocol: `MailError` and everything the framework refuses end here; a bug answers 500
without its inside, which goes to the log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from admin_api import faults
from core import log
from core.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    MailError,
    NotFoundError,
    QuotaError,
    TemporaryError,
)

_log = log.get(__name__)

MEDIA_TYPE = "application/problem+json"
MAX_WHERE = 200  # characters

# code > (French, English). A code of a neighbour that is missing here falls back to its class's sentence.
SENTENCES: dict[str, tuple[str, str]] = {
    "unauthorized": ("Un jeton d'accès valide est nécessaire.", "A valid bearer token is needed."),
    "not-found": ("Cet élément n'existe pas.", "There is no such thing."),
    "method-not-allowed": ("Cette opération n'existe pas ici.", "This operation does not exist here."),
    "forbidden": ("Votre rôle ne permet pas cette opération.", "Your role does not allow this."),
    "operator-only": ("Seul le département peut faire cela.", "Only an operator may do this."),
    "conflict": ("Cet élément existe déjà ou vient de changer.", "It exists already or was changed meanwhile."),
    "invalid": ("Une valeur n'est pas acceptable.", "A value cannot be accepted."),
    "invalid-json": ("Le corps de la requête n'est pas un JSON valable.", "The body is not acceptable JSON."),
    "invalid-request": ("La requête est mal formée : voir « errors ».", "The request is malformed: see errors."),
    "too-large": ("La requête est trop volumineuse.", "The request is too large."),
    "too-slow": ("La requête est arrivée trop lentement.", "The request came too slowly."),
    "over-quota": ("Il n'y a plus de place.", "There is no room left."),
    "temporary": ("Le service est momentanément indisponible.", "Temporarily unavailable; try again."),
    "internal": ("Une erreur interne est survenue ; elle a été consignée.", "An internal error; it was logged."),
    "unknown-organisation": ("Cette organisation n'existe pas.", "There is no such organisation."),
    "unknown-domain": ("Ce domaine n'existe pas.", "There is no such domain."),
    "unknown-mailbox": ("Cette boîte aux lettres n'existe pas.", "There is no such mailbox."),
    "unknown-alias": ("Cet alias n'existe pas.", "There is no such alias."),
    "unknown-administrator": ("Cet administrateur n'existe pas.", "There is no such administrator."),
    "unknown-share": ("Cette boîte ne leur est pas partagée.", "This mailbox is not shared with them."),
    "unknown-app-password": ("Ce mot de passe d'application n'existe pas.", "There is no such app password."),
    "acl-of-owner": (
        "Le titulaire d'une boîte en a toujours tous les droits.",
        "The owner of a mailbox always has every right.",
    ),
    "acl-full": ("Cette liste d'accès est pleine (200 entrées).", "An access list has 200 entries at most."),
    "send-as-for-anyone": (
        "L'envoi au nom d'une boîte ne s'accorde qu'à des personnes.",
        "Sending in a mailbox's name is granted to persons only.",
    ),
    "set-quota-for-anyone": (
        "Fixer le quota d'une boîte ne s'accorde qu'à des personnes.",
        "Setting a mailbox's quota is granted to persons only.",
    ),
    "set-quota-needs-manage": (
        "Pour fixer le quota d'une boîte, il faut le droit de la gérer (manage).",
        "Who may set a mailbox's quota needs the right to manage it.",
    ),
    "quota-not-granted": ("Les quotas sont fixés par les administrateurs.", "Quotas are set by the administrators."),
    "quota-over-ceiling": (
        "Aucune boîte ne peut contenir plus que son organisation.",
        "No mailbox may hold more than its organisation.",
    ),
    "grant-across-organisations": (
        "Un droit ne s'accorde qu'au sein d'une même organisation.",
        "A grant stays within one organisation.",
    ),
    "invalid-rights": ("Ces droits n'existent pas.", "There are no such rights."),
    "invalid-scope": ("Cet usage n'existe pas.", "There is no such scope."),
    "invalid-network": ("Ce réseau n'est pas valable.", "This is no network."),
    "invalid-expiry": ("La fin doit se trouver dans le futur.", "An end lies in the future."),
    "bare-lines-need-send-only": (
        "Seuls les mots de passe d'envoi seul admettent ces fins de ligne.",
        "Bare line ends are forgiven to send-only app passwords alone.",
    ),
    "app-passwords-full": (
        "Une boîte a 50 mots de passe d'application au plus.",
        "A mailbox has 50 app passwords at most.",
    ),
    "unknown-grant": ("Ce droit d'envoi n'existe pas.", "There is no such grant."),
    "queue-not-found": ("Ce message n'est pas dans la file.", "There is no such message in the queue."),
    "no-vacation": ("Aucune absence n'est réglée pour cette boîte.", "No absence is set for this mailbox."),
    "no-item": ("Cet élément n'est pas dans la corbeille.", "There is no such item in the recycle bin."),
    "no-account-item": (
        "La corbeille ne contient aucune boîte supprimée de cette adresse.",
        "The recycle bin holds no removed mailbox of this address.",
    ),
    "mailbox-removed": (
        "Cette boîte a été supprimée ; son courrier est dans la corbeille. Recréez-la, puis restaurez en place.",
        "This mailbox was removed; its mail is in the recycle bin. Add it again, then restore in place.",
    ),
    "mailbox-occupied": ("Le courrier d'un autre occupe cette adresse.", "Somebody else's mail lies at this address."),
    "mailbox-not-empty": (
        "La boîte contient déjà du courrier : restaurez à côté.",
        "The mailbox holds mail already; restore beside it.",
    ),
    "organisation-taken": ("Une organisation porte déjà ce nom.", "An organisation of this name exists."),
    "domain-taken": ("Ce domaine existe déjà.", "This domain exists."),
    "address-taken": ("Cette adresse existe déjà.", "This address exists."),
    "administrator-taken": ("Un administrateur porte déjà ce nom.", "An administrator of this name exists."),
    "last-operator": (
        "Le dernier opérateur ne peut pas être supprimé ; ajoutez-en d'abord un autre.",
        "The last operator cannot be removed; add another first.",
    ),
    "domain-not-empty": (
        "Le domaine contient encore des boîtes ou des alias.",
        "The domain still has mailboxes or aliases.",
    ),
    "alias-leads-here": (
        "Un alias ne mène qu'à cette boîte ; supprimez d'abord l'alias.",
        "An alias leads to this mailbox alone; remove the alias first.",
    ),
    "invalid-address": ("Cette adresse n'est pas possible.", "This address is not possible here."),
    "invalid-domain": ("Ce nom de domaine n'est pas possible.", "This domain name is not possible here."),
    "invalid-name": (
        "Un nom compte de 1 à 200 caractères, sans caractère de contrôle.",
        "A name has 1 to 200 characters, none of them control characters.",
    ),
    "invalid-quota": ("Le quota est une taille, 0 pour illimité.", "A quota is a size, 0 for unlimited."),
    "invalid-password": ("Ce mot de passe n'est pas acceptable.", "This password is not acceptable."),
    "weak-password": (
        "Ce mot de passe est trop facile à deviner : 12 caractères au moins, pas un mot courant.",
        "The password is too easy to guess: 12 characters or more, no common word.",
    ),
    "missing-targets": ("Un alias a besoin d'au moins une destination.", "An alias needs a target."),
    "too-many-targets": ("Un alias a 500 destinations au plus.", "An alias has 500 targets at most."),
    "alias-to-itself": ("Un alias ne peut pas mener à lui-même.", "An alias cannot lead to itself."),
    "organisation-needed": ("Ce rôle a besoin d'une organisation.", "This role needs an organisation."),
    "organisation-not-allowed": (
        "Un opérateur n'appartient à aucune organisation.",
        "An operator belongs to no organisation.",
    ),
}

# The class of an error > (HTTP status, the code whose sentence serves when its own is unknown).
CLASSES: tuple[tuple[type[MailError], int, str], ...] = (
    (NotFoundError, 404, "not-found"),
    (ConflictError, 409, "conflict"),
    (InvalidError, 422, "invalid"),
    (ForbiddenError, 403, "forbidden"),
    (QuotaError, 409, "over-quota"),
    (TemporaryError, 503, "temporary"),
    (MailError, 500, "internal"),
)
_HTTP_CODES = {
    400: "invalid-json",
    401: "unauthorized",
    404: "not-found",
    405: "method-not-allowed",
    413: "too-large",
    503: "temporary",
}


def body(status: int, code: str, fallback: str = "invalid", **extra: object) -> dict[str, object]:
    """The members of RFC 9457 3.1 with ours: `code`, `detail` (French), `detail_en`."""
    french, english = SENTENCES.get(code) or SENTENCES[fallback]
    members: dict[str, object] = {"type": "about:blank", "title": english, "status": status, "code": code}
    return {**members, "detail": french, "detail_en": english, **extra}


def challenge(error: str = "") -> dict[str, str]:
    """The field that tells what token is wanted and, by a code of RFC 6750 3.1, what was wrong with the one shown."""
    return {"WWW-Authenticate": f'Bearer realm="beffroi", error="{error}"' if error else 'Bearer realm="beffroi"'}


def response(
    status: int, code: str, fallback: str = "invalid", headers: Mapping[str, str] | None = None, **extra: object
) -> Response:
    if status == 401:
        headers = headers or challenge()
    elif code == "operator-only":
        headers = challenge("insufficient_scope")
    content = json.dumps(body(status, code, fallback, **extra), ensure_ascii=False)
    return Response(content, status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    app.add_exception_handler(MailError, _mail_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _bug)


async def _mail_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, MailError)
    status, fallback = next((status, code) for kind, status, code in CLASSES if isinstance(error, kind))
    if status >= 500:
        _log.error("api-failed", path=request.url.path, code=error.code, **error.fields)
    return response(status, error.code, fallback)


async def _validation_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if any(item["type"] == "json_invalid" for item in error.errors()):
        return response(422, "invalid-json")
    return response(422, "invalid-request", errors=[_fault(item) for item in error.errors()[:20]])


def _fault(item: Mapping[str, Any]) -> dict[str, str]:
    """Where and what; never the value itself, which may be a password. Names of members are the client's (P9)."""
    where = ".".join(str(part) for part in item["loc"])[:MAX_WHERE]
    return {"where": "".join(c if c.isprintable() else "?" for c in where), **faults.told(item)}


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _HTTP_CODES.get(error.status_code, "invalid-request")
    return response(422 if error.status_code == 400 else error.status_code, code, headers=error.headers)


async def _bug(request: Request, error: Exception) -> Response:
    _log.error("api-bug", path=request.url.path, method=request.method, exception=repr(error))
    return response(500, "internal")
