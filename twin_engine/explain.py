"""Where every value of one concept comes from, and what the state makes of it. Pure data.

`explain(document, "potassium")` → every value back to its source, how its unit was converted, what
was set aside and by which rule, how complete the record is there, and what models get to see. The
same for a condition group, a medicine class, a procedure group and what a vaccine is against. Names
that are two things (a condition group and a procedure group) have two explanations: see `kinds`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from mappings import vocabulary
from twin_engine.document.lineage import entries, rows, source_ids, source_types
from twin_engine.document.terms import OTHER_UNIT
from twin_engine.now import Now, value_now
from twin_engine.state import (
    CONDITION_SLICES,
    IMMUNIZATION_SLICES,
    MEDICATION_SLICES,
    NOT_FINAL,
    OBSERVATION_SLICES,
    PROCEDURE_SLICES,
    UNITS_PER_DAY,
    CodedReading,
    Missing,
    Presence,
    Reading,
    State,
    Usual,
)

Json: TypeAlias = dict[str, Any]
Kind: TypeAlias = Literal[
    "number", "answer", "condition", "medication", "procedure", "immunization"
]
# latest: what the state answers with; earlier: usable, and older; the others say why not.
Use: TypeAlias = Literal["latest", "earlier", "censored", "not-final", "after-now", "after-death"]

NEAR = 5  # names offered for one that is not ours
_PARTS: Mapping[str, str] = {
    "condition": "conditions",
    "medication": "medications",
    "procedure": "procedures",
    "immunization": "immunizations",
}
_STARTS = ("onset", "start", "t")
_SLICES: Mapping[str, tuple[str, ...]] = {
    "number": OBSERVATION_SLICES,
    "answer": OBSERVATION_SLICES,
    "condition": CONDITION_SLICES,
    "medication": MEDICATION_SLICES,
    "procedure": PROCEDURE_SLICES,
    "immunization": IMMUNIZATION_SLICES,
}


class UnknownConceptError(LookupError):
    """The name is none of the vocabulary's. `near` are names that look like it."""

    def __init__(self, near: tuple[str, ...]) -> None:
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        super().__init__(f"no such concept{hint}")
        self.near = near


class Source(NamedTuple):
    """Which fact: the pseudonym of its source, what the source is, its position in the twin."""

    id: str
    type: str
    position: int


class Conversion(NamedTuple):
    """canonical value = value as it came * factor + offset, rounded to so many decimals."""

    arrived: str
    ucum: str
    factor: float
    offset: float
    decimals: int
    source: str


class Value(NamedTuple):
    """One number or answer."""

    source: Source
    value: float | str
    t: int
    days_ago: float
    precision: str
    comparator: str
    status: str
    origin: str
    use: Use
    conversion: Conversion | None = None
    arrived: str = ""  # the unit it came in, where that was another; `other`: not kept
    flag: str = ""  # what the source called it
    range: Mapping[str, float] | None = None  # the reference range that stood beside it
    site: str = ""  # our label of the body site
    method: str = ""  # our label of how it was measured


class Entry(NamedTuple):
    """One diagnosis, medicine or procedure; `fact` is the entry as the twin holds it."""

    source: Source
    t: int | None
    days_ago: float | None
    standing: str
    fact: Mapping[str, Any]


class Aside(NamedTuple):
    """One value that was read and not used, and the rule that says so."""

    source: Source
    t: int | None
    days_ago: float | None
    rule: str
    sentence: str


class Reader(NamedTuple):
    """A model that reads this concept. `fresh`: the latest value lies inside its window."""

    model: str
    version: str
    input: str
    window_days: int | None
    fresh: bool | None
    used: bool  # an assessment in this document rests on it


class Explanation(NamedTuple):
    kind: Kind
    name: str
    label: str
    unit: str
    now: int
    time_unit: str
    values: tuple[Value, ...]
    entries: tuple[Entry, ...]
    set_aside: tuple[Aside, ...]
    conflicts: tuple[Mapping[str, Any], ...]
    slices: tuple[Mapping[str, Any], ...]
    latest: Reading | CodedReading | Missing | None
    usual: Usual | Missing | None
    course: Now | None  # of a number: how sure, what changed, trend
    presence: Presence | None
    readers: tuple[Reader, ...]

    def as_dict(self) -> Json:
        """JSON-ready, keys in camelCase, without what is empty."""
        made: Json = _plain(self)
        return made


class ReadingModel(Protocol):
    """What is asked of a model here: what it reads."""

    id: str
    version: str

    @property
    def inputs(self) -> Mapping[str, Any]: ...


def names() -> dict[Kind, tuple[str, ...]]:
    """Everything that can be explained, by what it is."""
    return {
        "number": tuple(concept.id for concept in vocabulary.concepts()),
        "answer": tuple(vocabulary.coded_answers()),
        "condition": tuple(vocabulary.condition_labels()),
        "medication": tuple(vocabulary.medication_labels()),
        "procedure": tuple(vocabulary.procedure_labels()),
        "immunization": tuple(vocabulary.vaccine_labels()),
    }


def kinds(name: str) -> tuple[Kind, ...]:
    """What a name stands for; UnknownConceptError for one that is not ours."""
    known = names()
    found = tuple(kind for kind, listed in known.items() if name in listed)
    if not found:
        raise UnknownConceptError(_near(name, known))
    return found


def explain(
    document: Mapping[str, Any],
    name: str,
    kind: Kind | None = None,
    models: Iterable[ReadingModel] = (),
) -> Explanation:
    """Everything this twin says about one concept."""
    chosen = kind or kinds(name)[0]
    return _Explainer(document, name, chosen).explanation(tuple(models))


class _Explainer:
    """One document, one concept."""

    def __init__(self, document: Mapping[str, Any], name: str, kind: Kind) -> None:
        self._document, self._name, self._kind = document, name, kind
        self._state = State(document)
        self._types = source_types(document)
        self._ids = source_ids(document)

    def explanation(self, models: tuple[ReadingModel, ...]) -> Explanation:
        state, numeric = self._state, self._kind == "number"
        course = value_now(state, self._name) if numeric else None
        latest = course.latest if course else self._coded()
        return Explanation(
            kind=self._kind,
            name=self._name,
            label=label(self._kind, self._name),
            unit=vocabulary.concept(self._name).unit if numeric else "",
            now=state.now,
            time_unit=state.time_unit,
            values=tuple(self._values(latest)),
            entries=tuple(self._entries()),
            set_aside=tuple(self._aside()),
            conflicts=self._of_quality("conflicts"),
            slices=self._slices(),
            latest=latest,
            usual=course and course.usual,
            course=course,
            presence=self._presence(),
            readers=tuple(self._readers(models)),
        )

    # -- what the state says -----------------------------------------------------------------------

    def _coded(self) -> CodedReading | Missing | None:
        return self._state.coded(self._name) if self._kind == "answer" else None

    def _presence(self) -> Presence | None:
        ask: dict[str, Callable[..., Presence]] = {
            "condition": self._state.condition,
            "medication": self._state.medication,
            "procedure": self._state.procedure,
            "immunization": self._state.immunization,
        }
        return ask[self._kind](self._name) if self._kind in ask else None

    # -- facts ---------------------------------------------------------------------------------

    def _source(self, position: int) -> Source:
        pseudonym = self._ids[position]
        return Source(pseudonym, self._types[pseudonym], position)

    def _days_ago(self, t: int | None) -> float | None:
        if t is None:
            return None
        days = (self._state.now - t) / UNITS_PER_DAY[self._state.time_unit]
        return int(days) if days == int(days) else round(days, 3)

    def _values(self, latest: Reading | CodedReading | Missing | None) -> Iterator[Value]:
        """Newest first."""
        part = {"number": "signals", "answer": "coded"}.get(self._kind)
        column = self._document[part].get(self._name) if part else None
        for position, fact in reversed(list(rows(column)) if column else []):
            source = self._source(position)
            yield Value(
                source=source,
                value=fact["v"] if "v" in fact else fact["code"],
                t=fact["t"],
                days_ago=self._days_ago(fact["t"]) or 0,
                precision=fact.get("precision", "day"),
                comparator=fact.get("comparator", ""),
                status=fact.get("status", "final"),
                origin=fact.get("origin", "measured") if "v" in fact else "",
                use=self._use(fact, latest),
                conversion=_conversion(self._name, fact["from"]) if "from" in fact else None,
                arrived=fact.get("from", ""),
                flag=fact.get("flag", ""),
                range=fact.get("range"),
                site=vocabulary.body_site_labels().get(fact.get("site", ""), ""),
                method=vocabulary.method_labels().get(fact.get("method", ""), ""),
            )

    def _use(self, fact: Mapping[str, Any], latest: Reading | CodedReading | Missing | None) -> Use:
        state = self._state
        if fact["t"] > state.now:
            return "after-now"
        if fact["t"] > state.last_moment:
            return "after-death"
        if fact.get("status") in NOT_FINAL:
            return "not-final"
        if fact.get("comparator"):
            return "censored"
        answered = isinstance(latest, Reading | CodedReading) and latest.t == fact["t"]
        return "latest" if answered else "earlier"

    def _entries(self) -> Iterator[Entry]:
        part = _PARTS.get(self._kind)
        for entry in entries(self._document, part) if part else ():
            if self._name in _names(entry):
                start = next((entry[key] for key in _STARTS if key in entry), None)
                yield Entry(
                    self._source(entry["src"]),
                    start,
                    self._days_ago(start),
                    self._state.standing(str(part), entry),
                    {key: value for key, value in entry.items() if key != "src"},
                )

    def _aside(self) -> Iterator[Aside]:
        sentences = vocabulary.rules()
        for entry in self._of_quality("setAside"):
            t = entry.get("t")
            yield Aside(
                self._source(entry["src"]),
                t,
                self._days_ago(t),
                entry["rule"],
                sentences[entry["rule"]].sentence,
            )

    def _of_quality(self, part: str) -> tuple[Mapping[str, Any], ...]:
        listed = self._document["quality"][part]
        return tuple(entry for entry in listed if entry.get("concept") == self._name)

    def _slices(self) -> tuple[Mapping[str, Any], ...]:
        wanted = _SLICES[self._kind]
        listed = self._document["completeness"]["slices"]
        return tuple(part for part in listed if part["type"] in wanted)

    # -- who reads it --------------------------------------------------------------------------

    def _readers(self, models: tuple[ReadingModel, ...]) -> Iterator[Reader]:
        for model in models:
            for name, declared in model.inputs.items():
                if any(self._reads(source) for source in declared.sources):
                    window = declared.window_days
                    yield Reader(
                        model.id,
                        model.version,
                        name,
                        window,
                        self._fresh(window),
                        self._rests_on(model.id, name),
                    )

    def _reads(self, source: Mapping[str, Any]) -> bool:
        if self._kind == "number":
            return bool(source.get("concept") == self._name)
        if self._kind == "answer":
            return bool(source.get("coded") == self._name)
        return self._name in source.get(self._kind, ())

    def _fresh(self, window: int | None) -> bool | None:
        if self._kind == "number":
            return isinstance(self._state.latest(self._name, window), Reading)
        if self._kind == "answer":
            return isinstance(self._state.coded(self._name, window), CodedReading)
        return None

    def _rests_on(self, model: str, name: str) -> bool:
        return any(
            used["input"] == name
            for assessment in self._document["assessments"]
            if assessment["model"]["id"] == model and assessment["answer"] != "refused"
            for used in assessment["inputs"]
        )


# --------------------------------------------------------------------------------------------------


def label(kind: Kind, name: str) -> str:
    """What a concept is called, in the words of the vocabulary."""
    if kind == "number":
        return vocabulary.concept(name).label
    if kind == "answer":
        return name.replace("-", " ").capitalize()
    labels = {
        "condition": vocabulary.condition_labels,
        "medication": vocabulary.medication_labels,
        "procedure": vocabulary.procedure_labels,
        "immunization": vocabulary.vaccine_labels,
    }
    return labels[kind]()[name]


def _names(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """What an entry is found under: its group, its classes, what a vaccine is against."""
    group = (entry["group"],) if "group" in entry else ()
    return (*group, *entry.get("classes", ()), *entry.get("against", ()))


def _conversion(concept: str, arrived: str) -> Conversion | None:
    """The rule of the installed vocabulary; None where the unit's spelling was not kept."""
    rule = None if arrived == OTHER_UNIT else vocabulary.unit_rule(concept, arrived)
    if rule is None:
        return None
    places = vocabulary.decimals(concept)
    return Conversion(arrived, rule.ucum, rule.factor, rule.offset, places, rule.source)


def _near(name: str, known: Mapping[Kind, tuple[str, ...]]) -> tuple[str, ...]:
    """Names spelled nearly so, then names that share a word with it."""
    asked = "-".join(re.findall(r"[a-z0-9]+", name.lower()))
    everything = sorted({one for listed in known.values() for one in listed})
    close = get_close_matches(asked, everything, NEAR)
    words = {word for word in asked.split("-") if len(word) > 2}
    sharing = (one for one in everything if words & set(one.split("-")))
    return tuple(dict.fromkeys([*close, *sharing]))[:NEAR]


def _plain(value: Any) -> Any:
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        fields = value._asdict().items()
        kept = ((name, item) for name, item in fields if item not in (None, "", ()))
        return {_camel(name): _plain(item) for name, item in kept}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)
