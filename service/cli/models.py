"""`twinport models`: what can be predicted, what each model says of itself, and rows of a file."""

import csv
import importlib
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import click

from service.cli import validate
from service.cli.csv_rows import read_rows
from service.cli.exits import CommandError, Exit
from service.cli.lazy import LazyGroup
from service.cli.output import emit
from twin_engine.models import cards, rows
from twin_engine.models.check import findings
from twin_engine.models.contract import Model
from twin_engine.models.registry import UnknownModelError, all_models, get

LATER = {
    "recalibrate": "service.cli.local_models:recalibrate_command",
    "local": "service.cli.local_models:local_command",
    "silent": "service.cli.silent:silent_command",
}


@click.group("models", cls=LazyGroup, later=LATER)
def command() -> None:
    """Published equations and installed plug-ins, each with its card."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
def list_command(as_json: bool) -> None:
    """Every installed model with its version, outcomes and variants."""
    models = all_models().values()
    if as_json:
        emit([_short(model) for model in models])
        return
    width = max(len(model.id) for model in models)
    for model in models:
        click.echo(f"{model.id.ljust(width)}  {model.version:<8} {model.title}")
        variants = ", ".join(model.variants)
        click.echo(f"{' ' * width}  outcomes {', '.join(model.outcomes)}; variants {variants}")


def _short(model: Model) -> dict[str, Any]:
    return {
        "id": model.id,
        "version": model.version,
        "title": model.title,
        "outcomes": list(model.outcomes),
        "variants": list(model.variants),
    }


@command.command("card")
@click.argument("model_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="The card as JSON.")
def card_command(model_id: str, as_json: bool) -> None:
    """A model's card: intended use, population, inputs, performance, limits, sources."""
    model = _model(model_id)
    if as_json:
        emit(cards.card(model))
    else:
        click.echo(cards.markdown(model))


@command.command("check")
@click.argument("name", metavar="ID|MODULE")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per model.")
def check_command(name: str, as_json: bool) -> None:
    """Try on a model what the contract promises: units, card, reference values reproduced,
    determinism, batch equal to rows, refusal on both sides of every range, how it moves with its
    inputs, undeclared inputs, ranges.

    ID is an installed model; MODULE a Python module with a function models(). Exit code 3 when
    anything does not hold. A module runs with your rights: check only what you trust.
    """
    failed = False
    for model in _to_check(name):
        found = findings(model)
        failed = failed or bool(found)
        if as_json:
            emit({"model": model.id, "version": model.version, "findings": found})
            continue
        click.echo(f"{model.id} {model.version}: {'does not conform' if found else 'conforms'}")
        for finding in found:
            click.echo(f"  {finding}")
    if failed:
        raise CommandError("a model does not keep the contract; the findings say where", Exit.INPUT)


@command.command("validate")
@click.argument("model_id", metavar="ID[:VARIANT]")
@click.option("--in", "source", type=click.Path(path_type=Path, dir_okay=False), required=True)
@click.option("--outcomes", type=click.Path(path_type=Path, dir_okay=False), required=True)
@click.option("--outcome", help="Which outcome came to pass. Default: the first reported one.")
@click.option("--horizon", type=int, metavar="YEARS", help="Default: the shortest of the outcome.")
@click.option("--threshold", "thresholds", multiple=True, type=click.FloatRange(0.001, 0.999))
@click.option(
    "--group", "columns", multiple=True, metavar="COLUMN", help="Beside sex and age band."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Save the report here: report.html, report.json, and each figure as SVG.",
)
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object.")
def validate_command(
    model_id: str,
    source: Path,
    outcomes: Path,
    outcome: str | None,
    horizon: int | None,
    thresholds: tuple[float, ...],
    columns: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Compare a model's probabilities with what came to pass: discrimination, calibration, Brier
    score and net benefit, also by sex, age band and other columns, with bootstrap intervals.

    --in holds rows as for `models run`, with a column id; --outcomes the columns id and event
    (0 or 1, known for the whole horizon). Thresholds come from a guideline, before looking.
    Fewer than 100 events are not judged; groups of fewer than 11 people are not even named.

    \b
    twinport models validate prevent --in rows.csv --outcomes events.csv --threshold 0.075
    """
    asked = validate.Question(model_id, outcome, horizon, thresholds, columns)
    with ExitStack() as stack:
        events = validate.events(read_rows(stack, outcomes))
        report = validate.report(asked, read_rows(stack, source), events)
    if out is not None:
        validate.save(report, out)
    if as_json:
        emit(report)
    else:
        click.echo("\n".join(validate.lines(report)))


def _to_check(name: str) -> list[Model]:
    if name in all_models():
        return [get(name)]
    try:
        offered = importlib.import_module(name).models
    except (ImportError, AttributeError, ValueError):
        known = ", ".join(all_models())
        raise CommandError(
            f"neither an installed model ({known}) nor a module with a function models()",
            Exit.USAGE,
        ) from None
    return list(offered())


@command.command("run")
@click.argument("model_id", metavar="ID")
@click.option("--in", "source", type=click.Path(path_type=Path, dir_okay=False), required=True)
@click.option("--out", "target", type=click.Path(path_type=Path, dir_okay=False), required=True)
@click.option("--variant", help="Default: chosen row by row, by what is known.")
@click.option("--horizon", type=int, metavar="YEARS", help="Only this horizon.")
@click.option("--no-interval", is_flag=True, help="Leave the intervals out; much faster.")
def run_command(
    model_id: str,
    source: Path,
    target: Path,
    variant: str | None,
    horizon: int | None,
    no_interval: bool,
) -> None:
    """Run a model on a CSV file, row by row: columns are inputs in canonical units (the card lists
    them), an empty cell is unknown, other columns pass through. `-` reads or writes a pipe.

    \b
    twinport models run prevent --in people.csv --out risks.csv --no-interval
    """
    _model(model_id)
    with ExitStack() as stack:
        found = read_rows(stack, source)
        try:
            results = rows.run_rows(
                model_id, found, variant=variant, horizon=horizon, interval=not no_interval
            )
            _write(stack, target, results)
        except LookupError as error:
            raise CommandError(str(error.args[0]), Exit.USAGE) from None


def _write(stack: ExitStack, target: Path, results: Iterator[dict[str, Any]]) -> None:
    """The header comes from the first row; an input without rows still leaves a header."""
    first = next(results, None)
    file: IO[str] = sys.stdout
    if str(target) != "-":
        file = stack.enter_context(target.open("w", newline="", encoding="utf-8"))
    names = list(first) if first is not None else list(rows.OUTPUT)
    writer = csv.writer(file)
    writer.writerow(names)
    if first is not None:
        writer.writerow(first.values())
        writer.writerows(row.values() for row in results)  # their keys are always the same


def _model(model_id: str) -> Model:
    try:
        return get(model_id)
    except UnknownModelError as error:
        raise CommandError(str(error.args[0]), Exit.USAGE) from None
