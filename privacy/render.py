"""De-identified records back into valid FHIR R4, for files and `$de-identify`.

Rendered from the record alone: nothing stands in a file that the policy's record does not hold.
Times return to a calendar as far as the policy lets them: the year, a date shifted by the patient's
secret number of days, or the true date. What R4 requires and the policy has taken out is marked
`data-absent-reason` = `masked`.
"""

import binascii
import math
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import chain
from types import MappingProxyType
from typing import Any

from privacy import times
from privacy.compile import UCUM
from privacy.deidentify import Session
from privacy.elements import QUANTITIES, REQUIRED, Element, elements_of, owner_of
from privacy.guards import Codings
from privacy.plans import defined
from privacy.times import Moment, first_of, spelled

ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
AGE = "http://hl7.org/fhir/us/dapl/StructureDefinition/dapl-age-extension"
# HL7 v3 ObservationValue, SecurityAlterationIntegrityObservationValue: "pseudonymized".
PSEUDONYMIZED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "PSEUDED",
}
# What we write of our own accord into anybody's resources.
OUR_ADDRESSES = frozenset({ABSENT, AGE, UCUM, PSEUDONYMIZED["system"]})
# Where values stand under a code that says how exact they are.
OBSERVED = frozenset({"Observation", "Observation.component"})
TIMES = frozenset({"date", "dateTime", "instant"})
NUMBERS = frozenset({"decimal", "integer", "positiveInt", "unsignedInt"})
SHIFTS = 365  # days, at most, to either side
_NOWHERE: Mapping[str, str] = MappingProxyType({})

Json = dict[str, Any]


def fhir_id(pseudonym: str) -> str:
    """The same 128 bits, spelled as FHIR allows an id."""
    return fhir_ids([pseudonym])[0]


def fhir_ids(pseudonyms: Collection[str]) -> list[str]:
    """Of many, in one go: filled up to 24 characters, each is 18 bytes, of which two are zero."""
    standard = "".join([f"{name}AA" for name in pseudonyms]).replace("-", "+").replace("_", "/")
    text = binascii.a2b_base64(standard).hex()
    return [text[start : start + 32] for start in range(0, len(text), 36)]


def urn(pseudonym: str) -> str:
    return _urn(fhir_id(pseudonym))


def _urn(text: str) -> str:
    return f"urn:uuid:{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def shift_of(epoch: datetime) -> int:
    """The patient's shift in days, never zero: as secret and as random as the sealed epoch."""
    place = epoch.toordinal() % (2 * SHIFTS)
    return place - SHIFTS if place < SHIFTS else place - SHIFTS + 1


def significant(number: float, digits: int) -> float:
    """A whole number stays one."""
    if not number:
        return number
    return round(number, digits - 1 - math.floor(math.log10(abs(number))))


def rounded(number: float, decimals: int) -> float:
    """To round takes a while, and makes of a number that has no more digits what it is."""
    if decimals >= 0:
        whole = number * 10**decimals
        if type(number) is int or (whole.is_integer() and whole / 10**decimals == number):
            return number
    return round(number, decimals)


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


class _Times(dict[tuple[int, str], str | None]):
    """(offset, precision) → how it is shown; each is worked out once."""

    def __init__(self, calendar: Calendar, kind: str) -> None:
        self._calendar, self._kind = calendar, kind

    def __missing__(self, time: tuple[int, str]) -> str | None:
        shown = self[time] = self._calendar.text(*time, kind=self._kind)
        return shown


class Renderer:
    """Renders records of one session, some at a time: what repeats among them is made once.

    What is made is shared, as records are: it is read, never written to.
    """

    def __init__(
        self,
        session: Session,
        leads: Mapping[str, str] = _NOWHERE,
        ours: Collection[str] = (),
    ) -> None:
        """`leads`: where references to other entries of a Bundle go; see `addresses`. `ours`: the
        pseudonyms of the records, as far as they are known before."""
        self._session, self._leads = session, leads
        self._calendar = Calendar(session)
        self._digits = session.policy.files.digits
        self._known_decimals: dict[tuple[str, str, str | None, str | None], int | None] = {}
        # Used by the functions that are written for shapes:
        self.codes: Codings = ()  # under which the values stand that are rendered now
        self.ids = dict(zip(ours, fhir_ids(ours), strict=True))
        self.references: dict[str, Json] = {}
        self.label: Json = {"meta": {"security": [PSEUDONYMIZED]}}
        self.times = {kind: _Times(self._calendar, kind) for kind in TIMES}

    def spelled(self, given: Container[str]) -> set[str]:
        """The ids, and what refers to them, that were made of these pseudonyms."""
        found = {made for name, made in self.ids.items() if name in given}
        shown = ((text, made["reference"]) for text, made in self.references.items())
        leading = chain(self._leads.items(), shown)
        return found | {lead for text, lead in leading if text.partition("/")[2] in given}

    def entries(self, kind: str, names: Iterable[str], resources: Iterable[bytes]) -> list[bytes]:
        """Of the Bundle that the addresses are those of; `names`: pseudonyms of the resources."""
        leads, named = self._leads, zip(names, resources, strict=True)
        return [
            b'{"fullUrl":"%b","resource":%b}' % (leads[f"{kind}/{name}"].encode(), resource)
            for name, resource in named
        ]

    def resource(self, record: Json) -> Json:
        name = record["resourceType"]
        if name == "Patient":
            return self.labelled(name, self.patient(record))
        if "meta" in record or "id" not in record:
            return self.labelled(name, self.object(name, record))
        return show_of(name, tuple(record), True)(self, record)

    def labelled(self, name: str, body: Json) -> Json:
        meta = body.pop("meta", None)
        head: Json = {"resourceType": name}
        if "id" in body:
            head["id"] = body.pop("id")
        labels = [*meta.get("security", []), PSEUDONYMIZED] if meta else [PSEUDONYMIZED]
        head["meta"] = {**meta, "security": labels} if meta else {"security": labels}
        head |= body
        return head

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
        """A part of a resource, or one that has no label yet."""
        return show_of(owner, tuple(record))(self, record)

    def concept(self, value: Json) -> Json | None:
        """Mostly codes and nothing else: as the record has it."""
        if len(value) == 1 and value.get("coding"):
            return value
        return self.object("CodeableConcept", value) or None

    def concepts(self, value: list[Json]) -> list[Json] | None:
        if len(value) == 1 and len(value[0]) == 1 and value[0].get("coding"):
            return value
        found = map(self.concept, value)
        return [item for item in found if item is not None] or None

    def id(self, pseudonym: str) -> str:
        found = self.ids.get(pseudonym)
        if found is None:
            found = self.ids[pseudonym] = fhir_id(pseudonym)
        return found

    def reference(self, value: Json) -> Json:
        text = value["reference"]
        found = self.references.get(text)
        if found is None:
            name, _, pseudonym = text.partition("/")
            shown = self._leads.get(text) or f"{name}/{self.id(pseudonym)}"
            found = self.references[text] = {"reference": shown}
        return found

    def number(self, value: float) -> float:
        return significant(value, self._digits)

    def quantity(self, value: Json) -> Json:
        """To clinical precision: more digits would single the value out and mean nothing."""
        number = value.get("value")
        if number is None:
            return value
        decimals = self._decimals(value)
        exact = 0 if decimals is None else rounded(number, decimals)
        return {**value, "value": exact or significant(number, self._digits)}

    def _decimals(self, value: Json) -> int | None:
        """Of one code in one unit, asked once."""
        if len(self.codes) != 1:
            return self._session.decimals(self.codes, value)
        [coding] = self.codes
        key = coding["system"], coding["code"], value.get("unit"), value.get("code")
        try:
            return self._known_decimals[key]
        except KeyError:
            found = self._known_decimals[key] = self._session.decimals(self.codes, value)
            return found

    def age(self, years: int) -> Json:
        """An Age is positive: below one year it is "less than one"."""
        top = years >= self._session.policy.age.top
        comparator = {"comparator": ">="} if top else {"comparator": "<"} if years < 1 else {}
        number = {"value": max(years, 1), **comparator}
        return {**number, "unit": "years", "system": UCUM, "code": "a"}


Show = Callable[[Renderer, Any], Any]


@lru_cache(maxsize=4096)
def show_of(
    owner: str, keys: tuple[str, ...], whole: bool = False
) -> Callable[[Renderer, Json], Json]:
    """What shows the objects with these keys, in a text of ours, line by line; `whole`, a resource
    with its label. Keys are names of published elements: nothing else comes into a record."""
    return _Text(owner, keys, whole).show()


_LACKING = "; lacking = True"


class _Text:
    """Writes the function that shows objects of one shape."""

    def __init__(self, owner: str, keys: tuple[str, ...], whole: bool) -> None:
        self.owner, self.keys, self.whole = owner, [k for k in keys if k != "resourceType"], whole
        self.names: dict[str, Any] = {"marked": marked}
        required = REQUIRED.get(owner, ())
        self.needed = {key for one in required for key in one}
        # Whether something required is not there in any case.
        self.lacking = any(set(self.keys).isdisjoint(one) for one in required)

    def show(self) -> Callable[[Renderer, Json], Json]:
        body = [line for key in self.keys for line in self.key(key)]
        begun, ended = self.marking(body)
        lines = [*self.beginning(), *begun, *self.observed(body), *ended, "return made"]
        text = "\n    ".join(["def show(renderer, record):", *lines])
        made: Callable[[Renderer, Json], Json]
        made = defined(text, f"show {self.owner}", self.names)["show"]
        return made

    def marking(self, body: list[str]) -> tuple[list[str], list[str]]:
        """What R4 requires is marked where it is not there."""
        mark = f"made = marked({self.owner!r}, made)"
        if self.lacking:
            return [], [mark]
        if any(line.endswith(_LACKING) for line in body):
            return ["lacking = False"], [f"if lacking: {mark}"]
        return [], []

    def observed(self, body: list[str]) -> list[str]:
        """Values are rounded as the codes they stand under say."""
        if self.owner not in OBSERVED or not body:
            return body
        codes = "record.get('code', {}).get('coding', ())"
        taken = f"outer, renderer.codes = renderer.codes, {codes}"
        return [taken, *body, "renderer.codes = outer"]

    def beginning(self) -> list[str]:
        if self.whole:
            head = f"'resourceType': {self.owner!r}, 'id': ''"
            return [f"made = {{{head}, **renderer.label, **record}}"]
        return ["made = record.copy()", "made.pop('resourceType', None)"]

    def key(self, key: str) -> list[str]:
        element = elements_of(self.owner)[key]
        show = _shown(self.owner, key, element)
        if show is None:
            return []
        value = f"record[{key!r}]"
        written = _WRITTEN.get(show)
        if written is not None:
            return [f"made[{key!r}] = {written.format(value=value)}"]
        self.names[f"_{key}"] = show
        plain = _AS_IT_IS.get(show)
        time = element.type in TIMES and not element.is_list
        shown = f"renderer.times[{element.type!r}][tuple({value})]" if time else ""
        lines = [
            f"value = {shown or f'_{key}(renderer, {value})'}",
            f"if value is not None: made[{key!r}] = value",
            f"else: del made[{key!r}]{_LACKING * (key in self.needed)}",
        ]
        if plain is None:
            return lines
        return [f"value = {value}", f"if not ({plain}):", *(f"    {line}" for line in lines)]


def _shown(owner: str, key: str, element: Element) -> Show | None:
    one = _one(owner, key, element)
    if one is None or not element.is_list:
        return one
    if one is Renderer.concept:
        return Renderer.concepts

    def many(renderer: Renderer, value: Any) -> Any:
        found = [one(renderer, item) for item in value]
        return [item for item in found if item is not None] or None

    return many


# Never nothing, and mostly shown before.
_WRITTEN: dict[Any, str] = {
    Renderer.id: "renderer.ids.get({value}) or renderer.id({value})",
    Renderer.reference: (
        "renderer.references.get({value}['reference']) or renderer.reference({value})"
    ),
    Renderer.quantity: "renderer.quantity({value})",
    Renderer.number: "renderer.number({value})",
}
# Where a `value` is mostly what there is to be shown.
_AS_IT_IS: dict[Any, str] = {
    Renderer.concept: "len(value) == 1 and value.get('coding')",
    Renderer.concepts: "len(value) == 1 and len(value[0]) == 1 and value[0].get('coding')",
}


def _one(owner: str, key: str, element: Element) -> Show | None:
    kind = element.type
    if kind in TIMES:
        return lambda renderer, value: renderer.times[kind][tuple(value)]
    if kind in _SHOWN:
        return _SHOWN[kind]
    if kind[0].islower():
        return None
    inner = owner_of(owner, key, element)
    return lambda renderer, value: renderer.object(inner, value) or None


_SHOWN: dict[str, Show | None] = {
    "Age": Renderer.age,
    "Reference": Renderer.reference,
    "id": Renderer.id,
    "CodeableConcept": Renderer.concept,
    "Coding": None,
    "Address": None,
    **dict.fromkeys(QUANTITIES - {"Age"}, Renderer.quantity),
    **dict.fromkeys(NUMBERS, Renderer.number),
}


def marked(owner: str, made: Json) -> Json:
    """With what R4 requires and is not there."""
    for keys in REQUIRED.get(owner, ()):
        if made.keys().isdisjoint(keys):
            made |= absent(owner, keys[0])
    return made


def absent(owner: str, key: str) -> Json:
    element = elements_of(owner)[key]
    mark: Any = [masked()] if element.is_list else masked()
    return {"_" + key: mark} if element.type[0].islower() else {key: mark}


def addresses(entries: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The entries of a Bundle, by type and pseudonym: references in records, and what they lead to
    there."""
    listed = list(entries)
    ids = fhir_ids([pseudonym for _, pseudonym in listed])
    named = zip(listed, ids, strict=True)
    return {f"{kind}/{pseudonym}": _urn(text) for (kind, pseudonym), text in named}


def bundle(entries: Collection[Any]) -> Json:
    """A collection. Entries may also be JSON already, in `orjson.Fragment`."""
    made: Json = {"resourceType": "Bundle", "type": "collection"}
    return {**made, "entry": entries} if entries else made  # FHIR has no empty lists
