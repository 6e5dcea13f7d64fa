"""The rules by which values are set aside or handled, each a sentence for people."""

from types import MappingProxyType
from typing import NamedTuple

from mappings.vocabulary.tables import VocabularyError, read_table


class Rule(NamedTuple):
    id: str
    kind: str  # "set-aside": the value is not used; "quality": how a used value was handled
    sentence: str
    source: str


def _read_rules() -> dict[str, Rule]:
    found: dict[str, Rule] = {}
    for line, row in read_table("rules.csv"):
        if row["id"] in found or row["kind"] not in ("set-aside", "quality"):
            raise VocabularyError("rules.csv", line, "an id twice, or an unknown kind")
        found[row["id"]] = Rule(row["id"], row["kind"], row["sentence"], row["source"])
    return found


_RULES = MappingProxyType(_read_rules())


def rules() -> MappingProxyType[str, Rule]:
    """Rule id -> rule, in the order of the table."""
    return _RULES
