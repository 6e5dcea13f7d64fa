"""`twinport models silent`: what a model that runs in silence has said so far.

Counts and distributions over the newest version of every twin held here. A cell of fewer than
eleven twins is not counted.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import orjson

from service.cli import validate
from service.cli.csv_rows import read_rows
from service.cli.exits import CommandError, Exit
from service.cli.output import emit
from service.pipeline.runtime import Runtime, open_runtime
from service.stores.twins import TwinStore
from twin_engine.models.contract import REASONS, Target
from twin_engine.models.registry import UnknownModelError, get
from twin_engine.models.validation import LEAST_PEOPLE
from twin_engine.models.validation import validate as judge

Json = dict[str, Any]
PAGE = 500
QUARTERS = (0.05, 0.25, 0.5, 0.75, 0.95)


@click.command("silent")
@click.argument("model_id", metavar="ID")
@click.option(
    "--outcomes",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A CSV with the columns id (a twin's pseudonym) and event, to judge what was predicted.",
)
@click.option("--outcome", help="Which outcome came to pass. Default: the first reported one.")
@click.option("--horizon", type=int, metavar="YEARS", help="Default: the shortest of the outcome.")
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object.")
def silent_command(
    model_id: str, outcomes: Path | None, outcome: str | None, horizon: int | None, as_json: bool
) -> None:
    """What a model predicted in silence (`models.silent` in the configuration): how often it
    answered, why not, and how its answers are spread; with outcomes, also how well they held.

    \b
    twinport models silent prevent
    twinport models silent prevent --outcomes events.csv --outcome ascvd
    """
    try:
        model = get(model_id)
    except UnknownModelError as error:
        raise CommandError(str(error.args[0]), Exit.USAGE) from None
    tally = _Tally(model_id)
    runtime = open_runtime()
    try:
        for twin, assessment in _silent(runtime, model_id):
            tally.take(twin, assessment)
    finally:
        runtime.close()
    report = tally.report()
    if outcomes is not None:
        asked = validate.Question(model_id, outcome, horizon, (), ())
        target = validate.target_of(model, asked)
        with ExitStack() as stack:
            events = validate.events(read_rows(stack, outcomes))
        report["validation"] = _judged(tally, target, events)
    if as_json:
        emit(report)
    else:
        click.echo("\n".join(_lines(report)))


def _silent(runtime: Runtime, model_id: str) -> Iterator[tuple[str, Json]]:
    """The newest silent assessment of every twin, with the twin's pseudonym."""
    twins, offset = TwinStore(runtime.database), 0
    while page := twins.newest(PAGE, offset):
        offset += len(page)
        for about in page:
            stored = twins.get(about.pseudonym, about.version)
            document = orjson.loads(stored.payload) if stored is not None else {}
            for one in document.get("assessments", ()):
                if one["model"]["id"] == model_id and one.get("silent"):
                    yield about.pseudonym, one


@dataclass
class _Tally:
    """Gathered twin by twin; only counts and distributions leave it."""

    model: str
    twins: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    values: dict[Target, dict[str, float]] = field(default_factory=dict)

    def take(self, twin: str, assessment: Json) -> None:
        self.twins += 1
        self.answers[assessment["answer"]] += 1
        self.versions[assessment["model"]["version"]] += 1
        self.reasons.update({(r["reason"], r.get("input", "")) for r in assessment["refusals"]})
        for one in assessment["results"]:
            target = Target(one["outcome"], one.get("horizonYears"))
            self.values.setdefault(target, {})[twin] = one["value"]

    def report(self) -> Json:
        return {
            "model": self.model,
            "twins": _cell(self.twins),
            "answers": {name: _cell(n) for name, n in sorted(self.answers.items())},
            "versions": {name: _cell(n) for name, n in sorted(self.versions.items())},
            "refusals": [
                {"reason": reason, **({"input": about} if about else {}), "twins": _cell(n)}
                for (reason, about), n in self.reasons.most_common()
            ],
            "results": [self._spread(target, held) for target, held in self.values.items()],
        }

    def _spread(self, target: Target, held: Mapping[str, float]) -> Json:
        told: Json = {
            "outcome": target.outcome,
            "horizonYears": target.horizon,
            "twins": _cell(len(held)),
        }
        if len(held) < 2 * LEAST_PEOPLE:  # fewer, and a quantile would be one person's value
            return told
        cuts = np.quantile(list(held.values()), QUARTERS)
        shares = zip(QUARTERS, cuts, strict=True)
        return told | {"quantiles": {f"{share:g}": float(value) for share, value in shares}}


def _cell(count: int) -> int | None:
    """None: fewer than may be counted."""
    return count if count >= LEAST_PEOPLE else None


def _judged(tally: _Tally, target: Target, events: Mapping[str, float]) -> Json:
    held = tally.values.get(target, {})
    matched = [twin for twin in held if twin in events]
    found = judge(
        np.array([held[twin] for twin in matched]), np.array([events[twin] for twin in matched])
    )
    return {"outcome": target.outcome, "horizonYears": target.horizon, **found}


# -- words -------------------------------------------------------------------------------------


def _lines(report: Json) -> Iterator[str]:
    answers = ", ".join(f"{name} {_told(n)}" for name, n in report["answers"].items())
    yield f"{report['model']}, in silence: {_told(report['twins'])} twins"
    yield f"  answers: {answers or 'none yet'}"
    for version, n in report["versions"].items():
        yield f"  version {version}: {_told(n)}"
    for one in report["refusals"]:
        about = f" ({one['input']})" if "input" in one else ""
        yield f"  {_told(one['twins'])}: {REASONS[one['reason']].sentence.rstrip('.')}{about}"
    for one in report["results"]:
        yield f"  {_name(one)}: {_told(one['twins'])} twins{_quantiles(one)}"
    if "validation" in report:
        yield f"  against what came to pass, {_name(report['validation'])}"
        yield from validate.statistics(report["validation"], "    ")


def _name(one: Json) -> str:
    years = f", {one['horizonYears']} years" if one["horizonYears"] is not None else ""
    return f"{one['outcome']}{years}"


def _quantiles(one: Json) -> str:
    if "quantiles" not in one:
        return ""
    told = ", ".join(f"{value:.4g}" for value in one["quantiles"].values())
    return f"; 5, 25, 50, 75 and 95 % of them lie below {told}"


def _told(count: int | None) -> str:
    return f"fewer than {LEAST_PEOPLE}" if count is None else str(count)
