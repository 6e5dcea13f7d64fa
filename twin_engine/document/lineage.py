"""Versions of one twin: what each added, corrected or withdrew, told by source.

A twin keeps its pseudonym, its sources' pseudonyms and its epoch from version to version, so the
facts of two versions can be compared as they stand.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from twin_engine.document.octets import dump

ENTRIES = (
    "conditions",
    "imaging",
    "medications",
    "procedures",
    "encounters",
    "allergies",
    "family",
    "genomics",
    "immunizations",
)
# Absent where there are none: documents made before the part existed do not have it.
LATER = frozenset({"immunizations"})
SPARSE = ("precision", "comparator", "status", "origin", "from", "flag", "range", "site", "method")
NO_LONGER = "no-longer-returned"


class Change(NamedTuple):
    """One source and its facts (as canonical JSON) before and after; empty where there are none."""

    source: str
    type: str
    before: tuple[bytes, ...]
    after: tuple[bytes, ...]


class Difference(NamedTuple):
    added: tuple[Change, ...]
    corrected: tuple[Change, ...]
    withdrawn: tuple[Change, ...]


def diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> Difference:
    """What `after` says that `before` did not, source by source."""
    old, new = facts_by_source(before), facts_by_source(after)
    types = source_types(before) | source_types(after)
    changes = [
        Change(source, types[source], old.get(source, ()), new.get(source, ()))
        for source in sorted(old.keys() | new.keys())
        if old.get(source) != new.get(source)
    ]
    return Difference(
        tuple(change for change in changes if change.source not in old),
        tuple(change for change in changes if change.source in old and change.source in new),
        tuple(change for change in changes if change.source not in new),
    )


def changes(
    parent: Mapping[str, Any], document: Mapping[str, Any], withdrawn: Mapping[str, str]
) -> dict[str, Any]:
    """The `changes` part of a new version.

    A source that is gone counts as withdrawn when the caller knows why, or when the slice it
    would have come in is complete; otherwise it was only not seen this time.
    """
    found = diff(parent, document)
    position = {source: i for i, source in enumerate(source_ids(document))}
    complete = complete_types(document["completeness"]["slices"])
    reasons = {
        change.source: withdrawn.get(change.source, NO_LONGER)
        for change in found.withdrawn
        if change.source in withdrawn or change.type in complete
    }
    return {
        "added": sorted(position[change.source] for change in found.added),
        "corrected": sorted(position[change.source] for change in found.corrected),
        "withdrawn": [{"source": source, "why": why} for source, why in reasons.items()],
        "notSeen": [change.source for change in found.withdrawn if change.source not in reasons],
    }


def affected(parent: Mapping[str, Any], document: Mapping[str, Any]) -> tuple[int, ...]:
    """Which of the parent's assessments used a fact that `document` corrects or withdraws."""
    found = diff(parent, document)
    not_seen = set(document.get("changes", {}).get("notSeen", ()))
    gone = {change.source for change in found.corrected + found.withdrawn} - not_seen
    ids = source_ids(parent)
    return tuple(
        i
        for i, assessment in enumerate(parent["assessments"])
        if any(ids[src] in gone for used in assessment["inputs"] for src in used.get("src", ()))
    )


def entries(document: Mapping[str, Any], part: str) -> Sequence[Mapping[str, Any]]:
    """A part of `ENTRIES`, which may be absent."""
    found: Sequence[Mapping[str, Any]] = document.get(part, ())
    return found


def source_ids(document: Mapping[str, Any]) -> list[str]:
    """The pseudonyms that `src` counts through."""
    return [pseudonym for row in document["sources"] for pseudonym in row["ids"]]


def sources_at(document: Mapping[str, Any], places: Iterable[int]) -> dict[int, tuple[str, str]]:
    """Type and pseudonym of what these `src` point to."""
    wanted, found, start = set(places), dict[int, tuple[str, str]](), 0
    for row in document["sources"]:
        end = start + len(row["ids"])
        found |= {i: (row["type"], row["ids"][i - start]) for i in wanted if start <= i < end}
        start = end
    return found


def source_types(document: Mapping[str, Any]) -> dict[str, str]:
    return {pseudonym: row["type"] for row in document["sources"] for pseudonym in row["ids"]}


def facts_by_source(document: Mapping[str, Any]) -> dict[str, tuple[bytes, ...]]:
    """Every source with its facts, each as canonical JSON without the source."""
    ids = source_ids(document)
    found: dict[str, list[bytes]] = {source: [] for source in ids}
    for src, fact in _facts(document):
        found[ids[src]].append(dump(fact))
    return {source: tuple(sorted(facts)) for source, facts in found.items()}


def rows(column: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """A columnar signal or answer as (source, fact) pairs."""
    value = "v" if "v" in column else "code"
    sparse = [(name, column[name]) for name in SPARSE if name in column]
    for i, t in enumerate(column["t"]):
        more = {name: at[str(i)] for name, at in sparse if str(i) in at}
        yield column["src"][i], {"t": t, value: column[value][i]} | more


def _facts(document: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    subject = document["subject"]
    if "src" in subject:
        yield subject["src"], {"part": "subject"} | _without(subject, "src", "age", "ageTopCoded")
    for part in ("signals", "coded"):
        for concept, column in document[part].items():
            for src, fact in rows(column):
                yield src, {"part": part, "concept": concept} | fact
    ids = source_ids(document)
    for part in ENTRIES:
        for entry in entries(document, part):
            yield entry["src"], {"part": part} | _named(_without(entry, "src"), ids)
    for entry in document["quality"]["setAside"]:
        yield entry["src"], {"part": "setAside"} | _without(entry, "src")


def _named(entry: dict[str, Any], ids: list[str]) -> dict[str, Any]:
    """What points at another source names it: positions change from version to version."""
    if "measurements" not in entry:
        return entry
    measured = [one | {"src": ids[one["src"]]} for one in entry["measurements"]]
    return entry | {"measurements": sorted(measured, key=dump)}


def _without(entry: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Age is left out of comparisons: it grows by itself, which corrects nothing."""
    return {key: value for key, value in entry.items() if key not in names}


def complete_types(slices: Iterable[Mapping[str, Any]]) -> set[str]:
    """The types whose every slice is complete."""
    listed = list(slices)
    incomplete = {part["type"] for part in listed if part["verdict"] != "complete"}
    return {part["type"] for part in listed} - incomplete
