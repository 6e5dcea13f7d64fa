"""A twin made elsewhere, continued with what is known here: one document, every fact once.

Two twins count time from two epochs that nobody may compare. What ties them is the number of days
between their moments, which somebody who knows both says.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from twin_engine.document.build import _when
from twin_engine.document.lineage import (
    ENTRIES,
    LATER,
    SPARSE,
    changes,
    entries,
    rows,
    source_ids,
    source_types,
)
from twin_engine.document.octets import dump
from twin_engine.document.read import Twin
from twin_engine.document.schema import check
from twin_engine.state import UNITS_PER_DAY

Json = dict[str, Any]
TIMES = frozenset({"t", "onset", "abatement", "recorded", "start", "end", "deceasedAt"})
YEAR = 365.25


class JoinError(ValueError):
    """These two can't be of one person, or not in this order."""


class Joined(NamedTuple):
    document: Json
    added: int
    duplicates: int


def join(base: Twin, local: Twin, days: int, software: str) -> Joined:
    """The version after `base`, with what `local` says besides. `days`: from the moment of the one
    to the moment of the other. Without assessments: those are made anew."""
    _check_person(base.document, local.document, days)
    shift = _shift(base.document["twin"], local.document["twin"], days)
    facts = _Facts(base.document, local.document, shift)
    parts = {
        "signals": facts.columns("signals"),
        "coded": facts.columns("coded"),
        **_present({part: facts.entries(part) for part in ENTRIES}),
    }
    quality = facts.quality()
    subject = facts.subject()
    sources = facts.sources()
    document = {
        "twin": _header(base, local, days, software),
        "subject": subject,
        "sources": sources,
        **parts,
        "completeness": _completeness(base.document, local.document),
        "quality": quality,
        "assessments": [],
    }
    _placed(document)
    document["changes"] = changes(base.document, document, {})
    check(document)
    return Joined(document, facts.added, facts.duplicates)


def _check_person(base: Mapping[str, Any], local: Mapping[str, Any], days: int) -> None:
    if days < 0:
        raise JoinError("the twin from elsewhere is the newer one: make the local one anew first")
    one, other = base["subject"], local["subject"]
    if one["sex"] != other["sex"]:
        raise JoinError("the two twins are not of one person: they differ in sex")
    if "age" in one and "age" in other and not (one["ageTopCoded"] or other["ageTopCoded"]):
        expected = one["age"] + days / YEAR
        if not expected - 1.01 <= other["age"] <= expected + 1.01:
            raise JoinError("the two twins are not of one person: their ages do not fit together")


def _shift(base: Mapping[str, Any], local: Mapping[str, Any], days: int) -> Callable[[int], int]:
    """From the local frame of time into the other; a finer unit is rounded down to a coarser."""
    here, there = UNITS_PER_DAY[local["timeUnit"]], UNITS_PER_DAY[base["timeUnit"]]
    moment: int = base["now"] + days * there

    def shifted(time: int) -> int:
        return moment + int((time - local["now"]) * there // here)

    return shifted


def _present(parts: Json) -> Json:
    return {part: found for part, found in parts.items() if found or part not in LATER}


def _header(base: Twin, local: Twin, days: int, software: str) -> Json:
    """The twin keeps its pseudonym, its policy and its unit of time."""
    kept = base.document["twin"]
    return dict(kept) | {
        "version": base.version + 1,
        "parent": base.digest,
        "software": software,
        "now": kept["now"] + days * UNITS_PER_DAY[kept["timeUnit"]],
        "asOf": local.document["twin"]["asOf"],
    }


class _Facts:
    """What both say, each fact once. A source stands in it by its name until all are known."""

    def __init__(
        self, base: Mapping[str, Any], local: Mapping[str, Any], shift: Callable[[int], int]
    ) -> None:
        self._documents = (base, local)
        self._names = (source_ids(base), source_ids(local))
        self._moves: tuple[Callable[[int], int], ...] = (lambda time: time, shift)
        self._used: set[str] = set()
        self.added = self.duplicates = 0

    def columns(self, part: str) -> Json:
        concepts = sorted({*self._documents[0][part], *self._documents[1][part]})
        return {concept: self._column(part, concept) for concept in concepts}

    def _column(self, part: str, concept: str) -> Json:
        value = "v" if part == "signals" else "code"
        found = self._once(
            (source, {"t": self._moves[side](fact["t"])} | _without_t(fact))
            for side, document in enumerate(self._documents)
            for src, fact in rows(document[part].get(concept, _EMPTY[value]))
            for source in [(side, self._names[side][src])]
        )
        ordered = sorted(found, key=lambda row: (row[1]["t"], row[1][value], row[0], dump(row[1])))
        made: Json = {
            "t": [fact["t"] for _, fact in ordered],
            value: [fact[value] for _, fact in ordered],
            "src": [source for source, _ in ordered],
        }
        units = [d[part][concept].get("unit") for d in self._documents if concept in d[part]]
        unit = {"unit": units[0]} if part == "signals" else {}
        sparse = {
            name: {str(i): fact[name] for i, (_, fact) in enumerate(ordered) if name in fact}
            for name in SPARSE
        }
        return unit | made | {name: column for name, column in sparse.items() if column}

    def entries(self, part: str) -> list[Json]:
        found = self._once(
            ((side, self._names[side][entry["src"]]), self._moved(side, _bare(entry)))
            for side, document in enumerate(self._documents)
            for entry in entries(document, part)
        )
        return [entry | {"src": source} for source, entry in found]

    def _once(self, found: Iterator[tuple[tuple[int, str], Json]]) -> Iterator[tuple[str, Json]]:
        """What the other side has said already, word for word, is not said again."""
        said: set[bytes] = set()
        for (side, source), fact in found:
            told = dump({name: value for name, value in fact.items() if name != "measurements"})
            if side and told in said:
                self.duplicates += 1
                continue
            if not side:
                said.add(told)
            self.added += side
            self._used.add(source)
            yield source, fact

    def _moved(self, side: int, value: Any) -> Any:
        """Times in the frame of the first, sources by their names."""
        if isinstance(value, list):
            return [self._moved(side, one) for one in value]
        if not isinstance(value, dict):
            return value
        return {key: self._leaf(side, key, inner) for key, inner in value.items()}

    def _leaf(self, side: int, key: str, inner: Any) -> Any:
        if key in TIMES and isinstance(inner, int):
            return self._moves[side](inner)
        if key == "src" and isinstance(inner, int):
            self._used.add(self._names[side][inner])
            return self._names[side][inner]
        return self._moved(side, inner)

    def subject(self) -> Json:
        """The newer word on who it is."""
        made: Json = self._moved(1, dict(self._documents[1]["subject"]))
        return made

    def quality(self) -> Json:
        one, other = (self._moved(i, dict(d["quality"])) for i, d in enumerate(self._documents))
        made = {part: [*one[part], *other[part]] for part in ("setAside", "conflicts")}
        made |= {part: _summed(one[part] + other[part]) for part in ("conversions", "unmapped")}
        made["conflicts"] = sorted(_unique(made["conflicts"]), key=lambda c: (c["concept"], c["t"]))
        refused = one.get("codesRefused", 0) + other.get("codesRefused", 0)
        return made | ({"codesRefused": refused} if refused else {})

    def sources(self) -> list[Json]:
        types = source_types(self._documents[0]) | source_types(self._documents[1])
        grouped: dict[str, list[str]] = {}
        for name in sorted(self._used):
            grouped.setdefault(types[name], []).append(name)
        return [{"type": kind, "ids": grouped[kind]} for kind in sorted(grouped)]


_EMPTY: Mapping[str, Json] = {value: {"t": [], value: [], "src": []} for value in ("v", "code")}


def _without_t(fact: Json) -> Json:
    return {name: value for name, value in fact.items() if name != "t"}


def _bare(entry: Mapping[str, Any]) -> Json:
    return {name: value for name, value in entry.items() if name != "src"}


def _summed(found: Sequence[Json]) -> list[Json]:
    counts: dict[bytes, Json] = {}
    for row in found:
        bare = {name: value for name, value in row.items() if name != "n"}
        counts.setdefault(dump(bare), bare | {"n": 0})["n"] += row["n"]
    return [counts[key] for key in sorted(counts)]


def _unique(found: Sequence[Json]) -> list[Json]:
    return list({dump(row): row for row in found}.values())


def _placed(document: Json) -> None:
    """Sources by their place in the table, entries in the order of a built document."""
    place = {name: i for i, name in enumerate(source_ids(document))}

    def placed(value: Any) -> Any:
        if isinstance(value, list):
            return [placed(one) for one in value]
        if not isinstance(value, dict):
            return value
        return {
            key: _position(inner, place) if key == "src" else placed(inner)
            for key, inner in value.items()
        }

    listed = [part for part in ENTRIES if part in document]
    for part in ("subject", "signals", "coded", *listed, "quality"):
        document[part] = placed(document[part])
    for part in listed:
        document[part].sort(key=_when)
    document["quality"]["setAside"].sort(key=_when)


def _position(value: Any, place: Mapping[str, int]) -> Any:
    return [place[name] for name in value] if isinstance(value, list) else place[value]


def _completeness(base: Mapping[str, Any], local: Mapping[str, Any]) -> Json:
    """The slices of both, told apart as those of two servers are."""
    first = [{"server": 0} | dict(part) for part in base["completeness"]["slices"]]
    after = 1 + max((part["server"] for part in first), default=0)
    second = [
        dict(part) | {"server": after + part.get("server", 0)}
        for part in local["completeness"]["slices"]
    ]
    made = dict(local["completeness"]) | {"slices": [*first, *second]}
    counts = [one["completeness"].get("notRead", {}) for one in (base, local)]
    if any(counts):
        made["notRead"] = dict(sum(map(Counter, counts), Counter()))
    return made
