"""What remains once all records are read: duplicates, conflicts, records after death, order."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress, groupby
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple, TypeVar

from mappings.from_fhir.collect import Collector
from mappings.from_fhir.imaging import with_measurements
from mappings.vocabulary.facts import CodedValue, Mapped, Measurement, SetAside, SubjectFact

FARTHEST = 2**53  # beyond every offset there is

_Value = TypeVar("_Value", Measurement, CodedValue)
_Fact = TypeVar("_Fact", bound=Any)

# Of two records that say the same, or that correct each other: which one speaks.
_RANK = {"corrected": 0, "amended": 1, "final": 2, "unknown": 3, "preliminary": 4, "registered": 5}


class _Settled(NamedTuple):
    kept: list[Any]
    aside: list[SetAside]
    conflicts: list[tuple[str, int, int]]


def settle(out: Collector) -> Mapped:
    """The collected facts as one immutable whole, in an order that no input order changes."""
    alive = _Alive(out)
    numbers = _values(alive.those(out.measurements, "time"), _number)
    answers = _values(alive.those(out.coded, "time"), _answer)
    conversions = Counter((m.concept, m.unit) for m in numbers.kept if m.unit)
    studies = with_measurements(alive.those(out.imaging, "time"), numbers.kept, out)
    return Mapped(
        subject=_subject(out.subjects),
        measurements=tuple(numbers.kept),
        coded=tuple(answers.kept),
        conditions=_ordered(alive.those(out.conditions, "onset"), "onset"),
        imaging=_ordered(studies, "time"),
        medications=_ordered(alive.those(out.medications, "start"), "start"),
        procedures=_ordered(alive.those(out.procedures, "start"), "start"),
        encounters=_ordered(alive.those(out.encounters, "start"), "start"),
        allergies=_ordered(alive.those(out.allergies, "onset"), "onset"),
        family=_ordered(out.family, "onset_age"),
        genomics=_ordered(alive.those(out.genomics, "time"), "time"),
        immunizations=_ordered(alive.those(out.immunizations, "time"), "time"),
        set_aside=_ordered([*out.set_aside, *alive.aside, *numbers.aside, *answers.aside], "time"),
        conversions=tuple((*key, n) for key, n in sorted(conversions.items())),
        conflicts=tuple(sorted(numbers.conflicts + answers.conflicts)),
        unmapped=tuple((*key, n) for key, n in sorted(out.unmapped.items())),
    )


class _Alive:
    """Sets aside what is dated before the person was born or after they died."""

    def __init__(self, out: Collector) -> None:
        self._birth = -FARTHEST if out.birth is None else out.birth
        self._death = FARTHEST if out.death is None else out.death
        self._bounded = out.birth is not None or out.death is not None
        self.aside: list[SetAside] = []

    def those(self, facts: Sequence[_Fact], time: str) -> Sequence[_Fact]:
        if not self._bounded:
            return facts
        birth, death = self._birth, self._death
        times = list(map(attrgetter(time), facts))
        within = [at is None or birth <= at <= death for at in times]
        if all(within):  # nearly always
            return facts
        for fact, at, fits in zip(facts, times, within, strict=True):
            if not fits:
                self._put_aside(fact, at)
        return list(compress(facts, within))

    def _put_aside(self, fact: Any, at: int) -> None:
        rule = "after-death" if at > self._death else "before-birth"
        self.aside.append(SetAside(getattr(fact, "concept", ""), rule, fact.source, at))


def _subject(subjects: list[SubjectFact]) -> SubjectFact | None:
    return min(subjects, key=lambda subject: subject.source) if subjects else None


def _ordered(facts: Iterable[_Fact], time: str) -> tuple[_Fact, ...]:
    def key(fact: _Fact) -> tuple[bool, int, str, str]:
        at = getattr(fact, time)
        return (at is None, at or 0, fact.source, repr(fact))

    return tuple(sorted(facts, key=key))


_TIME = itemgetter(1)


def _number(fact: Measurement) -> tuple[float, str]:
    return (fact.value, fact.comparator)


def _answer(fact: CodedValue) -> str:
    return fact.code


def _values(facts: Sequence[_Value], value_of: Callable[[_Value], Any]) -> _Settled:
    settled = _Settled([], [], [])
    for ordered in _by_concept(facts):
        if len(set(map(_TIME, ordered))) == len(ordered):  # nearly always: no two at one offset
            settled.kept.extend(ordered)
            continue
        for _, same in groupby(ordered, key=_TIME):
            _one_moment(list(same), value_of, settled)
    return settled


def _by_concept(facts: Sequence[_Value]) -> Iterator[list[_Value]]:
    """In order. Those of one concept mostly come in the order of time, which is soon sorted."""
    by_concept: defaultdict[str, list[_Value]] = defaultdict(list)
    for fact in facts:
        by_concept[fact[0]].append(fact)
    for concept in sorted(by_concept):
        by_concept[concept].sort()
        yield by_concept[concept]


def _one_moment(same: list[_Value], value_of: Callable[[_Value], Any], settled: _Settled) -> None:
    """The values of one concept at one offset; mostly one.

    To the minute they speak of one instant: corrections replace, and values that still differ are
    all set aside. To the day they may be different readings, whose order is not known: all stay.
    """
    if len(same) == 1:
        settled.kept.extend(same)
        return
    instant = all(fact.precision == "minute" for fact in same)
    if instant:
        best = min(_RANK[fact.status] for fact in same)
        settled.aside.extend(_aside(f, "superseded") for f in same if _RANK[f.status] != best)
        same = [fact for fact in same if _RANK[fact.status] == best]
    same = _without_duplicates(same, value_of, settled)
    differing = len({value_of(fact) for fact in same})
    if differing > 1:
        settled.conflicts.append((same[0].concept, same[0].time, differing))
    if differing > 1 and instant:
        settled.aside.extend(_aside(fact, "conflict") for fact in same)
    else:
        settled.kept.extend(same)


def _without_duplicates(
    same: list[_Value], value_of: Callable[[_Value], Any], settled: _Settled
) -> list[_Value]:
    """The same value twice counts once: the record that ranks first speaks."""
    first: dict[Any, _Value] = {}
    for fact in sorted(same, key=lambda f: (_RANK[f.status], f.source, f)):
        if value_of(fact) in first:
            settled.aside.append(_aside(fact, "duplicate"))
        else:
            first[value_of(fact)] = fact
    return sorted(first.values())


def _aside(fact: _Value, rule: str) -> SetAside:
    return SetAside(fact.concept, rule, fact.source, fact.time)
