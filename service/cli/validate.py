"""What `twinport models validate` does: rows and outcomes joined by id, judged, and put in words.

The report holds counts and statistics; a row, an id or a value of a person never enters it.
"""

import html
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from service.cli.exits import CommandError, Exit
from service.plots import calibration, decision
from twin_engine.models.assess import Request, request
from twin_engine.models.contract import Model, Target
from twin_engine.models.registry import UnknownModelError
from twin_engine.models.rows import run_rows
from twin_engine.models.validation import validate

Json = dict[str, Any]
Row = Mapping[str, str]
AGE_BANDS = (40, 50, 60, 70)

VERDICTS = {
    "too-few-people": "too few people to say anything",
    "too-few-events-to-judge": "too few to judge: fewer than 100 events, or people without one",
    "not-enough-to-judge": "not enough to judge: fewer than 20 events, or people without one",
    "everybody-predicted-alike": "nothing to judge: everybody is predicted alike",
}


@dataclass(frozen=True)
class Question:
    """Which probability is compared with what came to pass, and by which groups."""

    model_id: str
    outcome: str | None
    horizon: int | None
    thresholds: tuple[float, ...]
    columns: tuple[str, ...]


def events(rows: Iterable[Row]) -> dict[str, float]:
    """id -> 0 or 1."""
    found: dict[str, float] = {}
    for row in rows:
        if "id" not in row or row.get("event") not in ("0", "1"):
            raise CommandError(
                "outcomes need the columns id and event, and every event is 0 or 1", Exit.INPUT
            )
        if row["id"] in found:
            raise CommandError("an id stands twice among the outcomes", Exit.INPUT)
        found[row["id"]] = float(row["event"])
    return found


def report(asked: Question, rows: Iterable[Row], came_to_pass: Mapping[str, float]) -> Json:
    wanted, target, joined = join(asked, rows, came_to_pass)
    judged = validate(
        np.array(joined.predicted),
        np.array(joined.observed),
        thresholds=asked.thresholds,
        groups={name: labels for name, labels in joined.labels.items() if any(labels)},
    )
    return {
        "model": {"id": wanted.model.id, "version": wanted.model.version},
        "variant": wanted.variant or "by what is known",
        "outcome": target.outcome,
        "horizonYears": target.horizon,
        "rows": joined.rows,
        "refused": joined.refused,
        "withoutOutcome": joined.unmatched,
        **judged,
    }


def join(
    asked: Question, rows: Iterable[Row], came_to_pass: Mapping[str, float]
) -> "tuple[Request, Target, Joined]":
    """What was asked, in the engine's words, and predictions beside what came to pass."""
    wanted = _request(asked.model_id)
    target = target_of(wanted.model, asked)
    joined = Joined(asked, came_to_pass)
    for row, answer in _answered(wanted, target, rows):
        joined.take(row, answer)
    return wanted, target, joined


class Joined:
    """What is kept of the rows: a probability, an event and labels, and how many fell out."""

    def __init__(self, asked: Question, came_to_pass: Mapping[str, float]) -> None:
        self._events = came_to_pass
        self.rows = self.refused = self.unmatched = 0
        self.predicted: list[float] = []
        self.observed: list[float] = []
        self.labels: dict[str, list[str]] = {n: [] for n in ("sex", "age-band", *asked.columns)}

    def take(self, row: Row, answer: Mapping[str, Any]) -> None:
        self.rows += 1
        if "id" not in row:
            raise CommandError("rows need a column id", Exit.INPUT)
        event = self._events.get(row["id"])
        if answer["refusal"]:
            self.refused += 1
        elif event is None:
            self.unmatched += 1
        else:
            self.predicted.append(answer["value"])
            self.observed.append(event)
            for name, labels in self.labels.items():
                labels.append(_band(row) if name == "age-band" else row.get(name, ""))


def _answered(
    wanted: Request, target: Target, rows: Iterable[Row]
) -> Iterator[tuple[Row, Mapping[str, Any]]]:
    """Every row beside its answer for the one outcome."""
    given, asked = tee(rows)
    answers = run_rows(
        wanted.model.id, asked, variant=wanted.variant, horizon=target.horizon, interval=False
    )
    mine = (answer for answer in answers if answer["outcome"] == target.outcome)
    return zip(given, mine, strict=True)


def _request(model_id: str) -> Request:
    try:
        wanted = request(model_id)
    except (UnknownModelError, LookupError) as error:
        raise CommandError(str(error.args[0]), Exit.USAGE) from None
    if wanted.model.kind != "probability":
        raise CommandError(
            f"{wanted.model.id} gives no probability; there is nothing to calibrate", Exit.USAGE
        )
    return wanted


def target_of(model: Model, asked: Question) -> Target:
    offered = model.targets() if asked.outcome else model.reported()
    fitting = [
        target
        for target in offered
        if asked.outcome in (None, target.outcome) and asked.horizon in (None, target.horizon)
    ]
    if not fitting:
        known = ", ".join(sorted({target.outcome for target in model.targets()}))
        raise CommandError(f"no such outcome at this horizon; outcomes: {known}", Exit.USAGE)
    first = fitting[0].outcome
    return min((t for t in fitting if t.outcome == first), key=lambda t: t.horizon or 0)


def _band(row: Row) -> str:
    try:
        age = float(row.get("age") or "nan")
    except ValueError:
        return ""
    if not np.isfinite(age):
        return ""
    below = [limit for limit in AGE_BANDS if age < limit]
    if not below:
        return f"{AGE_BANDS[-1]} and over"
    return f"under {below[0]}" if below[0] == AGE_BANDS[0] else f"{below[0] - 10} to {below[0] - 1}"


# -- saved -------------------------------------------------------------------------------------


def figures(found: Json) -> dict[str, str]:
    """The figures of a report that was judged; none of one that was not."""
    if "tenths" not in found:
        return {}
    return {"calibration.svg": calibration(found), "decision.svg": decision(found)}


def save(found: Json, folder: Path) -> None:
    """A page with the figures in it, the report for programs, and each figure alone."""
    drawn = figures(found)
    files = {"report.html": page(found, drawn.values()), **drawn}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.joinpath("report.json").write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        for name, text in files.items():
            folder.joinpath(name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"can't write the report ({type(error).__name__})", Exit.INPUT) from None


PAGE_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color:#1b1f24;background:#fff}svg{width:100%;max-width:34rem;height:auto}pre{overflow:auto;"
    "background:#f6f8fa;padding:1rem}"
)


def page(found: Json, drawn: Iterable[str]) -> str:
    """A page that stands alone: no script, no file from elsewhere."""
    model = found["model"]
    title = f"Validation of {model['id']} {model['version']}"
    told = html.escape("\n".join(lines(found)))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{PAGE_STYLE}</style><h1>{html.escape(title)}</h1>{''.join(drawn)}"
        f"<pre>{told}</pre></html>\n"
    )


# -- words -------------------------------------------------------------------------------------


def lines(found: Json) -> list[str]:
    model = found["model"]
    years = f", {found['horizonYears']} years" if found["horizonYears"] is not None else ""
    told = [
        f"{model['id']} {model['version']}, {found['variant']}: {found['outcome']}{years}",
        f"{found['rows']} rows; {found['refused']} refused, "
        f"{found['withoutOutcome']} without outcome",
        *statistics(found, ""),
    ]
    told += [
        f"  tenth {number}: predicted {one['predicted']:.4f}, observed {one['observed']:.4f}"
        for number, one in enumerate(found.get("tenths", ()), start=1)
    ]
    for name, groups in found.get("groups", {}).items():
        for label, one in groups.items():
            told += [f"{name} {label or '(not stated)'}", *statistics(one, "  ")]
    return told


def statistics(found: Json, indent: str) -> list[str]:
    told = []
    if "people" in found:
        events_told = f", {found['events']} events" if "events" in found else ""
        told.append(f"{indent}{found['people']} people{events_told}")
    if found["verdict"] in VERDICTS:
        told.append(f"{indent}{VERDICTS[found['verdict']]}")
    if "observedOverExpected" in found:
        told.append(f"{indent}observed / expected {_range(found['observedOverExpected'])}")
    if "calibration" not in found:
        return told
    told += [
        f"{indent}C statistic         {_range(found['cStatistic'])}",
        f"{indent}calibration in the large {_range(found['calibration']['inTheLarge'])}",
        f"{indent}calibration slope   {_range(found['calibration']['slope'])}",
        f"{indent}Brier score         {_range(found['brier'])}",
        f"{indent}scaled Brier score  {_range(found['scaledBrier'])}",
    ]
    return told + [
        f"{indent}net benefit at {one['threshold']:g}: {_range(one['model'])}; "
        f"treating all {one['treatAll']:.4f}, none 0"
        for one in found["netBenefit"]
    ]


def _range(one: Mapping[str, float]) -> str:
    return f"{one['value']:.4f} ({one['low']:.4f} to {one['high']:.4f})"
