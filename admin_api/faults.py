"""What is wrong with one value of a request, in French for a secretary and in English: one sentence a kind.

The kinds are pydantic's error types, which are stable, and our own, which validators raise by `fault`. The English of
the first is pydantic's. A test reads off the models and routes which types they can raise, and finds each here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import PydanticCustomError

MAX_SENTENCE = 400  # characters
FALLBACK = "Cette valeur n'est pas acceptable."

# Error type of pydantic > French; names in braces are of its context, which comes from the model, not from the client.
FRENCH: dict[str, str] = {
    "missing": "Ce champ est obligatoire.",
    "extra_forbidden": "Ce champ n'existe pas ici.",
    "model_type": "Un objet JSON est attendu.",
    "model_attributes_type": "Un objet JSON est attendu.",
    "list_type": "Une liste est attendue.",
    "too_short": "Cette liste est trop courte : nombre minimal d'éléments, {min_length}.",
    "too_long": "Cette liste est trop longue : nombre maximal d'éléments, {max_length}.",
    "string_type": "Un texte est attendu.",
    "is_instance_of": "Un texte est attendu.",  # of passwords, which no answer and no log may repeat
    "string_unicode": "Ce texte contient des caractères qui n'en sont pas (Unicode).",
    "string_too_short": "Ce texte est trop court : nombre minimal de caractères, {min_length}.",
    "string_too_long": "Ce texte est trop long : nombre maximal de caractères, {max_length}.",
    "string_pattern_mismatch": "Ce texte contient des caractères qui ne sont pas admis.",
    "bool_type": "La valeur attendue est true ou false, sans guillemets.",
    "bool_parsing": "La valeur attendue est true ou false.",
    "int_type": "Un nombre entier est attendu, sans guillemets.",
    "int_parsing": "Un nombre entier est attendu.",
    "int_parsing_size": "Ce nombre a trop de chiffres.",
    "int_from_float": "Un nombre entier est attendu.",
    "float_type": "Un nombre est attendu, sans guillemets.",
    "finite_number": "Ce nombre est trop grand.",
    "greater_than_equal": "Ce nombre est trop petit : le minimum est {ge}.",
    "less_than_equal": "Ce nombre est trop grand : le maximum est {le}.",
    "literal_error": "Valeurs possibles : {expected}.",
    "datetime_type": "Une date avec l'heure est attendue.",
    "datetime_parsing": "Cette date n'existe pas, ou elle est mal écrite ; par exemple 2026-12-24T00:00:00+01:00.",
    "datetime_from_date_parsing": "Cette date n'existe pas, ou l'heure manque ; par exemple 2026-12-24T00:00:00+01:00.",
    "datetime_object_invalid": "Cette date n'existe pas.",
    "timezone_aware": "Il manque le fuseau horaire ; par exemple 2026-12-24T00:00:00+01:00.",
}

# What our own validators find > (French, English). "{why}" is a reason of ours, never the value.
OURS: dict[str, tuple[str, str]] = {
    "address": ("Ce n'est pas une adresse de courrier électronique possible.", "No possible address: {why}."),
    "domain": ("Ce n'est pas un nom de domaine possible.", "No possible domain name: {why}."),
    "control_characters": (
        "Les caractères de contrôle ne sont pas admis.",
        "Control characters are not allowed.",
    ),
    "network": ("Ce n'est pas un réseau ; par exemple 192.0.2.0/24.", "Not a network: write 192.0.2.0/24."),
    "rights": (
        "Ces droits n'existent pas : read, write, manage, ou des lettres de lrswipkxtea.",
        "No such rights: read, write, manage, or letters of lrswipkxtea.",
    ),
    "moment": (
        "Une date avec l'heure et le fuseau est attendue ; par exemple 2026-12-24T00:00:00+01:00.",
        "Not a date with its time: write 2026-12-24T00:00:00+01:00.",
    ),
    "ends_before_it_begins": ("La fin doit venir après le début.", "It ends before it begins."),
    "which_messages": (
        "Dites quels messages (sender, domain, held), ou tous (all) : l'un ou l'autre.",
        "Say which messages (sender, domain, held), or all: one of the two.",
    ),
}


def fault(kind: str, why: str = "") -> PydanticCustomError:
    """To be raised by a validator."""
    return PydanticCustomError(kind, OURS[kind][1], {"why": why})


def told(item: Mapping[str, Any]) -> dict[str, str]:
    """`code`, `what` (French) and `what_en` of one of pydantic's errors."""
    kind = str(item["type"])
    french = OURS[kind][0] if kind in OURS else _filled(FRENCH.get(kind, FALLBACK), item.get("ctx") or {})
    return {"code": kind, "what": french[:MAX_SENTENCE], "what_en": _printable(str(item["msg"]))[:MAX_SENTENCE]}


def _filled(sentence: str, context: Mapping[str, Any]) -> str:
    values = {name: str(value).replace("' or '", "' ou '") for name, value in context.items()}
    try:
        return _printable(sentence.format_map(values))
    except KeyError:
        return FALLBACK


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
