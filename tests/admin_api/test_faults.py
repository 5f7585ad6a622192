"""What is wrong with a request is told in French, each value by its own sentence, with a code that stays."""

from __future__ import annotations

import pytest

from admin_api.faults import FALLBACK, told
from tests.admin_api.conftest import Api

MAIRE = "/mailboxes/maire@commune-a.test"
VACATION = {"text": "Absent", "starts": "2026-12-24T00:00:00+01:00", "ends": "2027-01-04T00:00:00+01:00"}
DAY = "par exemple 2026-12-24T00:00:00+01:00."


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "what"),
    [
        ("POST", "/mailboxes", {}, "missing", "Ce champ est obligatoire."),
        ("POST", "/mailboxes", {"address": "a@b.test", "x": 1}, "extra_forbidden", "Ce champ n'existe pas ici."),
        ("POST", "/mailboxes", [], "model_attributes_type", "Un objet JSON est attendu."),
        ("POST", "/mailboxes", {"address": 1}, "string_type", "Un texte est attendu."),
        ("POST", "/mailboxes", {"address": "a@b.test", "password": 5}, "string_type", "Un texte est attendu."),
        ("POST", "/mailboxes", {"address": "no"}, "address",
         "Ce n'est pas une adresse de courrier électronique possible."),
        ("POST", "/mailboxes", {"address": "x" * 321}, "string_too_long",
         "Ce texte est trop long : nombre maximal de caractères, 320."),
        ("POST", "/mailboxes", {"address": "a@b.test", "quota": -1}, "greater_than_equal",
         "Ce nombre est trop petit : le minimum est 0."),
        ("POST", "/mailboxes", {"address": "a@b.test", "quota": 2**60}, "less_than_equal",
         f"Ce nombre est trop grand : le maximum est {2**53}."),
        ("POST", "/mailboxes", {"address": "a@b.test", "quota": "5"}, "int_type",
         "Un nombre entier est attendu, sans guillemets."),
        ("POST", "/mailboxes", {"address": "a@b.test", "display_name": "a\x00"}, "control_characters",
         "Les caractères de contrôle ne sont pas admis."),
        ("PATCH", MAIRE, {"state": "closed"}, "literal_error", "Valeurs possibles : 'active' ou 'suspended'."),
        ("PATCH", MAIRE, {"shared": 1}, "bool_type", "La valeur attendue est true ou false, sans guillemets."),
        ("POST", "/aliases", {"address": "a@b.test", "targets": []}, "too_short",
         "Cette liste est trop courte : nombre minimal d'éléments, 1."),
        ("POST", "/aliases", {"address": "a@b.test", "targets": "a@b.test"}, "list_type", "Une liste est attendue."),
        ("POST", f"{MAIRE}/app-passwords", {"label": ""}, "string_too_short",
         "Ce texte est trop court : nombre minimal de caractères, 1."),
        ("POST", f"{MAIRE}/app-passwords", {"label": "a", "networks": ["here"]}, "network",
         "Ce n'est pas un réseau ; par exemple 192.0.2.0/24."),
        ("POST", f"{MAIRE}/app-passwords", {"label": "a", "expires_at": "2e9"}, "float_type",
         "Un nombre est attendu, sans guillemets."),
        ("PUT", f"{MAIRE}/shares/x@commune-a.test", {"rights": "zz"}, "rights",
         "Ces droits n'existent pas : read, write, manage, ou des lettres de lrswipkxtea."),
        ("PUT", f"{MAIRE}/vacation", {**VACATION, "starts": "2026-13-24T00:00:00+01:00"}, "datetime_from_date_parsing",
         f"Cette date n'existe pas, ou l'heure manque ; {DAY}"),
        ("PUT", f"{MAIRE}/vacation", {**VACATION, "starts": "2026-12-24T00:00:00"}, "timezone_aware",
         f"Il manque le fuseau horaire ; {DAY}"),
        ("PUT", f"{MAIRE}/vacation", {**VACATION, "starts": 2026}, "moment",
         f"Une date avec l'heure et le fuseau est attendue ; {DAY}"),
        ("PUT", f"{MAIRE}/vacation", {**VACATION, "ends": VACATION["starts"]}, "ends_before_it_begins",
         "La fin doit venir après le début."),
        ("POST", "/queue-actions", {"action": "drop"}, "which_messages",
         "Dites quels messages (sender, domain, held), ou tous (all) : l'un ou l'autre."),
        ("POST", "/queue-actions", {"action": "drop", "domain": "no domain"}, "domain",
         "Ce n'est pas un nom de domaine possible."),
        ("GET", "/queue?limit=many", None, "int_parsing", "Un nombre entier est attendu."),
        ("GET", "/queue?held=perhaps", None, "bool_parsing", "La valeur attendue est true ou false."),
        ("GET", "/trace?text=%07", None, "string_pattern_mismatch",
         "Ce texte contient des caractères qui ne sont pas admis."),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_said_in_french(
    api: Api, method: str, path: str, body: object, code: str, what: str
) -> None:
    """It was pydantic's English."""
    answer = await api.call(method, path, api.a, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request"), answer.text
    fault = answer.json()["errors"][0]
    assert (fault["code"], fault["what"]) == (code, what)
    assert fault["what_en"]
    assert fault["what_en"] != fault["what"]


async def test_half_a_character_is_no_text(api: Api) -> None:
    headers = {"Authorization": f"Bearer {api.operator}", "Content-Type": "application/json"}
    answer = await api.client.post("/v1/organisations", content=b'{"name": "\\ud800"}', headers=headers)
    assert answer.json()["errors"][0]["code"] == "string_unicode", answer.text


def test_what_nobody_foresaw_has_a_sentence_too() -> None:
    unknown = {"type": "url_scheme", "msg": "URL scheme should be\r\nhttps", "ctx": {"expected_schemes": "https"}}
    assert told(unknown) == {"code": "url_scheme", "what": FALLBACK, "what_en": "URL scheme should be??https"}
    without_context = {"type": "too_long", "msg": "x" * 5000}
    assert told(without_context) == {"code": "too_long", "what": FALLBACK, "what_en": "x" * 400}
