"""One run in numbers and sentences. Holds codes, counts and the twin's pseudonym: nothing else."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mappings.to_fhir.wording import unseen
from service.cli.verify import expiries
from service.fhir.lined import looked_at
from service.fhir.record import PatientRecord
from service.pages import words
from service.pipeline.make import Made
from service.pipeline.service import tally, written
from service.refresh.chart import Charted
from twin_engine.models.registry import get

Json = dict[str, Any]


@dataclass(frozen=True)
class Summary:
    twin: str
    version: int
    new: bool
    pulled: dict[str, int]
    verdicts: dict[str, str]
    counts: dict[str, int]
    assessments: tuple[Json, ...]
    ends: dict[str, int]
    written: tuple[str, ...]
    existing: tuple[str, ...]
    corrected: dict[str, int]
    review: tuple[str, ...]
    flagged: tuple[str, ...]
    unmarked: tuple[str, ...]
    dry: bool
    folder: str | None

    @classmethod
    def of(
        cls,
        made: Made,
        pulled: Counter[str],
        charted: Charted | None,
        folder: Path | None,
    ) -> "Summary":
        """`pulled`: how many resources of each type the record had (`kinds_of`)."""
        slices = made.twin.document["completeness"]["slices"]
        done = charted.delivered if charted else ()
        return cls(
            twin=made.twin.id,
            version=made.twin.version,
            new=made.new,
            pulled=dict(pulled.most_common()),
            verdicts={part["type"]: part["verdict"] for part in slices},
            counts=tally(made, pulled.total()) | written(done),
            assessments=tuple(made.assessments),
            ends=_ends(made),
            written=tuple(_kinds(ref for item in done for ref in item.result.written)),
            existing=tuple(_kinds(ref for item in done for ref in item.result.existing)),
            corrected=charted.counts() if charted else {},
            review=tuple(charted.review) if charted else (),
            flagged=tuple(charted.flagged) if charted else (),
            unmarked=tuple(charted.unmarked) if charted else (),
            dry=charted is None,
            folder=str(folder) if folder else None,
        )

    def _ending(self, model: str) -> Json:
        return {"holdsDays": self.ends[model]} if model in self.ends else {}

    def as_dict(self) -> Json:
        return {
            "twin": self.twin,
            "version": self.version,
            "new": self.new,
            "pulled": self.pulled,
            "completeness": self.verdicts,
            "counts": self.counts,
            "assessments": [
                _short(item) | self._ending(item["model"]["id"]) for item in self.assessments
            ],
            "written": list(self.written),
            "existing": list(self.existing),
            "corrected": self.corrected,
            "review": list(self.review),
            "flagged": list(self.flagged),
            "unmarked": list(self.unmarked),
        }


def _ends(made: Made) -> dict[str, int]:
    """By model, how many days its results may still be shown as current; below 0: past."""
    days = max(0, (datetime.now(UTC).date() - made.day).days)
    found = expiries(made.twin.document, days)
    return {one["model"]["id"]: found[one["model"]["id"]].days_left for one in made.assessments
            if one["model"]["id"] in found}  # fmt: skip


def kinds_of(record: PatientRecord) -> Counter[str]:
    """All that is told of a record: who has this need not hold the record."""
    return Counter(resource["resourceType"] for resource in looked_at(record.resources))


def _kinds(references: Iterator[str]) -> Iterator[str]:
    """Types with counts, not ids: an id on the server is the patient's."""
    counts = Counter(reference.partition("/")[0] for reference in references)
    return (f"{kind} x {count}" for kind, count in sorted(counts.items()))


def _short(assessment: Json) -> Json:
    keys = ("outcome", "horizonYears", "value", "unit", "interval", "category")
    return {
        "model": assessment["model"]["id"],
        "version": assessment["model"]["version"],
        "variant": assessment["model"]["variant"],
        "answer": assessment["answer"],
        "results": [{k: r[k] for k in keys if k in r} for r in assessment["results"]],
        "refusals": assessment["refusals"],
        "unseen": assessment.get("unseen", []),
    }


def _holding(ends: Mapping[str, int]) -> str:
    by_days: dict[int, list[str]] = {}
    for model, left in sorted(ends.items(), key=lambda end: (end[1], end[0])):
        by_days.setdefault(left, []).append(model)
    return "; ".join(f"{', '.join(models)} {_left(left)}" for left, models in by_days.items())


def _left(left: int) -> str:
    return f"for {left} days" if left >= 0 else f"NO LONGER CURRENT since {-left} days"


# -- for people --------------------------------------------------------------------------------


def lines(summary: Summary) -> Iterator[str]:
    state = "new" if summary.new else "unchanged"
    yield f"twin {summary.twin}  version {summary.version} ({state})"
    yield f"  pulled     {_pulled(summary)}"
    yield f"  answered   {_verdicts(summary)}"
    counts = summary.counts
    yield (
        f"  kept       {counts['kept']:,} values; dropped {counts['dropped']:,}; "
        f"{counts['refused']} resources refused"
    )
    yield f"  twin       {counts['readings']:,} readings; {counts['set-aside']} set aside"
    if unaffected := counts["models-unaffected"]:
        yield f"  models     {unaffected} unaffected since the version before: not asked again"
    for item in summary.assessments:
        yield from (f"  {line}" for line in answers(item))
    if summary.ends:
        yield f"  holds      {_holding(summary.ends)}"
    yield f"  written    {_written(summary)}"
    if summary.corrected:
        done = ", ".join(f"{word} {count}" for word, count in summary.corrected.items())
        yield f"  chart      {done}"
    if summary.review:
        yield (
            "  REVIEW     accepted by a person, and an input no longer stands: "
            f"{', '.join(summary.review)}"
        )
    if summary.flagged:
        yield (
            "  REVIEW     no longer holds, and the server refuses the mark; a notice beside it "
            f"says so: {', '.join(summary.flagged)}"
        )
    if summary.unmarked:
        yield (
            "  REVIEW     no longer holds, and the server refuses the mark and any notice; "
            f"withdraw in the chart: {', '.join(summary.unmarked)}"
        )
    if summary.folder:
        yield f"  files      {summary.folder}"


def _pulled(summary: Summary) -> str:
    parts = [f"{kind} {count}" for kind, count in list(summary.pulled.items())[:5]]
    rest = len(summary.pulled) - 5
    more = f", and {rest} more types" if rest > 0 else ""
    return f"{summary.counts['pulled']:,} resources: {', '.join(parts)}{more}"


def _verdicts(summary: Summary) -> str:
    whole = sum(verdict == "complete" for verdict in summary.verdicts.values())
    open_ = [kind for kind, verdict in summary.verdicts.items() if verdict != "complete"]
    gaps = f"; not complete: {', '.join(open_)}" if open_ else ""
    return f"{whole} of {len(summary.verdicts)} types completely{gaps}"


def answers(item: Json) -> Iterator[str]:
    """What one assessment says: a line per result, a line per reason of refusal."""
    name = f"{item['model']['id']} ({item['model']['variant']})"
    for result in item["results"]:
        yield f"predicted  {name}: {_result(item, result)}"
    reasons: dict[str, list[str]] = {}
    for refusal in item["refusals"]:
        reasons.setdefault(_reason(refusal), []).append(_outcome(item, refusal))
    for reason, outcomes in reasons.items():
        yield f"refused    {name}: {', '.join(outcomes)}: {reason}"
    if missed := unseen(item):
        yield f"unseen     {name}: may have been missed, as not everything was answered: {missed}"


def _result(item: Json, result: Json) -> str:
    head = _outcome(item, result)
    low_high = result.get("interval")
    if get(item["model"]["id"]).kind == "probability":
        text = f"{head} {words.percent(result['value'])}"
        if low_high:
            low, high = words.percent(low_high["low"]), words.percent(low_high["high"])
            text += f" ({low} to {high} if measured again)"
    elif get(item["model"]["id"]).kind == "recommendation":
        text = head
    else:
        text = f"{head} {_figure(result['value'])} {words.unit(result['unit'])}".rstrip()
        if low_high:
            low, high = _figure(low_high["low"]), _figure(low_high["high"])
            text += f" ({low} to {high} if measured again)"
    return text + (f", {result['category']['code']}" if "category" in result else "")


def _figure(value: float) -> str:
    """Whole numbers from ten upwards, two digits after the point below."""
    return f"{value:.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.2f}"


def _outcome(item: Json, result: Json) -> str:
    declared = get(item["model"]["id"]).outcomes[result["outcome"]]
    years = result.get("horizonYears")
    return f"{declared.label}{f', {years} years' if years else ''}"


def _reason(refusal: Json) -> str:
    about = f" ({words.concept(refusal['input'])})" if "input" in refusal else ""
    return f"{words.refusal(refusal['reason'])[:-1]}{about}"


def _written(summary: Summary) -> str:
    if summary.dry:
        return "nothing (no server, or a dry run)"
    if not summary.written:
        return f"nothing new; there already: {', '.join(summary.existing) or 'nothing'}"
    text = ", ".join(summary.written)
    return text + (f"; there already: {', '.join(summary.existing)}" if summary.existing else "")
