"""Which new passwords are too easy to guess."""

from __future__ import annotations

import pytest

from directory.policy import weakness
from tests.directory.helpers import at

ADDRESS = at("mairie@saint-jean.fr")


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("onzecaract.", "too-short"),
        ("aaaaaaaaaaaaaaa", "too-uniform"),
        ("abcabcabcabcabc", "too-uniform"),
        ("123456789012", "sequence"),
        ("azertyuiopqs", "sequence"),
        ("QWERTYUIOPAS", "sequence"),
        ("Motdepasse123!", "common-word"),
        ("MotDePassé2026", "common-word"),
        ("P@ssw0rd!2026", "common-word"),
        ("passwordpassword", "common-word"),
        ("Mairie-123456789", "common-word"),
        ("Bonjour!!!!!!!2026", "common-word"),
        ("mairie@saint-jean.fr", "contains-address"),
        ("SaintJean2026!!", "contains-address"),
        ("mairie.saintjean1", "contains-address"),
    ],
)
def test_easy_passwords_are_refused_with_a_reason(password: str, why: str) -> None:
    assert weakness(password, ADDRESS) == why


@pytest.mark.parametrize(
    "password",
    [
        "trois petits chats gris",
        "Xk7!pQ2m-vR9z",
        "correct horse battery staple",
        "la mairie de mon enfance",
        "motdepassepartout-7",
    ],
)
def test_good_passwords_are_taken(password: str) -> None:
    assert weakness(password, ADDRESS) == ""
