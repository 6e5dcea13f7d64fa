"""Random resources of every type in scope with a marker in every leaf that can hold one."""

from collections.abc import Collection
from random import Random
from typing import Any

from privacy_support import CODES, UNITS

from privacy.elements import KNOWN_EXTENSIONS, Element, elements_of, owner_of

MARKER = "Zq7marker"
DAY = "1987-06-05"  # the only full date planted; its digits stand nowhere else
NUMBER = 8765.432198  # planted where no number is kept
TYPES = ("Patient", "Observation", "Endpoint", "Practitioner", MARKER)
DATES = (DAY, f"{DAY}T12:34:56Z", f"{DAY}T23:59:60.123456789-09:30", f"{DAY}T24:00:00", MARKER)
FORMS = (
    "{}/{}", "https://h-{1}.org/{}/{}", "urn:uuid:{1}", "#{1}", "{}/{}/_history/{1}",
    "{}?identifier={}", "{}/{}#x",
)  # fmt: skip
ODD: tuple[Any, ...] = (None, [], {}, "", True, [[]], [None], {"a": {MARKER: MARKER}}, MARKER)


class Generator:
    """Builds from the published element list alone; knows nothing of policies."""

    def __init__(self, seed: int, patient: str = "p1", words: Collection[str] = UNITS) -> None:
        """`words` stand in strings here and there: what may be kept where a unit is meant."""
        self.random = Random(seed)
        self.patient, self.words = patient, sorted(words)
        self.count = 0

    def mark(self) -> str:
        self.count += 1
        return f"{MARKER}{self.count}"

    def resource(self, kind: str) -> dict[str, Any]:
        made = {"resourceType": kind, **self.object(kind, depth=4)}
        for key in ("modifierExtension", "implicitRules"):
            if self.random.random() < 0.95:
                made.pop(key, None)  # each of them refuses the whole resource
        if self.random.random() < 0.8:
            for key in ("subject", "patient"):
                if key in made:
                    made[key] = {"reference": f"Patient/{self.patient}", "display": self.mark()}
        made["id"] = self.patient if kind == "Patient" else self.mark()
        return made

    def object(self, owner: str, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, element in elements_of(owner).items():
            if key == "modifierExtension" and self.random.random() < 0.995:
                continue
            if self.random.random() < 0.6:
                made[key] = self.many(owner, key, element, depth)
            if self.random.random() < 0.05:
                made["_" + key] = self.extension(1)
        if self.random.random() < 0.2:
            made[self.mark()] = self.mark()
        return made

    def many(self, owner: str, key: str, element: Element, depth: int) -> Any:
        if self.random.random() < 0.03:
            return self.random.choice(ODD)
        if not element.is_list or self.random.random() < 0.02:
            return self.value(owner, key, element, depth)
        size = self.random.randrange(3)
        return [self.value(owner, key, element, depth) for _ in range(size)]

    def value(self, owner: str, key: str, element: Element, depth: int) -> Any:
        made = self.primitive(element)
        if made is not None:
            return made
        if element.type == "Extension":
            return self.extension(2)
        if element.type == "Resource":
            return {"resourceType": self.random.choice(TYPES), "id": self.mark(), "x": self.mark()}
        if depth == 0:
            return {self.mark(): self.mark()}
        inner = owner_of(owner, key, element)
        if inner == "Coding":
            return self.coding()
        if inner == "Reference":
            return self.reference()
        return self.object(inner, depth - 1)

    def primitive(self, element: Element) -> Any:
        match element.type:
            case "code":
                codes = sorted(element.codes)
                return self.random.choice([*codes, self.mark()]) if codes else self.mark()
            case "string":
                return self.random.choice([self.mark(), *self.words])
            case "boolean":
                return self.random.choice([True, False, self.mark()])
            case "decimal" | "integer" | "positiveInt" | "unsignedInt":
                return self.random.choice([1, 2.5, 97, self.mark(), float(1 << 60)])
            case "date" | "dateTime" | "instant" | "time":
                return self.random.choice(DATES)
            case kind if kind[0].islower():
                return self.mark()
        return None

    def coding(self) -> dict[str, Any]:
        system, code = self.random.choice(sorted(CODES))
        made = {"system": system, "code": code, "display": self.mark()}
        if self.random.random() < 0.4:
            made[self.random.choice(["system", "code", "version", self.mark()])] = self.mark()
        return made

    def reference(self) -> dict[str, Any]:
        kind = self.random.choice(["Patient", "Observation", "Encounter", "Practitioner", "Device"])
        form = self.random.choice(FORMS)
        identity = self.patient if kind == "Patient" else self.mark()
        text = form.replace("{1}", self.mark()).replace("{}", kind, 1).replace("{}", identity, 1)
        return {"reference": text, "display": self.mark(), "identifier": {"value": self.mark()}}

    def extension(self, depth: int) -> Any:
        urls = [*sorted(KNOWN_EXTENSIONS)[:3], f"http://{self.mark()}"]
        made: dict[str, Any] = {"url": self.random.choice(urls)}
        made |= {"valueString": self.mark(), "valueDecimal": NUMBER, "valueDate": DAY}
        return made | ({"extension": [self.extension(depth - 1)]} if depth else {})
