"""How images were acquired: the parameters a twin may carry, by the DICOM attributes they are in.

One row of `acquisition.csv` is one parameter: its attributes (keywords of PS3.6, below a sequence
joined to it by a point; the first one present speaks), its unit (DICOM's, times `factor`), what it
can possibly be, and the modalities it has a meaning for.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from mappings.vocabulary.answers import BODY_SITES, MODALITIES
from mappings.vocabulary.tables import Row, VocabularyError, read_table

TABLE, PARTS = "acquisition.csv", "body_parts.csv"
KINDS = frozenset({"number", "code", "flag"})


class Parameter(NamedTuple):
    id: str
    label: str
    kind: str  # "number", "code" (words of DICOM) or "flag"
    attributes: tuple[str, ...]
    unit: str  # UCUM; of numbers
    factor: float  # DICOM's unit -> ours
    decimals: int
    plausible: tuple[float, float]
    modalities: frozenset[str]  # empty: of every modality
    words: tuple[str, ...]
    source: str

    def means_something_for(self, modality: str) -> bool:
        return not self.modalities or modality in self.modalities


def _read_parameters() -> dict[str, Parameter]:
    found: dict[str, Parameter] = {}
    for line, row in read_table(TABLE):
        if row["id"] in found or row["kind"] not in KINDS:
            raise VocabularyError(TABLE, line, "an id twice, or an unknown kind")
        if not MODALITIES.issuperset(row["modalities"].split()):
            raise VocabularyError(TABLE, line, "an unknown modality")
        if (row["kind"] == "code") != bool(row["words"]):
            raise VocabularyError(TABLE, line, "words are for codes, and codes need them")
        found[row["id"]] = _number(row, line) if row["kind"] == "number" else _word(row)
    return found


def _word(row: Row) -> Parameter:
    return Parameter(
        id=row["id"],
        label=row["label"],
        kind=row["kind"],
        attributes=tuple(row["attributes"].split()),
        unit="",
        factor=1.0,
        decimals=0,
        plausible=(0.0, 0.0),
        modalities=frozenset(row["modalities"].split()),
        words=tuple(row["words"].split()),
        source=row["source"],
    )


def _number(row: Row, line: int) -> Parameter:
    low, high = float(row["min"]), float(row["max"])
    if not (row["unit"] and row["range_source"] and low < high):
        raise VocabularyError(TABLE, line, "a number needs a unit and a range with its source")
    return _word(row)._replace(
        unit=row["unit"],
        factor=float(row["factor"]),
        decimals=int(row["decimals"]),
        plausible=(low, high),
    )


def _read_parts() -> dict[str, str]:
    found: dict[str, str] = {}
    for line, row in read_table(PARTS):
        if row["term"] in found or row["snomed"] not in BODY_SITES:
            raise VocabularyError(PARTS, line, "a term twice, or a site that is not ours")
        found[row["term"]] = row["snomed"]
    return found


_PARAMETERS = MappingProxyType(_read_parameters())
_PARTS = MappingProxyType(_read_parts())


def acquisition_parameters() -> Mapping[str, Parameter]:
    """Parameter id -> parameter, in the order of the table."""
    return _PARAMETERS


def body_site_of_part(term: str) -> str:
    """The SNOMED CT code of a DICOM Body Part Examined; empty for a term that is not listed."""
    return _PARTS.get(term.strip().upper(), "")
