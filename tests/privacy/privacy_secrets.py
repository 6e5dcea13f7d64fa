"""Resources that hold something to be told apart in every place, and the search for it afterwards.

Every string, uri and id is a marker of its own. What has no room for a marker is told apart by its
kind: where the shipped policy lets nothing pass, a number is a four-digit one, a date a day, a code
and a reference one that stand nowhere else; a flag is true that is false everywhere else. Places
where something may pass hold harmless values, so that whatever shows afterwards was let out.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import count
from typing import Any

from privacy_support import CODES, EPOCH, LOINC, NOW, SNOMED, UCUM, UNITS

from privacy.deidentify import Deidentifier, Guards, Refused, Session
from privacy.elements import IN_SCOPE, elements_of, owner_of
from privacy.policy import Leaf, Policy, load_policy, require_verdict
from privacy.pseudonyms import Pseudonyms
from privacy.rarity import RARE
from privacy.render import Renderer
from privacy.subject import SubjectContext

Json = dict[str, Any]

MARK = "Zq7m"
SECRET_CODE = "secret-"
FIRST_NUMBER, FIRST_DAY = 6001, date(2003, 1, 1)
KEPT_DAY = "2019-06-15T10:11:12.123Z"
DEEPEST = 4
KINDS = tuple(sorted(IN_SCOPE))
OPEN = frozenset({"drop", "refuse", "contained"})
POLICY = load_policy("safe-harbor")
OWN_ID = "Encounter.id"  # has a pseudonym, as it should
TRUE_OF_OURS = frozenset({"deceased", "ageTopCoded"})  # added by the de-identifier itself
SECRETS = Guards(
    known_code=lambda system, code: (system, code) in KNOWN or code.startswith(SECRET_CODE),
    known_unit=UNITS.__contains__,
)
URIS = {"snomed": SNOMED, "icd10": "http://hl7.org/fhir/sid/icd-10"}
AGE_CODES = sorted(POLICY.age.codes)
BIRTH_CODES = sorted(POLICY.age.birth_codes)
# A code of each row of the table of rare ones: a chapter's letter is none by itself.
RARE_CODES = [row.code if len(row.code) > 1 else f"{row.code}58" for row in RARE]
KNOWN = {
    *CODES, *AGE_CODES, *BIRTH_CODES,
    *((URIS[row.system], code) for row, code in zip(RARE, RARE_CODES, strict=True)),
}  # fmt: skip


@dataclass
class Planted:
    """A source, and what must not come out of it: → where it was planted."""

    source: Json
    texts: dict[str, str] = field(default_factory=dict)
    numbers: dict[float, str] = field(default_factory=dict)
    offsets: dict[int, str] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    codes: set[str] = field(default_factory=set)  # of HL7's lists, where nothing may pass
    harmless: set[str] = field(default_factory=set)  # of HL7's lists, where something may
    refused: str = ""  # why nothing at all may come out
    born: str = "1960-02-03"
    died: str | None = None


class Planter:
    """Builds one resource of a type with every element it has, choices side by side."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.policy = policy
        self._number, self._day, self._name = count(FIRST_NUMBER), count(), count()
        self.planted = Planted({})
        self.places: set[str] = set()  # where anything was put

    def complete(self, kind: str) -> Planted:
        """`modifierExtension` and `implicitRules` refuse everything, and are planted apart."""
        self.planted = Planted({})
        made = {"resourceType": kind, **self._object(kind, kind, (), open_=True)}
        for key in ("subject", "patient"):
            if key in made:
                made[key] = {"reference": "Patient/p1", "display": self._text(f"{kind}.{key}")}
        made["id"] = "p1" if kind == "Patient" else self._text(f"{kind}.id")
        self.planted.source = made
        return self.planted

    def _object(self, path: str, owner: str, above: tuple[str, ...], *, open_: bool) -> Json:
        made: Json = {}
        for key, element in elements_of(owner).items():
            leaf = Leaf(path, owner, key, element)
            if element.is_modifier and key in {"modifierExtension", "implicitRules"}:
                continue
            if above.count(owner) > 1 or len(above) > DEEPEST:
                continue
            self.places.add(leaf.path)
            action = require_verdict(self.policy, leaf).action if open_ else "drop"
            value = self._value(leaf, action, (*above, owner))
            if value is not None:
                made[key] = [value] if element.is_list else value
            if element.type[:1].islower():
                made["_" + key] = self._extension(f"{path}._{key}", 1)
        made[self._text(f"{path}.*")] = self._text(f"{path}.*")
        return made

    def _value(self, leaf: Leaf, action: str, above: tuple[str, ...]) -> Any:
        kind = leaf.element.type
        if kind == "Extension":
            return self._extension(leaf.path, 2)
        if kind == "Resource":
            return {"resourceType": "Patient", "id": self._text(leaf.path), "name": [
                {"family": self._text(leaf.path)}]}  # fmt: skip
        if kind[0].islower():
            return self._hidden(leaf) if action in OPEN else self._harmless(leaf, action)
        inner = leaf.inner_owner
        if kind == "Age":
            return self._age(leaf)
        if inner == "Coding":
            return self._coding(leaf.path, known=action == "keep")
        if inner == "Reference":
            return self._reference(leaf.path, action)
        if inner == "Quantity":
            return self._quantity(leaf.path, known=action == "keep")
        if action == "labels":
            return self._coding(leaf.path, known=False)
        return self._object(leaf.path, inner, above, open_=action == "keep")

    # What may not come out ------------------------------------------------------------------------

    def _hidden(self, leaf: Leaf) -> Any:
        match leaf.element.type:
            case "boolean":
                self.planted.flags.append(leaf.path)
                return True
            case "decimal" | "integer" | "positiveInt" | "unsignedInt":
                return self._secret_number(leaf.path)
            case "date" | "dateTime" | "instant":
                return self._secret_day(leaf.path)
            case "code" if leaf.element.codes:
                self.planted.codes.add(max(leaf.element.codes))
                return max(leaf.element.codes)
            case "time":
                return "12:34:56"
        return self._text(leaf.path)

    def _text(self, path: str) -> str:
        text = f"{MARK}{next(self._name)}z"
        self.planted.texts[text] = path
        return text

    def _secret_number(self, path: str) -> int:
        number = next(self._number)
        self.planted.numbers[number] = path
        return number

    def _secret_day(self, path: str) -> str:
        day = FIRST_DAY + timedelta(days=next(self._day))
        self.planted.offsets[(day - EPOCH.date()).days] = path
        return day.isoformat()

    def _extension(self, path: str, depth: int) -> Json:
        made: Json = {"url": f"http://{self._text(path)}", "valueString": self._text(path)}
        made |= {"valueDecimal": self._secret_number(path), "id": self._text(path)}
        return made | ({"extension": [self._extension(path, depth - 1)]} if depth else {})

    # What may -------------------------------------------------------------------------------------

    def _harmless(self, leaf: Leaf, action: str) -> Any:
        match action:
            case "boolean":
                return False
            case "number":
                return 3
            case "code":
                self.planted.harmless.add(min(leaf.element.codes))
                return min(leaf.element.codes)
            case "offset" | "death":
                return KEPT_DAY if leaf.element.type != "boolean" else False
            case "birth":
                born = date.fromisoformat(self.planted.born)
                self.planted.offsets[(born - EPOCH.date()).days] = leaf.path
                return self.planted.born
        return self._text(leaf.path)

    def _coding(self, path: str, *, known: bool) -> Json:
        code = "38341003" if known else f"{SECRET_CODE}{self._text(path)}"
        return self._seen(path, {
            "system": SNOMED, "code": code, "display": self._text(path), "id": self._text(path),
            "version": self._text(path), "userSelected": False, "extension": [
                self._extension(path, 0)],
        })  # fmt: skip

    def _reference(self, path: str, action: str) -> Json:
        name = self._text(path) if action in OPEN else "kept"
        target = "Patient/p1" if action in {"subject", "about"} else f"Encounter/{name}"
        return {"reference": target, "display": self._text(path), "identifier": {
            "system": f"http://{self._text(path)}", "value": self._text(path)}}  # fmt: skip

    def _quantity(self, path: str, *, known: bool) -> Json:
        value = 5 if known else self._secret_number(path)
        return self._seen(path, {
            "value": value, "unit": "mg/dL", "system": UCUM, "code": "mg/dL", "comparator": "<",
            "id": self._text(path), "extension": [self._extension(path, 0)],
        })  # fmt: skip

    def _seen(self, path: str, made: Json) -> Json:
        self.places |= {f"{path}.{key}" for key in made}
        return made

    def _age(self, leaf: Leaf) -> Json:
        """In months: years are told, months are finer."""
        number = self._secret_number(leaf.path) % 500 + 501
        self.planted.numbers[number] = leaf.path
        return {"value": number, "unit": "mo", "system": UCUM, "code": "mo"}


# Looking for it -----------------------------------------------------------------------------------


def process(planted: Planted, deidentifier: Deidentifier) -> tuple[Any, Any, Session, Pseudonyms]:
    """The record, the rendered file, the run and the pseudonyms that it gave out."""
    ids = Pseudonyms()
    patient = {"resourceType": "Patient", "id": "p1", "birthDate": planted.born}
    patient |= {"deceasedDateTime": planted.died} if planted.died else {}
    context = SubjectContext.of(patient, epoch=EPOCH, now=NOW, pseudonym=ids)
    run = deidentifier.session(context)
    record = run.apply(planted.source)
    if isinstance(record, Refused):
        return record, {}, run, ids
    return record, Renderer(run).resource({**record, "id": "A" * 22}), run, ids


def leaks(planted: Planted, deidentifier: Deidentifier) -> list[str]:
    """Where something was planted that came out: in the record, the file, the counts."""
    kind = planted.source["resourceType"]
    try:
        record, file, run, ids = process(planted, deidentifier)
    except (TypeError, KeyError, ValueError) as error:
        return [f"{kind}: {type(error).__name__}"]
    if isinstance(record, Refused):
        expected = record.reason == planted.refused
        return [] if expected else [f"{kind}: refused, and should not be"]
    if planted.refused:
        return [f"{kind}: not refused"]
    told = repr((record, file, run.counts, run.refusals, run.labels))
    found = [path for text, path in planted.texts.items() if text in told]
    pointed = {f"Encounter/{text}": path for text, path in planted.texts.items()}
    found += [path for name, path in pointed.items() if name in ids.as_dict() and path != OWN_ID]
    found += _odd_values(planted, [record, file])
    if deidentifier.policy.id == POLICY.id and "'minute'" in told:
        found.append(f"{kind}: a time of day")
    return found


def _odd_values(planted: Planted, outputs: Collection[Any]) -> Iterator[str]:
    words = planted.codes - planted.harmless
    for key, value in (item for output in outputs for item in values(output)):
        if type(value) in {int, float} and value in planted.numbers:
            yield planted.numbers[value]
        elif type(value) is list and value[0] in planted.offsets:
            yield planted.offsets[value[0]]
        elif value is True and planted.flags and key not in TRUE_OF_OURS:
            yield f"{key}: {planted.flags}"
        elif type(value) is str and value in words:
            yield f"{key}: a code of an element that is dropped"
        elif type(value) in {int, float} and key == "age" and value > 90:
            yield "age beyond 90"


def values(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf with the name it stands under; a time leaf is one, `[offset, precision]`."""
    if isinstance(node, Mapping):
        for name, inner in node.items():
            yield from values(inner, name)
    elif type(node) is list and len(node) == 2 and type(node[0]) is int and type(node[1]) is str:
        yield key, node
    elif type(node) is list:
        for inner in node:
            yield from values(inner, key)
    else:
        yield key, node


# The suite ----------------------------------------------------------------------------------------


def suite(kinds: Collection[str] = IN_SCOPE) -> Iterator[Planted]:
    """Everything that is planted to try a policy on these resource types."""
    for kind in sorted(kinds):
        yield Planter().complete(kind)
        yield from refused(kind)
        yield from of_the_very_old(kind)
    if "Observation" in kinds:
        yield from observed_ages()
        yield from times()
    if "Condition" in kinds:
        yield from rare()


def refused(kind: str) -> Iterator[Planted]:
    """What turns a meaning round, wherever it stands; what is somebody else's."""
    base = _base(kind)
    yield Planted({**base, "implicitRules": "http://x"}, refused="refused-element")
    for path in _open_objects(kind):
        odd = [{"url": "http://x", "valueBoolean": True}]
        yield Planted(_with(base, path, {"modifierExtension": odd}), refused="refused-element")
    for key in ("subject", "patient"):
        if key in elements_of(kind):
            other = {"reference": "Patient/p2"}
            yield Planted({**base, key: other}, refused="another-patient")
            yield Planted({**base, key: {"reference": "Group/g"}}, refused="unknown-subject")
    for key, element in elements_of(kind).items():
        leaf = Leaf(kind, kind, key, element)
        if require_verdict(POLICY, leaf).action == "about":
            other = {"reference": "Patient/p2"}
            yield Planted({**base, key: [other]}, refused="about-somebody-else")


def _base(kind: str) -> Json:
    base: Json = {"resourceType": kind, "id": "p1" if kind == "Patient" else "x1"}
    for key in ("subject", "patient"):
        if key in elements_of(kind):
            base[key] = {"reference": "Patient/p1"}
    return base


def _open_objects(kind: str) -> Iterator[tuple[tuple[str, bool], ...]]:
    """Ways to every object of a type that the policy opens and that may hold one."""

    def below(path: str, owner: str, way: tuple[tuple[str, bool], ...]) -> Iterator[Any]:
        if "modifierExtension" in elements_of(owner):
            yield way
        for key, element in elements_of(owner).items():
            leaf = Leaf(path, owner, key, element)
            if require_verdict(POLICY, leaf).action == "keep" and len(way) < DEEPEST:
                step = (*way, (key, element.is_list))
                yield from below(leaf.path, owner_of(owner, key, element), step)

    return below(kind, kind, ())


def _with(base: Json, way: tuple[tuple[str, bool], ...], odd: Json) -> Json:
    if not way:
        return {**base, **odd}
    (key, is_list), *rest = way
    inner = _with({}, tuple(rest), odd)
    return {**base, key: [inner] if is_list else inner}


def of_the_very_old(kind: str) -> Iterator[Planted]:
    """Of somebody of 94: no age beside a date, no early event, no age beyond 90."""
    base, born = _base(kind), "1926-06-01"
    if kind == "Patient":
        source = {**base, "birthDate": born, "gender": "female"}
        yield Planted(source, numbers={94: "Patient.birthDate"}, born=born)
    early = date(1928, 3, 4)
    offset = (early - EPOCH.date()).days
    for key, element in elements_of(kind).items():
        action = require_verdict(POLICY, Leaf(kind, kind, key, element)).action
        if element.type == "Age" and kind != "FamilyMemberHistory":
            age = {"value": 61, "system": UCUM, "code": "a"}
            yield Planted({**base, key: age}, numbers={61: f"{kind}.{key}"}, born=born)
        if action == "offset":
            source = {**base, key: early.isoformat()}
            yield Planted(source, offsets={offset: f"{kind}.{key}"}, born=born)


def observed_ages() -> Iterator[Planted]:
    base = _base("Observation")
    for system, code in AGE_CODES:
        about = {"code": {"coding": [{"system": system, "code": code}]}}
        for value in ({"valueInteger": 93}, {"valueQuantity": {"value": 93}}):
            yield Planted({**base, **about, **value}, numbers={93: f"observed age {code}"})
            yield Planted({**base, "component": [{**about, **value}]}, numbers={93: f"part {code}"})
    for system, code in BIRTH_CODES:
        about = {"code": {"coding": [{"system": system, "code": code}]}}
        offset = (date(1960, 2, 3) - EPOCH.date()).days
        source = {**base, **about, "valueDateTime": "1960-02-03"}
        yield Planted(source, offsets={offset: f"observed birth {code}"})
    old = {"value": 97, "unit": "years", "system": UCUM, "code": "a"}
    about = {"code": {"coding": [{"system": LOINC, "code": "2339-0"}]}}
    yield Planted({**base, **about, "valueQuantity": old}, numbers={97: "years of any quantity"})


def times() -> Iterator[Planted]:
    """Placeholders, and dates that are none: also of somebody who died long ago."""
    base = _base("Observation")
    for day in (*sorted(POLICY.time.placeholders), date(9999, 12, 31), date(2023, 6, 1)):
        offset = (day - EPOCH.date()).days
        source = {**base, "effectiveDateTime": day.isoformat()}
        for born, died in (("1960-02-03", None), ("1915-02-03", "1985-06-07")):
            where = {offset: f"placeholder {day}"}
            yield Planted(source, offsets=where, born=born, died=died)
    january = (date(2015, 1, 1) - EPOCH.date()).days
    for text in ("2015", "2015-01"):
        source = {**base, "effectiveDateTime": text}
        yield Planted(source, offsets={january: "the first day of an imprecise date"})


def rare() -> Iterator[Planted]:
    base = _base("Condition")
    for row, code in zip(RARE, RARE_CODES, strict=True):
        source = {**base, "code": {"coding": [{"system": URIS[row.system], "code": code}]}}
        yield Planted(source, texts={f"'code': '{code}'": f"rare {row.system} {code}"})
