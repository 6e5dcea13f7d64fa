"""The state of one twin at its `now`: the single place models read from.

Every answer names the sources it rests on, and an answer that cannot be given says why. Three rules
hold throughout:

- nothing dated after `now`, or after death, is used;
- a censored, preliminary or set-aside value is never turned into a number;
- absence means "no" only where the slices it would have come from are complete.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import repeat, takewhile
from typing import Any, Literal, NamedTuple, TypeAlias

MissingReason: TypeAlias = Literal[
    "never-recorded", "stale", "censored", "set-aside", "slice-incomplete"
]
PresenceReason: TypeAlias = Literal[
    "recorded",  # a current fact exists
    "not-current",  # only resolved or ended facts, and the slices are complete
    "declared-absent",  # the slices are complete and hold none
    "unconfirmed",  # suspected, provisional or of unknown status: neither yes nor no
    "unreadable",  # an item of this kind has no code we can read: it may be what is asked for
    "slice-incomplete",  # nothing current seen, but not everything was seen
]
Verdict: TypeAlias = Literal["complete", "partial", "unknown"]

# A time known to the month or year lies somewhere in it; a reading counts as old as it can be.
OLDER_BY_DAYS = {"minute": 0, "day": 0, "month": 31, "year": 366}
UNITS_PER_DAY = {"d": 1, "min": 1440}
NOT_OFFERED = "not-supported"
NOT_FINAL = frozenset({"preliminary", "registered", "unknown"})

CONDITION_PAST = frozenset({"inactive", "remission", "resolved"})
CONDITION_DOUBTFUL = frozenset({"unconfirmed", "provisional", "differential"})
STUDY_NEVER = frozenset({"cancelled", "registered"})  # registered: nothing was imaged yet
MEDICATION_NEVER = frozenset({"not-taken", "cancelled", "draft", "intended"})
PROCEDURE_DONE = frozenset({"completed", "in-progress"})
PROCEDURE_NEVER = frozenset({"not-done", "preparation"})

OBSERVATION_SLICES = ("Observation",)
CONDITION_SLICES = ("Condition",)
MEDICATION_SLICES = ("MedicationRequest", "MedicationStatement")
MEDICATION_TYPES = {"request": "MedicationRequest", "statement": "MedicationStatement"}
PROCEDURE_SLICES = ("Procedure",)
IMMUNIZATION_SLICES = ("Immunization",)
INDIRECT_SLICES = frozenset({"ImagingMetadata"})
"""Slices that no fact comes in and no absence rests on: how an image was acquired."""
FAMILY_SLICES = ("FamilyMemberHistory",)


class Reading(NamedTuple):
    """One number. `n` > 1: the mean of several readings of the same moment (see `State.latest`)."""

    concept: str
    value: float
    unit: str
    t: int
    age_days: int
    sources: tuple[int, ...]
    comparator: str = ""
    origin: str = "measured"
    status: str = "final"
    precision: str = "day"
    n: int = 1


class Usual(NamedTuple):
    """The mean of the daily means within a window: `n` days, `sd` between them (None below two)."""

    concept: str
    value: float
    unit: str
    n: int
    sd: float | None
    t: int  # of the newest reading in it
    age_days: int
    sources: tuple[int, ...]
    censored: int  # readings in the window that could not take part


class CodedReading(NamedTuple):
    """One answer out of a closed list."""

    concept: str
    code: str
    t: int
    age_days: int
    sources: tuple[int, ...]
    status: str = "final"
    precision: str = "day"


class GenotypeReading(NamedTuple):
    """What the record says of one gene. Germline: it does not age, and all records must agree."""

    gene: str
    diplotype: tuple[str, ...]  # two allele names, or none
    phenotype: str  # as reported; "" where only the diplotype is
    t: int | None
    sources: tuple[int, ...]


class Study(NamedTuple):
    """One imaging study. `series` are as in the document; `measurements` are usable numbers only.

    A parameter of a series that is not there is not known: it was not asked for, or not told.
    """

    modalities: tuple[str, ...]
    t: int
    age_days: int
    precision: str
    series: tuple[Mapping[str, Any], ...]
    measurements: tuple[Reading, ...]
    sources: tuple[int, ...]


class Missing(NamedTuple):
    """Why there is no value. `newest` is the newest reading that exists but could not be used."""

    concept: str
    reason: MissingReason
    newest: Reading | CodedReading | None = None
    verdict: Verdict = "unknown"  # of the slice the value would have come from


class Presence(NamedTuple):
    """Whether a condition, medication or procedure is there; None where that cannot be known.

    `value` speaks of now, `ever` of the whole record. `sources` are those of the current facts
    when `value` is true, otherwise those of all facts the answer rests on. `since` is the earliest
    known start among the same facts.
    """

    value: bool | None
    ever: bool | None
    reason: PresenceReason
    sources: tuple[int, ...] = ()
    since: int | None = None


class _Sorted(NamedTuple):
    """The entries of one group, by what they say about now."""

    current: list[Mapping[str, Any]]
    past: list[Mapping[str, Any]]
    doubtful: list[Mapping[str, Any]]


# What one entry says about now; `never`: that it is not, and was not, so (refuted, not done).
Standing: TypeAlias = Literal["current", "past", "doubtful", "never"]


class State:
    """A read-only view of one twin document. Build it once per twin; it caches what it derives."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        twin, subject = document["twin"], document["subject"]
        self.document = document
        self.now: int = twin["now"]
        self.time_unit: str = twin["timeUnit"]
        self.sex: str = subject["sex"]
        self.age: int | None = subject.get("age")
        self.age_top_coded: bool = subject.get("ageTopCoded", False)
        self.deceased: bool = subject.get("deceased", False)
        self.deceased_at: int | None = subject.get("deceasedAt")
        self._per_day = UNITS_PER_DAY[self.time_unit]
        self.last_moment: int = self._last_moment_by(subject.get("deceasedPrecision", "day"))
        slices = document["completeness"]["slices"]
        self._verdicts = _verdicts(slices)
        self._not_offered = {part["type"] for part in slices} - self._verdicts.keys()
        self._unread = _unread(document["quality"]["unmapped"])
        self._signals: dict[str, tuple[Reading, ...]] = {}
        self._answers: dict[str, tuple[CodedReading, ...]] = {}
        self._latest: dict[tuple[str, int | None], Reading | Missing] = {}
        self._present: dict[tuple[str, ...], Presence] = {}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "State":
        return cls(document)

    @cached_property
    def source_ids(self) -> list[str]:
        """The pseudonyms of all sources, by the number that facts name them with."""
        return [name for row in self.document["sources"] for name in row["ids"]]

    # -- numbers ------------------------------------------------------------------------------

    def latest(self, concept: str, within_days: int | None = None) -> Reading | Missing:
        """The newest usable number, or why there is none.

        Readings of the same moment (the same day, where a twin counts days) have no order among
        them: their mean is the answer, with all their sources. A newest reading that is censored
        is not passed over for an older number, which would no longer be true.
        """
        asked = (concept, within_days)
        if asked not in self._latest:
            self._latest[asked] = self._newest(concept, within_days)
        return self._latest[asked]

    def _newest(self, concept: str, within_days: int | None) -> Reading | Missing:
        usable = self._usable(concept, within_days)
        first = next(usable, None)
        if first is None:
            return self._missing(concept, within_days)
        newest = [first, *takewhile(lambda reading: reading.t == first.t, usable)]
        exact = [reading for reading in newest if not reading.comparator]
        if not exact:
            return Missing(concept, "censored", newest[0], self.completeness("Observation"))
        return _merge(exact)

    def readings(
        self, concept: str, within_days: int | None = None, *, preliminary: bool = False
    ) -> tuple[Reading, ...]:
        """All readings, newest first, censored ones included; preliminary ones only when asked."""
        return tuple(self._usable(concept, within_days, preliminary=preliminary))

    def _usable(
        self, concept: str, within_days: int | None, *, preliminary: bool = False
    ) -> Iterator[Reading]:
        """The same, one after the other: who wants the newest need not have all judged."""
        found = self._signals.get(concept)
        if found is None:
            found = self._signals[concept] = self._read_signal(concept)
        return (
            reading
            for reading in found
            if self._within(reading.t, within_days, reading.precision)
            and (preliminary or reading.status not in NOT_FINAL)
        )

    def usual(self, concept: str, within_days: int) -> Usual | Missing:
        """The usual level: each day counts once, however often it was measured that day."""
        found = self.readings(concept, within_days)
        exact = [reading for reading in found if not reading.comparator]
        if not exact:
            missing = self.latest(concept, within_days)
            assert isinstance(missing, Missing)
            return missing
        days = list(self.by_day(exact).values())
        return _usual(exact, days, censored=len(found) - len(exact))

    def dated(self, concept: str, within_days: int | None = None) -> tuple[Reading, ...]:
        """Exact numbers known to the day: a month cannot be put in order among days."""
        found = self.readings(concept, within_days)
        return tuple(r for r in found if not r.comparator and not OLDER_BY_DAYS[r.precision])

    def by_day(self, readings: Iterable[Reading]) -> dict[int, float]:
        """The mean of each day (counted from the epoch), in the order of the readings."""
        days: dict[int, list[float]] = {}
        for reading in readings:
            days.setdefault(reading.t // self._per_day, []).append(reading.value)
        return {day: sum(values) / len(values) for day, values in days.items()}

    # -- coded answers ------------------------------------------------------------------------

    def coded(self, concept: str, within_days: int | None = None) -> CodedReading | Missing:
        """The newest answer. Different answers of the same moment contradict: none is used."""
        found = [
            answer
            for answer in self.answers(concept)
            if self._within(answer.t, within_days, answer.precision)
            and answer.status not in NOT_FINAL
        ]
        if not found:
            return self._missing(concept, within_days)
        newest = [answer for answer in found if answer.t == found[0].t]
        if len({answer.code for answer in newest}) > 1:
            return Missing(concept, "set-aside", newest[0], self.completeness("Observation"))
        return newest[0]._replace(sources=_sources(newest))

    def answers(self, concept: str) -> tuple[CodedReading, ...]:
        """All coded answers up to now, newest first."""
        found = self._answers.get(concept)
        if found is None:
            found = self._answers[concept] = self._read_coded(concept)
        return found

    # -- genes --------------------------------------------------------------------------------

    def genotype(self, gene: str) -> GenotypeReading | Missing:
        """Diplotype and phenotype of a gene. Two records that differ contradict: none is used."""
        found = [
            entry
            for entry in self.document["genomics"]
            if entry["gene"] == gene
            and entry.get("t", self.now) <= self.last_moment
            and entry.get("status", "final") not in NOT_FINAL
        ]
        verdict = self.completeness("Observation")
        if not found:
            other = any(entry["gene"] == gene for entry in self.document["genomics"])
            reason: MissingReason = "set-aside" if other else "never-recorded"
            if not other and verdict != "complete":
                reason = "slice-incomplete"
            return Missing(gene, reason, None, verdict)
        pairs = {tuple(entry["diplotype"]) for entry in found if "diplotype" in entry}
        words = {entry["phenotype"] for entry in found if "phenotype" in entry}
        if len(pairs) > 1 or len(words) > 1:
            return Missing(gene, "set-aside", None, verdict)
        times = [entry["t"] for entry in found if "t" in entry]
        sources = tuple(sorted({entry["src"] for entry in found}))
        pair, word = next(iter(pairs), ()), next(iter(words), "")
        return GenotypeReading(gene, pair, word, max(times, default=None), sources)

    # -- imaging ------------------------------------------------------------------------------

    def studies(self, *modalities: str, within_days: int | None = None) -> tuple[Study, ...]:
        """Dated imaging studies up to now (of any of these modalities), newest first."""
        wanted = set(modalities)
        found = [
            self._study(entry)
            for entry in self.document["imaging"]
            if entry.get("t", self.last_moment + 1) <= self.last_moment
            and (not wanted or not wanted.isdisjoint(entry.get("modalities", ())))
            and entry["status"] not in STUDY_NEVER
        ]
        kept = (s for s in found if self._within(s.t, within_days, s.precision))
        return tuple(sorted(kept, key=lambda study: -study.t))

    # -- presence -----------------------------------------------------------------------------

    def condition(self, *groups: str) -> Presence:
        """Whether a diagnosis of any of these groups is current. Refuted ones never count."""
        return self._once("condition", groups, self._condition)

    def _condition(self, groups: tuple[str, ...]) -> Presence:
        entries = _of(self.document["conditions"], "group", groups)
        return self._presence(entries, self._condition_standing, "onset", CONDITION_SLICES)

    def medication(self, *classes: str) -> Presence:
        """Whether a medicine of any of these classes is being taken or prescribed."""
        return self._once("medication", classes, self._medication)

    def _medication(self, classes: tuple[str, ...]) -> Presence:
        wanted = set(classes)
        entries = (
            entry
            for entry in self.document["medications"]
            if not wanted.isdisjoint(entry.get("classes", ()))
        )
        return self._presence(entries, self._medication_standing, "start", MEDICATION_SLICES)

    def procedure(self, *groups: str) -> Presence:
        """Whether a procedure of any of these groups was done. `value` and `ever` are the same."""
        return self._once("procedure", groups, self._procedure)

    def _procedure(self, groups: tuple[str, ...]) -> Presence:
        entries = _of(self.document["procedures"], "group", groups)
        return self._presence(entries, self._procedure_standing, "start", PROCEDURE_SLICES)

    def family(self, group: str, relationships: Iterable[str] | None = None) -> Presence:
        """Whether a relative (of the relationships given) has or had a condition of the group."""
        wanted = None if relationships is None else set(relationships)
        entries = (
            entry
            for entry in _of(self.document["family"], "group", (group,))
            if wanted is None or entry["relationship"] in wanted
        )
        return self._presence(entries, lambda _: "current", "", FAMILY_SLICES)

    def immunization(self, *against: str) -> Presence:
        """Whether a vaccine against any of these was given, up to now. `value` and `ever` are the
        same: whether it still protects is nothing that a record says."""
        return self._once("immunization", against, self._immunization)

    def _immunization(self, against: tuple[str, ...]) -> Presence:
        wanted = set(against)
        entries = (e for e in self._doses() if not wanted.isdisjoint(e.get("against", ())))
        return self._presence(entries, _immunization_standing, "t", IMMUNIZATION_SLICES)

    def _doses(self) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self.document.get("immunizations", ())
        return found

    def standing(self, part: str, entry: Mapping[str, Any]) -> Standing:
        """What one entry of a part (`conditions`, `medications` ...) says about now."""
        judges: dict[str, Callable[[Mapping[str, Any]], Standing]] = {
            "conditions": self._condition_standing,
            "medications": self._medication_standing,
            "procedures": self._procedure_standing,
            "immunizations": _immunization_standing,
        }
        return judges[part](entry)

    # -- completeness -------------------------------------------------------------------------

    def completeness(self, resource_type: str) -> Verdict:
        """The verdict over all slices of one resource type; `unknown` when it was never asked."""
        return self._verdicts.get(resource_type, "unknown")

    def open_slices(self, types: Iterable[str]) -> tuple[str, ...]:
        """Those of these types that may hold what was not seen."""
        named = tuple(types)
        if not named or self._all_complete(named):
            return ()
        asked = [kind for kind in named if kind not in self._not_offered] or named
        return tuple(kind for kind in asked if self.completeness(kind) != "complete")

    # -- inside -------------------------------------------------------------------------------

    def _last_moment_by(self, precision: str) -> int:
        """Nothing later counts: now, or a death known to the day. A month cannot judge a day."""
        if self.deceased_at is None or OLDER_BY_DAYS[precision]:
            return self.now
        return min(self.now, self.deceased_at)

    def _within(self, t: int, within_days: int | None, precision: str = "day") -> bool:
        if within_days is None:
            return True
        return self.now - t <= (within_days - OLDER_BY_DAYS[precision]) * self._per_day

    def _age_days(self, t: int, precision: str) -> int:
        return (self.now - t) // self._per_day + OLDER_BY_DAYS[precision]

    def _read_signal(self, concept: str) -> tuple[Reading, ...]:
        signal = self.document["signals"].get(concept)
        if signal is None:
            return ()
        given, last = signal["t"], self.last_moment
        newest_first = sorted(range(len(given)), key=given.__getitem__, reverse=True)
        places = [i for i in newest_first if given[i] <= last]
        times = [given[i] for i in places]
        precisions = _stated(signal, "precision", "day", places)
        dated = zip(times, precisions, strict=False)  # precisions may be endless
        ages = [(self.now - t) // self._per_day + OLDER_BY_DAYS[p] for t, p in dated]
        return tuple(
            map(
                Reading,
                repeat(concept),
                [signal["v"][i] for i in places],
                repeat(signal["unit"]),
                times,
                ages,
                [(signal["src"][i],) for i in places],
                _stated(signal, "comparator", "", places),
                _stated(signal, "origin", "measured", places),
                _stated(signal, "status", "final", places),
                precisions,
            )
        )

    def _study(self, entry: Mapping[str, Any]) -> Study:
        precision = entry.get("precision", "day")
        listed = {(one["concept"], one["src"]) for one in entry.get("measurements", ())}
        measured = (
            reading
            for concept in sorted({concept for concept, _ in listed})
            for reading in self.readings(concept)
            if (concept, reading.sources[0]) in listed and not reading.comparator
        )
        return Study(
            tuple(entry.get("modalities", ())),
            entry["t"],
            self._age_days(entry["t"], precision),
            precision,
            tuple(entry.get("series", ())),
            tuple(measured),
            (entry["src"],),
        )

    def _read_coded(self, concept: str) -> tuple[CodedReading, ...]:
        column = self.document["coded"].get(concept)
        if column is None:
            return ()
        times, status = column["t"], column.get("status", {})
        precision = column.get("precision", {})
        return tuple(
            CodedReading(
                concept,
                column["code"][i],
                times[i],
                self._age_days(times[i], precision.get(str(i), "day")),
                (column["src"][i],),
                status.get(str(i), "final"),
                precision.get(str(i), "day"),
            )
            for i in sorted(range(len(times)), key=lambda i: -times[i])
            if times[i] <= self.last_moment
        )

    def _missing(self, concept: str, within_days: int | None) -> Missing:
        """Why nothing usable lies in the window; the most informative reason wins."""
        verdict = self.completeness("Observation")
        everything: tuple[Reading | CodedReading, ...]
        everything = self.readings(concept, preliminary=True) or self.answers(concept)
        newest = everything[0] if everything else None
        if self._was_set_aside(concept, within_days) or (
            newest is not None and self._within(newest.t, within_days, newest.precision)
        ):
            return Missing(concept, "set-aside", newest, verdict)
        if newest is not None:
            return Missing(concept, "stale", newest, verdict)
        reason: MissingReason = "never-recorded" if verdict == "complete" else "slice-incomplete"
        return Missing(concept, reason, None, verdict)

    def _was_set_aside(self, concept: str, within_days: int | None) -> bool:
        return any(
            entry.get("concept") == concept
            and ("t" not in entry or self._within(entry["t"], within_days))
            for entry in self.document["quality"]["setAside"]
        )

    def _once(
        self, kind: str, names: tuple[str, ...], answer: Callable[[tuple[str, ...]], Presence]
    ) -> Presence:
        """Models ask the same of a twin again and again."""
        asked = (kind, *names)
        if asked not in self._present:
            self._present[asked] = answer(names)
        return self._present[asked]

    def _presence(
        self,
        entries: Iterable[Mapping[str, Any]],
        standing: Callable[[Mapping[str, Any]], Standing],
        start: str,
        slices: tuple[str, ...],
    ) -> Presence:
        known = (e for e in entries if e.get(start) is None or e[start] <= self.now)
        found = _sort(known, standing)
        if found.current:
            return _answer(True, True, "recorded", found.current, start)
        ever = True if found.past else None
        if found.doubtful:
            return _answer(None, ever, "unconfirmed", found.past + found.doubtful, start)
        obstacle = self._obstacle(slices)
        if obstacle is not None:
            return _answer(None, ever, obstacle, found.past, start)
        if found.past:
            return _answer(False, True, "not-current", found.past, start)
        return Presence(False, False, "declared-absent")

    def _obstacle(self, slices: tuple[str, ...]) -> PresenceReason | None:
        """Why finding nothing here does not mean that there is nothing."""
        if not self._all_complete(slices):
            return "slice-incomplete"
        return "unreadable" if any(self._unreadable(kind) for kind in slices) else None

    def _unreadable(self, kind: str) -> bool:
        """Whether an item of this type may be anything: without a code we can read.

        A diagnosis or procedure whose code is of a known system but in none of our groups is
        taken to be outside them. A medicine is not: a product code has to be resolved to its
        ingredients before anything can be said of it, unless it is no longer current.
        """
        unread = self._unread.get(kind, 0)
        if kind not in MEDICATION_SLICES:
            return unread > 0
        entries = [e for e in self.document["medications"] if MEDICATION_TYPES[e["kind"]] == kind]
        unresolved = [e for e in entries if "classes" not in e and "ingredients" not in e]
        unread -= sum("code" not in entry for entry in unresolved)  # unmapped, too: count once
        return unread > 0 or any(map(self._may_be_current, unresolved))

    def _may_be_current(self, entry: Mapping[str, Any]) -> bool:
        begun = entry.get("start", self.now) <= self.now
        return begun and self._medication_standing(entry) in ("current", "doubtful")

    def _all_complete(self, slices: tuple[str, ...]) -> bool:
        """A type no server offers cannot hide a fact, as long as another one is offered."""
        asked = [kind for kind in slices if kind not in self._not_offered]
        return bool(asked) and all(self._verdicts.get(kind) == "complete" for kind in asked)

    def _condition_standing(self, entry: Mapping[str, Any]) -> Standing:
        verification, abatement = entry.get("verification"), entry.get("abatement")
        if verification == "refuted":
            return "never"
        if verification in CONDITION_DOUBTFUL:
            return "doubtful"
        ended = abatement is not None and abatement <= self.now
        return "past" if ended or entry.get("clinical") in CONDITION_PAST else "current"

    def _medication_standing(self, entry: Mapping[str, Any]) -> Standing:
        status = entry["status"]
        if status in MEDICATION_NEVER:
            return "never"
        if status == "active" or entry.get("end", self.now) > self.now:
            return "current"
        return "doubtful" if status == "unknown" else "past"

    def _procedure_standing(self, entry: Mapping[str, Any]) -> Standing:
        if entry["status"] in PROCEDURE_NEVER:
            return "never"
        return "current" if entry["status"] in PROCEDURE_DONE else "doubtful"


def _stated(
    column: Mapping[str, Any], name: str, usual: str, places: Sequence[int]
) -> Iterable[str]:
    """What a sparse part of a column says at these places; mostly there is none."""
    found = column.get(name)
    return [found.get(str(i), usual) for i in places] if found else repeat(usual)


def _immunization_standing(entry: Mapping[str, Any]) -> Standing:
    return "never" if entry.get("status") == "not-done" else "current"


def _verdicts(slices: Iterable[Mapping[str, Any]]) -> dict[str, Verdict]:
    """One verdict per type a server offers: complete only when every slice of it is."""
    verdicts: dict[str, set[Verdict]] = {}
    for part in slices:
        if not _not_offered(part):
            verdicts.setdefault(part["type"], set()).add(part["verdict"])
    return {kind: _weakest(found) for kind, found in verdicts.items()}


def _not_offered(part: Mapping[str, Any]) -> bool:
    """Whether the server said that it has no such resources at all."""
    return part["verdict"] == "unknown" and part.get("reason") == NOT_OFFERED


def _unread(unmapped: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many items of each type came without a code that could be read."""
    return {entry["type"]: entry["n"] for entry in unmapped if "code" not in entry}


def _weakest(verdicts: set[Verdict]) -> Verdict:
    weakest_first: tuple[Verdict, ...] = ("partial", "unknown", "complete")
    return next(verdict for verdict in weakest_first if verdict in verdicts)


def _of(
    entries: Iterable[Mapping[str, Any]], key: str, wanted: Iterable[str]
) -> list[Mapping[str, Any]]:
    names = set(wanted)
    return [entry for entry in entries if entry.get(key) in names]


def _merge(readings: list[Reading]) -> Reading:
    first = readings[0]
    if len(readings) == 1:
        return first
    value = math.fsum(reading.value for reading in readings) / len(readings)
    origins = {reading.origin for reading in readings}
    return first._replace(
        value=value,
        sources=_sources(readings),
        origin=first.origin if len(origins) == 1 else "derived",
        n=len(readings),
    )


def _usual(readings: list[Reading], days: list[float], *, censored: int) -> Usual:
    newest = readings[0]
    return Usual(
        newest.concept,
        statistics.fmean(days),
        newest.unit,
        len(days),
        statistics.stdev(days) if len(days) > 1 else None,
        newest.t,
        newest.age_days,
        _sources(readings),
        censored,
    )


def _sources(readings: Iterable[Reading | CodedReading]) -> tuple[int, ...]:
    return tuple(sorted({src for reading in readings for src in reading.sources}))


def _sort(
    entries: Iterable[Mapping[str, Any]], standing: Callable[[Mapping[str, Any]], Standing]
) -> _Sorted:
    found = _Sorted([], [], [])
    for entry in entries:
        place = standing(entry)
        if place != "never":
            getattr(found, place).append(entry)
    return found


def _answer(
    value: bool | None,
    ever: bool | None,
    reason: PresenceReason,
    entries: list[Mapping[str, Any]],
    start: str,
) -> Presence:
    starts = [entry[start] for entry in entries if entry.get(start) is not None]
    sources = tuple(sorted({entry["src"] for entry in entries}))
    return Presence(value, ever, reason, sources, min(starts, default=None))
