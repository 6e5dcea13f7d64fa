"""Compile a policy into one table of rules per resource type, built once and shared by threads.

A rule is a function `(value, session) -> kept value or None`. It knows its path from the moment it
is compiled, so that nothing has to be spelled out while records run through: each outcome at each
path is a numbered slot, and counting is one addition into the session's list of counters.

A rule never raises for what a record may hold (wrong types, nulls, lists for objects, DSTU2
shapes): it counts and drops. Only `Refusal` leaves, and it takes the whole resource with it.
"""

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from privacy.elements import IN_SCOPE, KNOWN_EXTENSIONS, SECURITY_LABELS, elements_of
from privacy.geography import area
from privacy.guards import Guards
from privacy.policy import Leaf, Policy, Verdict, require_verdict
from privacy.rarity import parent_of

if TYPE_CHECKING:
    from privacy.deidentify import Session

Rule = Callable[[Any, "Session"], Any]

UCUM = "http://unitsofmeasure.org"
LARGEST = 1e13  # no clinical number is larger; numbers of identifiers and milliseconds may be
CACHE = 1 << 16  # codes and units kept as known; a full cache starts again

KNOWN, GENERALISED = "known-code", "generalised"  # what is done with a code that may be told
AGE, BIRTH = 1, 2  # what a code says about the value beside it

# Years in one unit of time, by UCUM code and by the words that sources write.
_YEARS = {"a": 1.0, "mo": 1 / 12, "wk": 7 / 365.25, "d": 1 / 365.25, "h": 1 / 8766}
_YEARS |= {"min": 1 / 525960, "s": 1 / 31557600}
_WORDS = {"year": "a", "yr": "a", "y": "a", "month": "mo", "week": "wk", "day": "d", "hour": "h"}
YEARS: Mapping[str, float] = (
    _YEARS
    | {f"a_{kind}": 1.0 for kind in "jgt"}
    | {f"mo_{kind}": 1 / 12 for kind in "jgs"}
    | {word + end: _YEARS[code] for word, code in _WORDS.items() for end in ("", "s")}
)


class Refusal(Exception):  # noqa: N818 - not an error: the policy's answer
    """The resource may not be used at all. Carries a path and a reason, never a value."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


class Known(NamedTuple):
    """A coding that the guard knows, as far as it is told, and what it says about the value beside
    it."""

    system: str
    code: str
    special: int
    action: str


class Compiler:
    """Compiles one policy against the caller's guards."""

    def __init__(self, policy: Policy, guards: Guards) -> None:
        self.policy, self.guards = policy, guards
        self.known_code, self.known_unit = guards.known_code, guards.known_unit
        self.slots: list[tuple[str, str, str]] = []
        self._numbers: dict[tuple[str, str, str], int] = {}
        self._codings: dict[tuple[str, str], Known] = {}

    def slot(self, path: str, action: str) -> int:
        """The number under which one outcome at one path is counted."""
        resource_type, _, inner = path.partition(".")
        key = (resource_type, inner, action)
        if key not in self._numbers:
            self._numbers[key] = len(self.slots)
            self.slots.append(key)
        return self._numbers[key]

    def existing_slot(self, path: str, action: str) -> int:
        resource_type, _, inner = path.partition(".")
        return self._numbers[(resource_type, inner, action)]

    def tables(self) -> dict[str, Rule]:
        return {name: self.resource(name) for name in sorted(IN_SCOPE)}

    # Objects --------------------------------------------------------------------------------------

    def resource(self, name: str) -> Rule:
        rules = self.keys(name, name)
        rules["resourceType"] = lambda value, session: value
        rule = self.object(name, rules)
        if name == "Observation":
            rule = self.observed(name, rule)
        if "medicationReference" in elements_of(name):
            rule = self.with_medication(name, rule)
        return rule

    def keys(self, path: str, owner: str) -> dict[str, Rule]:
        rules: dict[str, Rule] = {}
        for key, element in elements_of(owner).items():
            leaf = Leaf(path, owner, key, element)
            rules[key] = self.leaf(leaf, require_verdict(self.policy, leaf))
            rules["_" + key] = self.drop(f"{path}._{key}", "drop:primitive-extension")
        return rules

    def object(self, path: str, rules: Mapping[str, Rule]) -> Rule:
        shape = self.slot(path, "drop:wrong-type")
        unknown = self.slot(f"{path}.*", "drop:unknown-element")
        find = rules.get

        def apply(source: Any, session: "Session") -> Any:
            if type(source) is not dict:
                session.hits[shape] += 1
                return None
            kept = {}
            for key, value in source.items():
                rule = find(key)
                if rule is None:
                    session.hits[unknown] += 1
                else:
                    result = rule(value, session)
                    if result is not None:
                        kept[key] = result
            return kept or None

        return apply

    def each(self, path: str, rule: Rule) -> Rule:
        shape = self.slot(path, "drop:wrong-type")

        def apply(source: Any, session: "Session") -> Any:
            if type(source) is not list:
                session.hits[shape] += 1
                return None
            if len(source) == 1:
                only = rule(source[0], session)
                return None if only is None else [only]
            kept = [result for item in source if (result := rule(item, session)) is not None]
            return kept or None

        return apply

    def leaf(self, leaf: Leaf, verdict: Verdict) -> Rule:
        """The rule of one key; a list where the element repeats."""
        whole = {"drop": self.dropped, "refuse": self.refused, "contained": self.contained}
        if verdict.action in whole:
            return whole[verdict.action](leaf)
        rule = self.one(leaf, verdict.action)
        return self.each(leaf.path, rule) if leaf.element.is_list else rule

    def one(self, leaf: Leaf, action: str) -> Rule:
        path = leaf.path
        match action:
            case "keep":
                return self.complex(leaf)
            case "boolean":
                return self.boolean(path)
            case "number":
                return self.number(path)
            case "code":
                return self.code(path, leaf.element.codes)
            case "pseudonym":
                return self.pseudonym(path)
            case "reference" | "subject" | "about" | "medication":
                return self.reference(leaf, action)
            case "offset":
                return self.offset(path)
            case "age":
                return self.age(leaf)
            case "birth" | "death":
                return self.life(path, action)
            case "labels":
                return self.labels(path)
            case "area" | "area-5":
                return self.area(path, action)
        raise AssertionError(f"{path}: no rule for {action!r}")

    def complex(self, leaf: Leaf) -> Rule:
        owner = leaf.inner_owner
        if owner == "Coding":
            return self.coding(leaf.path)
        if owner == "Quantity":
            return self.quantity(leaf.path)
        if owner == "CodeableConcept":
            return self.concept(leaf.path)
        rule = self.object(leaf.path, self.keys(leaf.path, owner))
        if owner == "ImagingStudy.series":
            return self.with_acquisition(rule)
        return self.observed(leaf.path, rule) if owner == "Observation.component" else rule

    def with_acquisition(self, rule: Rule) -> Rule:
        """Beside what FHIR says of a series stands what the archive says of its acquisition."""

        def apply(source: Any, session: "Session") -> Any:
            kept = rule(source, session)
            found = session.acquisition(source)
            return kept if found is None else {**(kept or {}), "acquisition": found}

        return apply

    # Leaving out ----------------------------------------------------------------------------------

    def drop(self, path: str, action: str) -> Rule:
        number = self.slot(path, action)

        def apply(source: Any, session: "Session") -> None:
            session.hits[number] += 1

        return apply

    def dropped(self, leaf: Leaf) -> Rule:
        return (
            self.extension(leaf.path)
            if leaf.element.type == "Extension"
            else self.drop(leaf.path, "drop")
        )

    def extension(self, path: str) -> Rule:
        """Counted by name where the URL is a public one; any other URL may itself identify."""
        resource_type, _, inner = path.partition(".")

        def apply(source: Any, session: "Session") -> None:
            for item in source if type(source) is list else [source]:
                url = item.get("url") if type(item) is dict else None
                name = KNOWN_EXTENSIONS.get(url) if type(url) is str else None
                session.extensions[(resource_type, inner, f"drop:{name or 'extension'}")] += 1

        return apply

    def refused(self, leaf: Leaf) -> Rule:
        path, empty = leaf.path, self.slot(leaf.path, "drop")

        def apply(source: Any, session: "Session") -> None:
            if source is not None and source != []:
                raise Refusal(path, "refused-element")
            session.hits[empty] += 1

        return apply

    def contained(self, leaf: Leaf) -> Rule:
        number = self.slot(leaf.path, "drop:contained")

        def apply(source: Any, session: "Session") -> None:
            session.hits[number] += len(source) if type(source) is list else 1

        return apply

    # Plain values ---------------------------------------------------------------------------------

    def boolean(self, path: str) -> Rule:
        kept, wrong = self.slot(path, "boolean"), self.slot(path, "drop:wrong-type")

        def apply(source: Any, session: "Session") -> Any:
            if type(source) is bool:
                session.hits[kept] += 1
                return source
            session.hits[wrong] += 1
            return None

        return apply

    def code(self, path: str, codes: frozenset[str]) -> Rule:
        kept, wrong = self.slot(path, "code"), self.slot(path, "drop:wrong-type")

        def apply(source: Any, session: "Session") -> Any:
            if type(source) is str and source in codes:
                session.hits[kept] += 1
                return source
            session.hits[wrong] += 1
            return None

        return apply

    def number(self, path: str) -> Rule:
        kept, wrong = self.slot(path, "number"), self.slot(path, "drop:wrong-type")

        def apply(source: Any, session: "Session") -> Any:
            kind = type(source)
            if (kind is float or kind is int) and -LARGEST < source < LARGEST:  # false for NaN
                session.hits[kept] += 1
                return source
            session.hits[wrong] += 1
            return None

        return apply

    def pseudonym(self, path: str) -> Rule:
        kept, wrong = self.slot(path, "pseudonym"), self.slot(path, "drop:wrong-type")
        resource_type = path.partition(".")[0]

        def apply(source: Any, session: "Session") -> Any:
            if type(source) is not str or not source:
                session.hits[wrong] += 1
                return None
            session.hits[kept] += 1
            return session.pseudonym(resource_type, source)

        return apply

    def offset(self, path: str) -> Rule:
        kept = self.slot(path, "offset")
        reasons = {
            reason: self.slot(path, f"drop:{reason}")
            for reason in ("invalid-date", "placeholder-date", "too-long-ago")
        }

        def apply(source: Any, session: "Session") -> Any:
            found = session.offsets.get(source) if type(source) is str else "invalid-date"
            if found is None:
                found = session.offset(source)
            if type(found) is str:
                session.hits[reasons[found]] += 1
                return None
            session.hits[kept] += 1
            return [found[0], found[1]]

        return apply

    def life(self, path: str, action: str) -> Rule:
        """Counted here; the session, which has read the birth and the death, adds what remains."""
        number = self.slot(path, action)

        def apply(source: Any, session: "Session") -> None:
            session.hits[number] += 1

        return apply

    # References -----------------------------------------------------------------------------------

    def reference(self, leaf: Leaf, action: str) -> Rule:
        path, personal = leaf.path, action in {"subject", "about"}
        kept, shape = self.slot(path, action), self.slot(path, "drop:wrong-type")
        rules = self.reference_rest(leaf)
        unknown = self.slot(f"{path}.*", "drop:unknown-element")
        reasons = {
            reason: self.slot(path, f"drop:{reason}")
            for reason in ("contained", "no-literal", "unresolved", "out-of-scope")
        }

        def apply(source: Any, session: "Session") -> Any:
            if type(source) is not dict:
                session.hits[shape] += 1
                return None
            text = source.get("reference")
            if len(source) > 1 or text is None:
                for key in source:
                    if key != "reference":
                        session.hits[rules.get(key, unknown)] += 1
            found = session.targets.get(text) if type(text) is str else None
            if found is None:
                found = session.reference(text)
            if personal and not found.mine:
                session.require_own(found, path, action)
            if found.text is None:
                session.hits[reasons[found.reason]] += 1
                return None
            session.hits[kept] += 1
            return {"reference": found.text}

        return apply

    def reference_rest(self, leaf: Leaf) -> dict[str, int]:
        keys = elements_of("Reference").keys() - {"reference"}
        plain = {key: self.slot(f"{leaf.path}.{key}", "drop") for key in keys}
        siblings = {
            "_" + key: self.slot(f"{leaf.path}._{key}", "drop:primitive-extension")
            for key in elements_of("Reference")
        }
        return plain | siblings

    def with_medication(self, name: str, rule: Rule) -> Rule:
        """A contained Medication is replaced by its code, judged as Medication.code is."""
        path = f"{name}.medicationReference"
        resolved = self.slot(path, "contained-code")
        leaf = Leaf(name, name, "medicationCodeableConcept", elements_of("Medication")["code"])
        code = self.complex(leaf)

        def apply(source: Any, session: "Session") -> Any:
            kept = rule(source, session)
            if kept is not None and "medicationReference" in source:
                concept = code_of_contained(source)
                found = code(concept, session) if concept is not None else None
                if found is not None:
                    session.hits[resolved] += 1
                    kept["medicationCodeableConcept"] = found
            return kept

        return apply

    # Codes ----------------------------------------------------------------------------------------

    def known(self, system: Any, code: Any) -> Known | None:
        if type(system) is not str or type(code) is not str:
            return None
        found = self._codings.get((system, code))
        if found is None and self.known_code(system, code):
            told = self.told(system, code)
            action = KNOWN if told == code else GENERALISED
            found = Known(system, told, self.special((system, code)), action)
            if len(self._codings) >= CACHE:
                self._codings.clear()
            self._codings[(system, code)] = found
        return found

    def told(self, system: str, code: str) -> str:
        """A code as far as it is told: no finer than matters, and not if few people have it."""
        if not self.policy.codes.generalise:
            return code
        rare = None if self.guards.needed_code(system, code) else parent_of(system, code)
        return rare or self.guards.general_code(system, code)

    def special(self, coding: tuple[str, str]) -> int:
        age = self.policy.age
        return AGE * (coding in age.codes) | BIRTH * (coding in age.birth_codes)

    def coding(self, path: str) -> Rule:
        """System and code together, where the policy keeps both; else nothing of the coding."""
        judged = self.judged(path, "Coding", {"system": "code-system", "code": "known-code"})
        if len(judged) < 2:
            return self.object(path, self.keys_dropped(path, "Coding"))
        rest = self.rest(path, "Coding", judged)
        kept = {action: self.slot(path, action) for action in (KNOWN, GENERALISED)}
        shape, unknown = self.slot(path, "drop:wrong-type"), self.slot(path, "drop:unknown-code")
        display = self.slot(f"{path}.display", "drop")
        known = self.known

        def apply(source: Any, session: "Session") -> Any:
            if type(source) is not dict:
                session.hits[shape] += 1
                return None
            found = known(source.get("system"), source.get("code"))
            if found is None:
                session.hits[unknown] += 1
                rest(source, session)
                return None
            if len(source) == 3 and "display" in source:  # nearly every coding there is
                session.hits[display] += 1
            elif len(source) > 2:
                rest(source, session)
            session.hits[kept[found.action]] += 1
            if found.special:
                session.special |= found.special
            return {"system": found.system, "code": found.code}

        return apply

    def judged(self, path: str, owner: str, wanted: Mapping[str, str]) -> set[str]:
        """The keys that carry the wanted verdict here: a policy may drop any of them."""
        return {
            key for key, action in wanted.items() if self.verdict(path, owner, key).action == action
        }

    def verdict(self, path: str, owner: str, key: str) -> Verdict:
        return require_verdict(self.policy, Leaf(path, owner, key, elements_of(owner)[key]))

    def keys_dropped(self, path: str, owner: str) -> dict[str, Rule]:
        """Every key counted as dropped: of a type whose keys make sense together only."""
        return {key: self.drop(f"{path}.{key}", "drop") for key in elements_of(owner)}

    def rest(self, path: str, owner: str, handled: Collection[str]) -> Rule:
        """Counts everything beside the keys that are handled together; keeps nothing of it."""
        rules: dict[str, Rule] = {}
        for key in elements_of(owner):
            extension = elements_of(owner)[key].type == "Extension"
            here = f"{path}.{key}"
            rules[key] = self.extension(here) if extension else self.drop(here, "drop")
            rules["_" + key] = self.drop(f"{path}._{key}", "drop:primitive-extension")
        for key in handled:
            del rules[key]
        unknown = self.slot(f"{path}.*", "drop:unknown-element")

        def apply(source: Any, session: "Session") -> None:
            for key, value in source.items():
                if key in handled:
                    continue
                rule = rules.get(key)
                if rule is None:
                    session.hits[unknown] += 1
                else:
                    rule(value, session)

        return apply

    def concept(self, path: str) -> Rule:
        """A CodeableConcept of which no coding is left is counted: text alone says nothing here."""
        if self.verdict(path, "CodeableConcept", "coding").action != "keep":
            return self.object(path, self.keys_dropped(path, "CodeableConcept"))
        codings = self.each(f"{path}.coding", self.coding(f"{path}.coding"))
        rest = self.rest(path, "CodeableConcept", {"coding"})
        uncoded, shape = self.slot(path, "drop:uncoded"), self.slot(path, "drop:wrong-type")
        text = self.slot(f"{path}.text", "drop")

        def apply(source: Any, session: "Session") -> Any:
            if type(source) is not dict:
                session.hits[shape] += 1
                return None
            # Nearly every concept there is:
            if len(source) == 2 and "text" in source and "coding" in source:
                session.hits[text] += 1
            elif len(source) > 1:
                rest(source, session)
            kept = codings(source["coding"], session) if "coding" in source else None
            if kept is None:
                session.hits[uncoded] += 1
                return None
            return {"coding": kept}

        return apply

    def labels(self, path: str) -> Rule:
        kept, other = self.slot(path, "labels"), self.slot(path, "drop:unknown-code")

        def apply(source: Any, session: "Session") -> Any:
            pair = label(source)
            if pair not in SECURITY_LABELS:
                session.hits[other] += 1
                return None
            session.hits[kept] += 1
            session.labels[pair] += 1
            return {"system": pair[0], "code": pair[1]}

        return apply

    def area(self, path: str, action: str) -> Rule:
        kept, other = self.slot(path, action), self.slot(path, "drop:not-in-the-us")

        def apply(source: Any, session: "Session") -> Any:
            found = area(source, whole_zip=action == "area-5")
            session.hits[other if found is None else kept] += 1
            return found

        return apply

    # Quantities and ages --------------------------------------------------------------------------

    def quantity(self, path: str) -> Rule:
        value_of = self.quantity_key(path, "value")
        comparator_of = self.quantity_key(path, "comparator")
        handled = {"value", "comparator", "unit", "system", "code"}
        rest = self.rest(path, "Quantity", handled)
        shape = self.slot(path, "drop:wrong-type")
        unit_of = self.unit(path)
        topped, top = self.slot(path, "top-coded"), self.policy.age.top

        def apply(source: Any, session: "Session") -> Any:
            if type(source) is not dict:
                session.hits[shape] += 1
                return None
            kept: dict[str, Any] = {}
            handled_here = 0
            if "value" in source:
                handled_here = 1
                value = value_of(source["value"], session)
                if value is not None:
                    kept["value"] = value
            if "comparator" in source:
                handled_here += 1
                comparator = comparator_of(source["comparator"], session)
                if comparator is None:
                    return None  # "<5" without its "<" would be another value
                kept["comparator"] = comparator
            years, present = unit_of(source, session, kept)
            if handled_here + present < len(source):
                rest(source, session)
            if years and "value" in kept and kept["value"] * years >= top:
                session.hits[topped] += 1
                censored = "comparator" in kept  # "<97 years" is not "90 or older"
                return None if censored else {"value": top, "system": UCUM, "code": "a"}
            return kept or None

        return apply

    def quantity_key(self, path: str, key: str) -> Rule:
        leaf = Leaf(path, "Quantity", key, elements_of("Quantity")[key])
        return self.leaf(leaf, require_verdict(self.policy, leaf))

    def unit(self, path: str) -> Callable[[Any, "Session", dict[str, Any]], tuple[float, int]]:
        """Unit, system and code of a quantity together: years in one unit of time, keys present."""
        kept_unit, bad_unit = (
            self.slot(f"{path}.unit", "unit"),
            self.slot(f"{path}.unit", "drop:unknown-unit"),
        )
        kept_code = self.slot(f"{path}.code", "unit-code")
        bad_code = self.slot(f"{path}.code", "drop:unknown-unit")
        judge = self.unit_judge(path)
        cache: dict[tuple[Any, Any, Any], tuple[dict[str, str], float]] = {}

        def apply(source: Any, session: "Session", kept: dict[str, Any]) -> tuple[float, int]:
            unit, system, code = source.get("unit"), source.get("system"), source.get("code")
            try:
                found = cache.get((unit, system, code))
            except TypeError:  # a list or an object where a string belongs
                found = None
            if found is None:
                found = judge(unit, system, code)
                if len(found[0]) == 3 and len(cache) < CACHE:  # only what is known in full is held
                    cache[(unit, system, code)] = found
            parts, years = found
            present = 0
            if "unit" in source:
                present = 1
                session.hits[kept_unit if "unit" in parts else bad_unit] += 1
            if "code" in source:
                present += 1
                session.hits[kept_code if "code" in parts else bad_code] += 1
            if "system" in source:
                present += 1
            kept.update(parts)
            return years, present

        return apply

    def unit_judge(self, path: str) -> Callable[[Any, Any, Any], tuple[dict[str, str], float]]:
        """What stays of a quantity's unit, system and code; years in one unit of time."""
        known_unit, known_code = self.known_unit, self.known_code
        wanted = {"unit": "unit", "system": "unit-system", "code": "unit-code"}
        judged = self.judged(path, "Quantity", wanted)
        coded = {"system", "code"} <= judged

        def judge(unit: Any, system: Any, code: Any) -> tuple[dict[str, str], float]:
            found: dict[str, str] = {}
            if type(unit) is str and "unit" in judged and known_unit(unit):
                found["unit"] = unit
            both = coded and type(system) is str and type(code) is str
            if both and (known_unit(code) if system == UCUM else known_code(system, code)):
                found |= {"system": system, "code": code}
            word = found.get("code") or (unit.strip().lower() if type(unit) is str else "")
            return found, YEARS.get(word, 0.0)

        return judge

    def age(self, leaf: Leaf) -> Rule:
        """Completed years. With any date beside it, the age of somebody over the top tells more."""
        path, top = leaf.path, self.policy.age.top
        own = not path.startswith("FamilyMemberHistory.")
        kept, wrong = self.slot(path, "age"), self.slot(path, "drop:wrong-type")
        hidden = self.slot(path, "drop:too-long-ago")

        def apply(source: Any, session: "Session") -> Any:
            years = years_of(source)
            if years is None:
                session.hits[wrong] += 1
                return None
            if own and session.top_coded:
                session.hits[hidden] += 1
                return None
            session.hits[kept] += 1
            return min(years, top)

        return apply

    def observed(self, path: str, rule: Rule) -> Rule:
        """An observed age is top-coded whatever its unit; an observed birth date has no value."""
        hidden, topped = (
            self.slot(f"{path}.value[x]", "drop:age"),
            self.slot(f"{path}.value[x]", "top-coded"),
        )
        top = self.policy.age.top

        def apply(source: Any, session: "Session") -> Any:
            outer, session.special = session.special, 0
            kept = rule(source, session)
            special, session.special = session.special, outer
            if not special or kept is None:
                return kept
            for key in [key for key in kept if key.startswith("value")]:
                value = kept.pop(key)
                shown = None if special & BIRTH or session.top_coded else top_age(value, top)
                if shown is None:
                    session.hits[hidden] += 1
                    continue
                session.hits[topped] += shown != value
                kept[key] = shown
            return kept

        return apply


def is_number(value: Any) -> bool:
    """Comparisons with NaN are false, and both infinities are larger than LARGEST."""
    return (type(value) is float or type(value) is int) and -LARGEST < value < LARGEST


def top_age(value: Any, top: int) -> Any:
    """An observed age, top-coded; None for what is no number. Without a unit, years are meant."""
    if type(value) is int:
        return min(value, top)
    number = value.get("value") if type(value) is dict else None
    if number is None:
        return None
    if "code" in value or "unit" in value or number < top:
        return value  # the quantity rule has top-coded it in its unit
    return {"value": top, "system": UCUM, "code": "a"}


def label(source: Any) -> tuple[str, str]:
    if type(source) is not dict:
        return "", ""
    system, code = source.get("system"), source.get("code")
    return (system, code) if type(system) is str and type(code) is str else ("", "")


def years_of(source: Any) -> int | None:
    """Completed years of an Age; None for what is not a plain age in a unit of time."""
    if type(source) is not dict or source.get("comparator") is not None:
        return None
    value: Any = source.get("value")
    code, unit = source.get("code"), source.get("unit")
    if not is_number(value) or value < 0:
        return None
    factor = YEARS.get(code, 0.0) if type(code) is str else 0.0
    if not factor and type(unit) is str:
        factor = YEARS.get(unit.strip().lower(), 0.0)
    return int(value * factor + 1e-9) if factor else None


def code_of_contained(source: dict[str, Any]) -> Any:
    """The code of the contained Medication that the medicationReference points at."""
    reference, contained = source["medicationReference"], source.get("contained")
    target = reference.get("reference") if type(reference) is dict else None
    if type(target) is not str or not target.startswith("#") or type(contained) is not list:
        return None
    found = [
        item
        for item in contained
        if type(item) is dict
        and item.get("resourceType") == "Medication"
        and item.get("id") == target[1:]
        and not item.get("modifierExtension")
        and item.get("implicitRules") is None
    ]
    return found[0].get("code") if len(found) == 1 else None
