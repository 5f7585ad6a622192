"""Where a mailbox name leads: one's own folders, other people's, the commune's shared ones (RFC 2342). Pure.

"Other Users/lea@commune.fr/INBOX": namespace, address of the owner, the folder as its owner names it. The two names
are ordinary text in the configuration; a folder of one's own that is called like a namespace is out of reach by IMAP.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.address import Address, AddressError, parse
from directory.types import Account
from store.types import DELIMITER

# An address may hold what separates levels or what LIST takes for a wildcard (RFC 5321 4.1.2: atext).
_ESCAPES = {"=": "=3D", DELIMITER: "=2F", "%": "=25", "*": "=2A"}


@dataclass(frozen=True, slots=True)
class Namespaces:
    """`others` for mailboxes of persons, `shared` for those of functions."""

    others: str = "Other Users"
    shared: str = "Shared"

    def prefix(self, owner: Account) -> str:
        """What stands before the owner's folder names, with the delimiter at its end."""
        name = "".join(_ESCAPES.get(char, char) for char in str(owner.address))
        return DELIMITER.join((self.shared if owner.shared else self.others, name, ""))

    def split(self, name: str) -> Elsewhere | None:
        """None for a name of one's own."""
        if not name.startswith((self.others, self.shared)):
            return None
        first, _, rest = name.partition(DELIMITER)
        if first not in (self.others, self.shared):
            return None
        label, _, folder = rest.partition(DELIMITER)
        for char, escape in reversed(_ESCAPES.items()):
            label = label.replace(escape, char)
        try:
            return Elsewhere(first, parse(label), folder)
        except AddressError:
            return Elsewhere(first, None, folder)

    def home(self, name: str) -> str:
        """What stands before all folder names of the account whose folder this is; "" for one's own."""
        elsewhere = self.split(name)
        return "" if elsewhere is None else name.removesuffix(elsewhere.folder)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A name inside a namespace. `owner` None: nobody's; `folder` "" : the level above somebody's folders."""

    namespace: str
    owner: Address | None
    folder: str


NAMESPACES = Namespaces()
