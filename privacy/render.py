"""De-identified records back into valid FHIR R4, for files and `$de-identify`.

Rendered from the record alone: nothing stands in a file that the policy's record does not hold.
Times return to a calendar as far as the policy lets them: the year, a date shifted by the patient's
secret number of days, or the true date. What R4 requires and the policy has taken out is marked
`data-absent-reason` = `masked`.
"""

import base64
import math
import re
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from privacy import times
from privacy.compile import UCUM
from privacy.deidentify import Session
from privacy.elements import QUANTITIES, REQUIRED, Element, elements_of, owner_of
from privacy.guards import Codings
from privacy.times import Moment, first_of, spelled

ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
AGE = "http://hl7.org/fhir/us/dapl/StructureDefinition/dapl-age-extension"
# HL7 v3 ObservationValue, SecurityAlterationIntegrityObservationValue: "pseudonymized".
PSEUDONYMIZED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "PSEUDED",
}
# Where values stand under a code that says how exact they are.
OBSERVED = frozenset({"Observation", "Observation.component"})
NUMBERS = frozenset({"decimal", "integer", "positiveInt", "unsignedInt"})
_SPELLED = re.compile(r"[0-9a-f]{32}")
SHIFTS = 365  # days, at most, to either side

Json = dict[str, Any]


def fhir_id(pseudonym: str) -> str:
    """The same 128 bits, spelled as FHIR allows an id."""
    return base64.urlsafe_b64decode(pseudonym + "==").hex()


def of_fhir_id(text: str) -> str | None:
    """The pseudonym that is spelled so; None for what is no such spelling."""
    if _SPELLED.fullmatch(text) is None:
        return None
    return base64.urlsafe_b64encode(bytes.fromhex(text)).decode().rstrip("=")


def urn(pseudonym: str) -> str:
    text = fhir_id(pseudonym)
    parts = (text[:8], text[8:12], text[12:16], text[16:20], text[20:])
    return "urn:uuid:" + "-".join(parts)


def shift_of(epoch: datetime) -> int:
    """The patient's shift in days, never zero: as secret and as random as the sealed epoch."""
    place = epoch.toordinal() % (2 * SHIFTS)
    return place - SHIFTS if place < SHIFTS else place - SHIFTS + 1


def significant(number: float, digits: int) -> float:
    """A whole number stays one."""
    if not number:
        return number
    return round(number, digits - 1 - math.floor(math.log10(abs(number))))


def masked() -> Json:
    return {"extension": [{"url": ABSENT, "valueCode": "masked"}]}


class Calendar:
    """Offsets of one patient back into dates, as its policy allows."""

    def __init__(self, session: Session) -> None:
        self.mode = session.policy.files.dates
        unit = session.policy.time.unit
        self._true = times.Calendar(unit, session.epoch, session.now, session.today)
        self._shift = timedelta(days=shift_of(session.epoch)) if self.mode == "shifted" else None

    def text(self, offset: int, precision: str, kind: str) -> str | None:
        """A date, dateTime or instant; None where the policy leaves too little for the type."""
        return self.spell(self.moment(offset, precision), kind)

    def moment(self, offset: int, precision: str) -> Moment:
        return self._true.moment(offset, precision)

    def spell(self, moment: Moment, kind: str) -> str | None:
        if self.mode == "year":
            return None if kind == "instant" else f"{moment.first.year:04}"
        if kind == "instant" and moment.minute is None:
            return None
        return spelled(moment if self._shift is None else shifted(moment, self._shift), kind)


def shifted(moment: Moment, by: timedelta) -> Moment:
    """An imprecise date moves with its middle, and stays as imprecise."""
    if moment.precision in {"year", "month"}:
        middle = moment.middle + by
        first = first_of(middle.year, middle.month, moment.precision)
        return Moment(first, moment.precision)
    minute = None if moment.minute is None else moment.minute + by
    return Moment(moment.first + by, moment.precision, minute)


class Renderer:
    """Renders the records of one session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._calendar = Calendar(session)
        self._digits = session.policy.files.digits
        self._codes: Codings = ()  # under which the values stand that are rendered now

    def resource(self, record: Json) -> Json:
        name = record["resourceType"]
        body = self.patient(record) if name == "Patient" else self.object(name, record)
        meta = body.pop("meta", {})
        labels = [*meta.get("security", []), PSEUDONYMIZED]
        head = {"resourceType": name, "id": fhir_id(record["id"])} if "id" in record else {
            "resourceType": name
        }  # fmt: skip
        body.pop("id", None)
        return {**head, "meta": {**meta, "security": labels}, **body}

    def patient(self, record: Json) -> Json:
        kept: Json = {
            key: record[key] for key in ("id", "meta", "gender", "address") if key in record
        }
        made = self.object("Patient", kept)
        if "age" in record:
            quantity = self.age(record["age"])
            made["extension"] = [{"url": AGE, "valueQuantity": quantity}]
        born = self.birth(record)
        made |= {"birthDate": born} if born else {}
        if "deceasedAt" in record:
            offset, precision = record["deceasedAt"]
            made["deceasedDateTime"] = self._calendar.text(offset, precision, "dateTime")
        elif record.get("deceased"):
            made["deceasedBoolean"] = True
        return made

    def birth(self, record: Json) -> str | None:
        """No birth date of the very old, and none that can be no birth."""
        born = self._session.life.born
        if born is None or record.get("ageTopCoded", True):
            return None
        return self._calendar.spell(born, "date")

    def object(self, owner: str, record: Json) -> Json:
        if owner in OBSERVED:
            return self.observed(owner, record)
        return self.plain(owner, record)

    def observed(self, owner: str, record: Json) -> Json:
        """Values are rounded as the codes they stand under say."""
        outer, self._codes = self._codes, record.get("code", {}).get("coding", ())
        made = self.plain(owner, record)
        self._codes = outer
        return made

    def plain(self, owner: str, record: Json) -> Json:
        made: Json = {}
        for key, value in record.items():
            if key == "resourceType":
                continue
            element = elements_of(owner)[key]
            shown = self.many(owner, key, element, value)
            if shown is not None:
                made[key] = shown
        return made | self.required(owner, made)

    def many(self, owner: str, key: str, element: Element, value: Any) -> Any:
        if not element.is_list:
            return self.value(owner, key, element, value)
        shown = [self.value(owner, key, element, item) for item in value]
        return [item for item in shown if item is not None] or None

    def value(self, owner: str, key: str, element: Element, value: Any) -> Any:
        kind = element.type
        if kind in {"date", "dateTime", "instant"}:
            return self._calendar.text(value[0], value[1], kind)
        if kind == "Age":
            return self.age(value)
        if kind == "Reference":
            return self.reference(value)
        if kind == "id":
            return fhir_id(value)
        if kind in QUANTITIES:
            return self.quantity(value)
        if kind in NUMBERS:
            return significant(value, self._digits)
        if kind[0].islower() or kind in {"Coding", "Address"}:
            return value
        return self.object(owner_of(owner, key, element), value) or None

    def reference(self, value: Json) -> Json:
        name, _, pseudonym = value["reference"].partition("/")
        return {"reference": f"{name}/{fhir_id(pseudonym)}"}

    def quantity(self, value: Json) -> Json:
        """To clinical precision: more digits would single the value out and mean nothing."""
        number = value.get("value")
        if number is None:
            return value
        decimals = self._session.decimals(self._codes, value)
        exact = 0 if decimals is None else round(number, decimals)
        return {**value, "value": exact or significant(number, self._digits)}

    def age(self, years: int) -> Json:
        """An Age is positive: below one year it is "less than one"."""
        top = years >= self._session.policy.age.top
        comparator = {"comparator": ">="} if top else {"comparator": "<"} if years < 1 else {}
        number = {"value": max(years, 1), **comparator}
        return {**number, "unit": "years", "system": UCUM, "code": "a"}

    def required(self, owner: str, made: Json) -> Json:
        found: Json = {}
        for keys in REQUIRED.get(owner, ()):
            if not any(key in made for key in keys):
                found |= absent(owner, keys[0])
        return found


def absent(owner: str, key: str) -> Json:
    element = elements_of(owner)[key]
    mark: Any = [masked()] if element.is_list else masked()
    return {"_" + key: mark} if element.type[0].islower() else {key: mark}


def bundle(entries: Collection[tuple[str, Json]]) -> Json:
    """A collection of `(pseudonym, rendered resource)`; references lead to its entries."""
    names = {f"{body['resourceType']}/{fhir_id(name)}": urn(name) for name, body in entries}
    for _, body in entries:
        _lead(body, names)
    made: Json = {"resourceType": "Bundle", "type": "collection"}
    listed = [{"fullUrl": urn(pseudonym), "resource": body} for pseudonym, body in entries]
    return {**made, "entry": listed} if listed else made  # FHIR has no empty lists


def _lead(node: Any, names: Mapping[str, str]) -> None:
    if type(node) is dict:
        text = node.get("reference")
        if type(text) is str:
            node["reference"] = names.get(text, text)
        for inner in node.values():
            _lead(inner, names)
    elif type(node) is list:
        for inner in node:
            _lead(inner, names)
