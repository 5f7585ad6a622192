"""The page of `/`: what somebody finds who types the server's name into a browser, most often to read mail.

There is no webmail here; the page says so, in French, and how mail is read. It is the same for everybody: no version,
nothing of who is hosted. It needs no style, no script and no picture, so that none is allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from starlette.requests import Request
from starlette.responses import Response

from admin_api.services import Services
from dkim_keys.client_records import ClientService

HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Language": "fr",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# The doors of mail programs (`dkim_keys.client_records`) > what they are for, and the word programs use of their TLS.
_DOORS = {
    "_imaps": ("Réception (IMAP)", "SSL/TLS"),
    "_imap": ("Réception (IMAP)", "STARTTLS"),
    "_submissions": ("Envoi (SMTP)", "SSL/TLS"),
    "_submission": ("Envoi (SMTP)", "STARTTLS"),
}

_PAGE = """\
<!DOCTYPE html>
<html lang="fr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Messagerie des communes : {host}</title>
</head>
<body>
<main>
<h1>Messagerie des communes</h1>
<p>Le serveur <strong>{host}</strong> reçoit, garde et envoie le courrier électronique de communes. Il fonctionne avec
le logiciel libre Beffroi.</p>
<h2>Lire votre courrier</h2>
<p>Le courrier ne se lit pas sur cette page, mais avec un logiciel de messagerie : Thunderbird, Outlook, Apple Mail, ou
celui de votre téléphone. Indiquez-y votre adresse complète, votre mot de passe{settings}</p>
{table}<p>Mot de passe oublié, boîte à créer, message introuvable : adressez-vous à l'administrateur de votre commune
(souvent le secrétariat de mairie), ou au service informatique de votre département.</p>
<h2>Administrer une commune</h2>
<p>L'administration se fait par l'interface REST de ce serveur, sous <code>/v1/</code>, avec le jeton que votre
département vous a remis. Sa description pour les logiciels : <a href="/v1/openapi.json">/v1/openapi.json</a> (demandée
d'un autre poste, elle exige le jeton). Le manuel est dans le dossier <code>docs</code> fourni avec le logiciel.</p>
</main>
</body>
</html>
"""
_TABLE = """\
<table>
<caption>Réglages du logiciel de messagerie</caption>
<thead><tr><th scope="col">Usage</th><th scope="col">Serveur</th><th scope="col">Port</th>\
<th scope="col">Sécurité</th></tr></thead>
<tbody>
{rows}</tbody>
</table>
"""
_ROW = '<tr><th scope="row">{use}</th><td>{host}</td><td>{port}</td><td>{security}</td></tr>\n'


def page(hostname: str, services: Sequence[ClientService]) -> str:
    """HTML. Without a door for mail programs there is no table of settings."""
    host = escape(hostname)
    known = [service for service in services if service.label in _DOORS]
    rows = "".join(
        _ROW.format(use=_DOORS[item.label][0], host=host, port=item.port, security=_DOORS[item.label][1])
        for item in known
    )
    settings = " et les réglages suivants :" if known else "."
    return _PAGE.format(host=host, settings=settings, table=_TABLE.format(rows=rows) if known else "")


async def welcome(request: Request) -> Response:
    """GET and HEAD of `/`."""
    services: Services = request.app.state.services
    text = page(services.hostname, services.client_services)
    return Response(text, headers=HEADERS, media_type="text/html; charset=utf-8")
