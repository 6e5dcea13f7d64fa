"""Pseudonyms: 128 random bits each, never computed from what they name.

One map per patient and project, kept in the sealed record of that patient. The same resource keeps
its pseudonym in one project; in another project it has one that cannot be linked to the first.
"""

import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Collection, Iterable, Mapping, ValuesView
from string import ascii_letters, digits
from typing import Any

BATCH = 64
LENGTH = 22
PATTERN = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]")  # 22 characters of base64url hold 128 bits
# Every character of base64 → one of the four that the last may be, each for sixteen of them.
_LAST = bytes.maketrans((ascii_letters + digits + "-_").encode(), b"AQgw" * 16)


def new_pseudonym() -> str:
    """One for a person to type as well: on a command line a leading dash would be an option."""
    while (made := secrets.token_urlsafe(16)).startswith("-"):
        pass
    return made


def new_pseudonyms(count: int) -> list[str]:
    """Many at once: one call for randomness. 21 characters hold 126 bits, the last one two."""
    text = bytearray(urlsafe_b64encode(secrets.token_bytes(33 * count // 2 + 2)))
    last = slice(LENGTH - 1, LENGTH * count, LENGTH)
    text[last] = text[last].translate(_LAST)
    drawn = text.decode()
    return [drawn[start : start + LENGTH] for start in range(0, LENGTH * count, LENGTH)]


def is_pseudonym(value: Any) -> bool:
    return type(value) is str and PATTERN.fullmatch(value) is not None


class Pseudonyms:
    """The map of one patient: `(type, id)` to pseudonym, growing as resources are met."""

    __slots__ = ("_ids", "_ready")

    def __init__(self, ids: Mapping[str, str] | None = None) -> None:
        self._ids: dict[str, str] = dict(ids or {})
        self._ready: list[str] = []  # of this map alone: a pool for all would be shared by a fork

    def __call__(self, resource_type: str, resource_id: str) -> str:
        key = f"{resource_type}/{resource_id}"
        found = self._ids.get(key)
        if found:
            return found
        try:
            fresh = self._ready.pop()
        except IndexError:
            fresh = self._more()
        return self._ids.setdefault(key, fresh)  # atomic: two threads agree

    def many(self, resource_type: str, resource_ids: Iterable[str]) -> list[str]:
        """The same of each of them, without a call for each."""
        ids, ready = self._ids, self._ready
        given = []
        for key in [f"{resource_type}/{resource_id}" for resource_id in resource_ids]:
            found = ids.get(key)
            if not found:
                try:
                    fresh = ready.pop()
                except IndexError:
                    fresh = self._more()
                found = ids.setdefault(key, fresh)
            given.append(found)
        return given

    def _more(self) -> str:
        self._ready += new_pseudonyms(BATCH)
        return new_pseudonym()

    def as_dict(self) -> dict[str, str]:
        return dict(self._ids)

    def given(self) -> ValuesView[str]:
        """All pseudonyms, not copied: a long record has a hundred thousand."""
        return self._ids.values()

    def originals(self, of: Collection[str]) -> dict[str, str]:
        """The way back, for the vault's owner: these pseudonyms to `Type/id`."""
        return {name: original for original, name in self._ids.items() if name in of}

    def __contains__(self, original: str) -> bool:
        """Whether the record has shown `Type/id`."""
        return original in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def __repr__(self) -> str:
        return f"<Pseudonyms of {len(self)} resources>"
