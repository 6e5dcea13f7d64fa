"""Reading single values out of a data set in the DICOM JSON model (PS3.18 F)."""

from collections.abc import Mapping
from typing import Any

Dataset = dict[str, Any]

STUDY, SERIES, INSTANCE = "0020000D", "0020000E", "00080018"
PATIENT_ID, BIRTH_DATE = "00100020", "00100030"
MODALITY, BODY_PART = "00080060", "00180015"
LATERALITY, IMAGE_LATERALITY = "00200060", "00200062"
SERIES_NUMBER, INSTANCE_NUMBER = "00200011", "00200013"
IMAGES_IN_SERIES = "00201209"


def rows(value: Any) -> list[dict[str, Any]]:
    """The objects in a list that a server sent; none where it is no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def text(dataset: Mapping[str, Any], tag: str) -> str:
    """The first value of an attribute, as text; empty where there is none."""
    value = _first(dataset, tag)
    return value.strip() if isinstance(value, str) else ""


def whole(dataset: Mapping[str, Any], tag: str) -> int | None:
    """A whole number; IS may come as a number or as text."""
    value = _first(dataset, tag)
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 12:
        return int(value)
    return value if type(value) is int and value >= 0 else None


def _first(dataset: Mapping[str, Any], tag: str) -> Any:
    element = dataset.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None
