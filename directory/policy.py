"""Is a new password too easy to guess? Pure (CNIL 2022-100, ANSSI: length and a deny-list, no forced character kinds).

A long password that is one obvious word, with digits, signs, accents or look-alike characters around it, is obvious
all the same. The list is short on purpose: throttling and argon2id do the rest.
"""

from __future__ import annotations

import unicodedata

from core.address import Address

MIN_LENGTH = 12
MIN_DIFFERENT = 5

_LOOKALIKES = str.maketrans("@4031!5$7", "aaoeiisst")
_OBVIOUS = frozenset(
    """motdepasse monmotdepasse lemotdepasse motdepassemairie password passwort passphrase mypassword thepassword
    secret monsecret changeme changezmoi changermoi azerty azertyuiop azertyuiopqsdfgh qwerty qwertyuiop bonjour
    bonjourtoutlemonde bonjourmonde soleil doudou loulou chouchou marseille paris france francefrance vivelafrance
    jetaime jetaimemonamour iloveyou welcome bienvenue letmein admin administrator administrateur administration
    mairie lamairie mamairie mairiedemairie maire lemaire secretaire secretariat secretairedemairie commune macommune
    communaute departement prefecture beffroi courrier courriel messagerie email mail thunderbird outlook football
    princesse superman batman starwars pokemon dragon monkey master sunshine default defaut test testtest provisoire
    motdepasseprovisoire temporaire""".split()
)
_ROWS = tuple(
    row * 3
    for row in (
        "1234567890",
        "0987654321",
        "abcdefghijklmnopqrstuvwxyz",
        "azertyuiopqsdfghjklmwxcvbn",
        "qwertyuiopasdfghjklzxcvbnm",
    )
)


def weakness(password: str, address: Address) -> str:
    """ "" when it will do, else why not: "too-short", "too-uniform", "sequence", "common-word", "contains-address"."""
    folded = _without_accents(password.casefold())
    if len(password) < MIN_LENGTH:
        return "too-short"
    if len(set(folded)) < MIN_DIFFERENT:
        return "too-uniform"
    if any(folded in row for row in _ROWS):
        return "sequence"
    core = _letters(folded)
    if core in _OBVIOUS or any(core == word * (len(core) // len(word)) for word in _OBVIOUS):
        return "common-word"
    whole = address.key in password.casefold() and len(password) < len(address.key) + MIN_LENGTH
    return "contains-address" if whole or _names(core, address) else ""


def _names(core: str, address: Address) -> bool:
    """Nothing but the address, its local part or its domain, once or twice."""
    local = _letters(_without_accents(address.local.casefold()))
    labels = [_letters(label) for label in address.domain.split(".")]
    known = {local, "".join(labels), local + "".join(labels), *labels[:-1]} - {""}
    return core in known | {one + two for one in known for two in known}


def _without_accents(text: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFD", text) if not unicodedata.combining(char))


def _letters(text: str) -> str:
    """The word inside: digits and signs cut from both ends, look-alikes read as letters, the rest dropped."""
    stripped = text.strip("0123456789 !?.,;:-_+*/=#&%'\"()[]{}<>@$€£")
    return "".join(char for char in stripped.translate(_LOOKALIKES) if char.isalpha())
