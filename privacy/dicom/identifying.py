"""What identifies in DICOM metadata, for the output gate to search a document for.

Read by the kind of value (VR) and by PS3.15 Table E.1-1, whatever a policy says: it knows none.
Codes out of coding schemes are left out; the document may hold the very same.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from privacy.dicom.tables import listed
from privacy.gate import IdentifyingValues

_STANDARD = "1.2.840.10008."  # UIDs of the standard itself: the same for everybody
_DAY = re.compile(r"((?:18|19|20)\d\d)-?(\d\d)-?(\d\d)")
_CODES = frozenset({"LO", "SH", "AE", "UR", "TM"})
_TEXTS = frozenset({"ST", "LT", "UT", "UC"})
_DATES = frozenset({"DA", "DT"})


def collect_dicom(datasets: Iterable[Any], values: IdentifyingValues) -> None:
    """Add what identifies in these data sets to the values that are searched for."""
    for tag, vr, value in _elements(datasets):
        if vr == "PN":
            parts = value.values() if type(value) is dict else (value,)
            values.add_names(part for part in parts if type(part) is str)
        elif type(value) is not str:
            continue
        elif vr == "UI":
            if not value.startswith(_STANDARD):
                values.add_codes([value])
        elif vr in _DATES:
            found = _DAY.match(value)
            if found:
                values.add_date(found[1], found[2], found[3])
        elif vr in _CODES and _identifies(tag):
            values.add_codes([value])
        elif vr in _TEXTS and _identifies(tag):
            values.add_texts([value])


def _identifies(tag: str) -> bool:
    """Listed in Table E.1-1, or private: nobody knows what is in there."""
    return listed(tag) is not None or tag[3:4] in tuple("13579BDF")


def _elements(datasets: Iterable[Any]) -> Iterator[tuple[str, str, Any]]:
    pending = list(datasets)
    while pending:
        dataset = pending.pop()
        if type(dataset) is not dict:
            continue
        for tag, element in dataset.items():
            if type(element) is not dict or type(element.get("Value")) is not list:
                continue
            vr = element.get("vr")
            if vr == "SQ":
                pending += element["Value"]
            else:
                yield from ((str(tag), str(vr), value) for value in element["Value"])
