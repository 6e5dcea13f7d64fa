"""Pseudonyms: 128 random bits each, never computed from what they name.

One map per patient and project, kept in the sealed record of that patient. The same resource keeps
its pseudonym in one project; in another project it has one that cannot be linked to the first.
"""

import re
import secrets
from collections.abc import Mapping
from typing import Any

PATTERN = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]")  # 22 characters of base64url hold 128 bits


def new_pseudonym() -> str:
    return secrets.token_urlsafe(16)


def is_pseudonym(value: Any) -> bool:
    return type(value) is str and PATTERN.fullmatch(value) is not None


class Pseudonyms:
    """The map of one patient: `(type, id)` to pseudonym, growing as resources are met."""

    __slots__ = ("_ids",)

    def __init__(self, ids: Mapping[str, str] | None = None) -> None:
        self._ids: dict[str, str] = dict(ids or {})

    def __call__(self, resource_type: str, resource_id: str) -> str:
        key = f"{resource_type}/{resource_id}"
        found = self._ids.get(key)
        if found is None:
            found = self._ids.setdefault(key, new_pseudonym())  # atomic: two threads agree
        return found

    def as_dict(self) -> dict[str, str]:
        return dict(self._ids)

    def originals(self) -> dict[str, str]:
        """The way back, for the vault's owner: pseudonym to `Type/id`."""
        return {pseudonym: original for original, pseudonym in self._ids.items()}

    def __len__(self) -> int:
        return len(self._ids)

    def __repr__(self) -> str:
        return f"<Pseudonyms of {len(self)} resources>"
