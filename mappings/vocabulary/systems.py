"""Code systems: the many URIs of each, and the short name that facts use."""

from types import MappingProxyType

from mappings.vocabulary.tables import VocabularyError, read_table

_SHORT: dict[str, str] = {}
_URI: dict[str, str] = {}

for _line, _row in read_table("systems.csv"):
    if _row["uri"] in _SHORT:
        raise VocabularyError("systems.csv", _line, "a URI twice")
    _SHORT[_row["uri"]] = _row["name"]
    if _row["preferred"] == "1":
        _URI[_row["name"]] = _row["uri"]

NAMES = frozenset(_URI)

# Every spelling of a system, its own short name included, to the short name.
SHORT_NAMES = MappingProxyType(_SHORT | {name: name for name in NAMES})


def short_name(system: str) -> str:
    """The short name of a code system URI; empty for a system we do not know."""
    return SHORT_NAMES.get(system, "")


def uri(name: str) -> str:
    """The URI to write for a short name."""
    return _URI[name]


def system_addresses() -> frozenset[str]:
    """Every URI of a system we know."""
    return frozenset(_SHORT)
