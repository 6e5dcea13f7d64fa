"""Two versions of one twin side by side: facts, what was answered, and the models' answers.

Facts are compared by source (see `lineage`); whether a source that is gone counts as withdrawn, and
why, is what the newer version says when it directly follows the older one. Otherwise it follows the
same rule from the newer version's completeness, and the reason in between is not known.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import orjson

from twin_engine.document.lineage import Change, affected, changes, diff
from twin_engine.document.read import Twin

Fact: TypeAlias = dict[str, Any]
Answer: TypeAlias = tuple[float | None, str]  # value, or the reason why there is none

BETWEEN = "between-versions"  # gone, in a version that we were not given


class OtherTwinError(ValueError):
    """Two documents that are not versions of one twin cannot be compared."""


class Changed(NamedTuple):
    """One source. `before` and `after` are the facts that only one side has."""

    source: str
    type: str
    before: tuple[Fact, ...]
    after: tuple[Fact, ...]
    why: str = ""


class Verdict(NamedTuple):
    """How completely one resource type was answered, where that differs."""

    type: str
    before: str
    after: str


class Result(NamedTuple):
    """One outcome of one model, where the answers differ; None where a version has none."""

    model: str
    variant: str
    outcome: str
    horizon_years: float | None
    unit: str
    before: Answer | None
    after: Answer | None


class Comparison(NamedTuple):
    older: int
    newer: int
    direct: bool  # the newer version names the older one as its parent
    added: tuple[Changed, ...]
    corrected: tuple[Changed, ...]
    withdrawn: tuple[Changed, ...]
    not_seen: tuple[Changed, ...]
    verdicts: tuple[Verdict, ...]
    results: tuple[Result, ...]
    rested_on_it: tuple[str, ...]  # models of the older version whose inputs changed or are gone

    @property
    def same(self) -> bool:
        return not any((*self[3:7], self.verdicts, self.results))


def compare(one: Twin, other: Twin) -> Comparison:
    """The two in the order of their versions, whichever is given first."""
    if one.id != other.id:
        raise OtherTwinError("these are two different twins; only versions of one compare")
    older, newer = sorted((one, other), key=lambda twin: twin.version)
    direct = newer.parent == older.digest
    before, after = older.document, newer.document
    found = diff(before, after)
    told = after.get("changes", {}) if direct else changes(before, after, {})
    why = {row["source"]: row["why"] if direct else BETWEEN for row in told.get("withdrawn", ())}
    gone = [_changed(change, why.get(change.source, "")) for change in found.withdrawn]
    return Comparison(
        older=older.version,
        newer=newer.version,
        direct=direct,
        added=tuple(map(_changed, found.added)),
        corrected=tuple(map(_changed, found.corrected)),
        withdrawn=tuple(change for change in gone if change.why),
        not_seen=tuple(change for change in gone if not change.why),
        verdicts=tuple(_verdicts(before, after)),
        results=tuple(_results(before, after)),
        rested_on_it=_rested(before, affected(before, after)),
    )


def _changed(change: Change, why: str = "") -> Changed:
    before, after = set(change.before), set(change.after)
    return Changed(
        change.source,
        change.type,
        tuple(orjson.loads(fact) for fact in sorted(before - after)),
        tuple(orjson.loads(fact) for fact in sorted(after - before)),
        why,
    )


def _verdicts(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterable[Verdict]:
    old, new = (_by_type(document["completeness"]["slices"]) for document in (before, after))
    for kind in sorted(old.keys() | new.keys()):
        if old.get(kind, "unknown") != new.get(kind, "unknown"):
            yield Verdict(kind, old.get(kind, "unknown"), new.get(kind, "unknown"))


def _by_type(slices: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """One verdict per type: that of its slices where they agree, else partial."""
    found: dict[str, set[str]] = {}
    for part in slices:
        found.setdefault(part["type"], set()).add(part["verdict"])
    return {kind: next(iter(v)) if len(v) == 1 else "partial" for kind, v in found.items()}


_Key: TypeAlias = tuple[str, str, str, float | None]


def _results(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterable[Result]:
    old, new = _answers(before), _answers(after)
    for key in sorted(old.keys() | new.keys(), key=repr):
        unit_before, was = old.get(key, ("", None))
        unit_after, now = new.get(key, ("", None))
        if was != now:
            yield Result(*key, unit_after or unit_before, was, now)


def _answers(document: Mapping[str, Any]) -> dict[_Key, tuple[str, Answer | None]]:
    found: dict[_Key, tuple[str, Answer | None]] = {}
    for item in document["assessments"]:
        model = (item["model"]["id"], item["model"].get("variant", ""))
        for result in item["results"]:
            key = (*model, result["outcome"], result.get("horizonYears"))
            found[key] = (result["unit"], (result["value"], ""))
        for refusal in item["refusals"]:
            key = (*model, refusal["outcome"], refusal.get("horizonYears"))
            found[key] = ("", (None, refusal["reason"]))
    return found


def _rested(document: Mapping[str, Any], positions: Iterable[int]) -> tuple[str, ...]:
    models = (document["assessments"][i]["model"]["id"] for i in positions)
    return tuple(dict.fromkeys(models))
