"""Whose image is it? Two identifiers must agree: the Patient ID, and the birth date where both know
one. What is not proven to be the patient's is not used."""

from collections.abc import Iterable, Mapping
from typing import Any

from service.dicomweb.dataset import BIRTH_DATE, PATIENT_ID, Dataset, rows, text
from service.fhir.subjects import FOREIGN

UNPROVEN = "subject-unproven"


class Owner:
    """What the patient's own resource says of who they are."""

    def __init__(self, patient: Mapping[str, Any], system: str = "") -> None:
        """`system`: of the identifier that the archive has as Patient ID; empty: any."""
        listed = rows(patient.get("identifier"))
        given = (row.get("value") for row in listed if not system or row.get("system") == system)
        self._ids = {_plain(value) for value in given if isinstance(value, str)} - {""}
        birth = patient.get("birthDate")
        self._birth = birth.replace("-", "") if isinstance(birth, str) else ""

    def verdict(self, datasets: Iterable[Dataset]) -> str:
        """Empty if all are this patient's; else why they may not be used."""
        found = {self._one(dataset) for dataset in datasets}
        return next((reason for reason in (FOREIGN, UNPROVEN) if reason in found), "")

    def _one(self, dataset: Dataset) -> str:
        identity = _plain(text(dataset, PATIENT_ID))
        if not identity or not self._ids:
            return UNPROVEN
        if identity not in self._ids:
            return FOREIGN
        born = text(dataset, BIRTH_DATE)
        return "" if _may_be_one_day(born, self._birth) else FOREIGN


def _plain(identity: str) -> str:
    """Without case and blanks, and a number without the zeros it is padded with."""
    found = identity.strip().casefold()
    return found.lstrip("0") if found.isdecimal() else found


def _may_be_one_day(one: str, other: str) -> bool:
    """Dates known to the year or month agree with any day in them."""
    length = min(len(one), len(other))
    return one[:length] == other[:length]
