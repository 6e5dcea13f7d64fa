"""`twinport diff`: what one version of a twin says that another does not."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from service.cli.exits import CommandError, Exit
from service.cli.facts import fact_in_words
from service.cli.output import emit
from service.cli.trust import trusted_keys
from service.cli.verify import check_file
from service.pages import words
from twin_engine.document import Twin
from twin_engine.document.compare import (
    BETWEEN,
    Answer,
    Changed,
    Comparison,
    OtherTwinError,
    Result,
    compare,
)
from twin_engine.models.moved import moved_between

Json = Mapping[str, Any]

OTHER = {
    "other-version": "another version of the model answered",
    "other-variant": "another variant of the model answered",
}
WHY = {
    "entered-in-error": "entered in error",
    "deleted": "deleted at the source",
    "no-longer-returned": "no longer returned by a complete answer",
    BETWEEN: "gone in a version between these two",
    "": "not seen this time: the answer was not complete",
}


@click.command("diff")
@click.argument("a", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("b", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--keys",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The issuer's key set (JWKS). Default: this installation's own keys.",
)
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
def command(a: Path, b: Path, keys: Path | None, as_json: bool) -> None:
    """What changed between two versions of one twin: facts, completeness, answers.

    Both files are verified first; their order does not matter. Times are told from the newer one's
    now. An earlier version is had with `twinport export --twin ID --version N --to twin`.

    \b
    twinport diff monday/twin.json today/twin.json
    """
    trusted = trusted_keys(keys)
    one, other = (check_file(file, trusted).twin for file in (a, b))
    try:
        found = compare(one, other)
    except OtherTwinError as error:
        raise CommandError(str(error), Exit.INPUT) from None
    older, newer = sorted((one, other), key=lambda twin: twin.version)
    movements = moved_between(older.document, newer.document)
    if as_json:
        emit({"twin": newer.id} | as_dict(found) | {"moved": movements})
        return
    for line in lines(found, newer, movements):
        click.echo(line)


def as_dict(found: Comparison) -> dict[str, Any]:
    return {
        "from": found.older,
        "to": found.newer,
        "direct": found.direct,
        "added": [_change(change) for change in found.added],
        "corrected": [_change(change) for change in found.corrected],
        "withdrawn": [_change(change) for change in found.withdrawn],
        "notSeen": [_change(change) for change in found.not_seen],
        "completeness": [verdict._asdict() for verdict in found.verdicts],
        "results": [_result(result) for result in found.results],
        "restedOnIt": list(found.rested_on_it),
    }


def _change(change: Changed) -> dict[str, Any]:
    return {name: value for name, value in change._asdict().items() if value}


def _result(result: Result) -> dict[str, Any]:
    made = {
        "model": result.model,
        "variant": result.variant,
        "outcome": result.outcome,
        "horizonYears": result.horizon_years,
        "unit": result.unit,
        "before": _side(result.before),
        "after": _side(result.after),
    }
    return {name: value for name, value in made.items() if value not in (None, "")}


def _side(answer: Answer | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    value, reason = answer
    return {"refused": reason} if value is None else {"value": value}


# -- for people ------------------------------------------------------------------------------------


def lines(found: Comparison, newer: Twin, movements: Sequence[Json] = ()) -> Iterator[str]:
    follows = "" if found.direct else " (versions in between are not shown)"
    yield f"twin {newer.id}  version {found.older} to {found.newer}{follows}"
    if found.same:
        yield "  no difference in facts, completeness or answers"
    for name, changes in (("added", found.added), ("corrected", found.corrected)):
        for change in changes:
            yield from _lines(name, change, newer.document)
    for name, changes in (("withdrawn", found.withdrawn), ("not seen", found.not_seen)):
        for change in changes:
            yield from _lines(name, change, newer.document, f" ({WHY[change.why]})")
    for verdict in found.verdicts:
        yield f"  answered   {verdict.type}: {verdict.before} before, {verdict.after} now"
    for result in found.results:
        yield f"  answer     {_result_in_words(result)}"
        yield from _moved_in_words(result, movements)
    if found.rested_on_it:
        models = ", ".join(found.rested_on_it)
        yield f"  superseded {models}: rested on what was corrected or is gone"


def _lines(name: str, change: Changed, document: Mapping[str, Any], why: str = "") -> Iterator[str]:
    yield f"  {name:<10} {change.type} {change.source}{why}"
    yield from _signed("-", change.before, document)
    yield from _signed("+", change.after, document)


def _signed(
    sign: str, facts: Iterable[Mapping[str, Any]], document: Mapping[str, Any]
) -> Iterator[str]:
    head = document["twin"]
    for fact in facts:
        yield f"           {sign} {fact_in_words(fact, head['now'], head['timeUnit'])}"


def _result_in_words(result: Result) -> str:
    years = result.horizon_years
    horizon = f", {words.number(years)} years" if years is not None else ""
    name = f"{result.model} {words.word('outcome', result.outcome)}{horizon}"
    return f"{name}: {_answer(result.before, result)} before, {_answer(result.after, result)} now"


def _moved_in_words(result: Result, movements: Sequence[Json]) -> Iterator[str]:
    """What moved this answer, the largest share first."""
    for one in movements:
        same = (one["model"], one["outcome"], one.get("horizonYears"))
        if same != (result.model, result.outcome, result.horizon_years):
            continue
        if "why" in one:
            yield f"             not divided: {OTHER[one['why']]}"
        for part in one.get("parts", ()):
            name, unit = words.model_input(part["input"]), part.get("unit", "")
            was, now = (_told(part[side], unit, part["input"]) for side in ("from", "to"))
            yield f"             {part['share']:+.0%} {name}: {was} to {now}"


def _told(value: Any, unit: str, name: str) -> str:
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return words.plain(value)
    return words.measured(value, unit, words.decimals(name))


def _answer(answer: Answer | None, result: Result) -> str:
    if answer is None:
        return "not asked"
    value, reason = answer
    if value is None:
        return f"refused ({reason})"
    return words.measured(float(f"{value:.4g}"), result.unit)
