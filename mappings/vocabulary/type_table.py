"""What becomes of each resource type in scope: the parts of a twin, or a declared nothing."""

from types import MappingProxyType
from typing import NamedTuple

from mappings.vocabulary.tables import VocabularyError, read_table


class TypeRule(NamedTuple):
    """`becomes`: parts of the twin document; empty where nothing of the type enters it."""

    type: str
    becomes: tuple[str, ...]
    sentence: str


def _read() -> dict[str, TypeRule]:
    found: dict[str, TypeRule] = {}
    for line, row in read_table("types.csv"):
        if row["type"] in found or not row["sentence"]:
            raise VocabularyError("types.csv", line, "a type twice, or without a sentence")
        found[row["type"]] = TypeRule(row["type"], tuple(row["becomes"].split()), row["sentence"])
    return found


_TYPES = MappingProxyType(_read())


def type_rules() -> MappingProxyType[str, TypeRule]:
    """Resource type -> what becomes of it, in the order of the table."""
    return _TYPES
