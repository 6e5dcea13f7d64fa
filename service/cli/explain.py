"""`twinport explain`: every value of one concept back to where it came from."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from service.cli.exits import CommandError, Exit
from service.cli.output import emit
from service.cli.trust import trusted_keys
from service.cli.verify import check_file
from service.pages import courses, words
from service.pages.courses import ANSWER, MISSING, NOT_USED, PRESENCE
from twin_engine.explain import (
    Aside,
    Conversion,
    Entry,
    Explanation,
    Reader,
    Source,
    UnknownConceptError,
    Value,
    explain,
    kinds,
)
from twin_engine.models.registry import all_models
from twin_engine.now import USUAL_DAYS, Now
from twin_engine.state import Missing, Presence, Reading, Usual

PRECISIONS = ("onsetPrecision", "startPrecision", "precision")


@click.command("explain")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("concept")
@click.option(
    "--keys",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The issuer's key set (JWKS). Default: this installation's own keys.",
)
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
def command(file: Path, concept: str, keys: Path | None, as_json: bool) -> None:
    """Where every value of CONCEPT in a twin comes from, and what is made of it.

    CONCEPT is a name of our vocabulary: a quantity (`creatinine`), an answer (`smoking-status`), a
    condition group (`hypertension`), a medicine class (`statin`), a procedure group, or what a
    vaccine is against (`influenza`). The file is verified first.

    \b
    twinport explain here/twin.json systolic-bp
    """
    try:
        chosen = kinds(concept)
    except UnknownConceptError as error:
        raise CommandError(str(error), Exit.USAGE) from None
    checked = check_file(file, trusted_keys(keys))
    models = tuple(all_models().values())
    found = [explain(checked.twin.document, concept, kind, models) for kind in chosen]
    if as_json:
        emit(
            {
                "twin": checked.twin.id,
                "version": checked.twin.version,
                "explanations": [one.as_dict() for one in found],
            }
        )
        return
    for one in found:
        for line in lines(one):
            click.echo(line)


def lines(one: Explanation) -> Iterator[str]:
    yield f"{one.label} ({one.kind} {one.name}{f', in {words.unit(one.unit)}' if one.unit else ''})"
    yield from _state(one)
    for value in one.values:
        yield from _value(value, one)
    for entry in one.entries:
        yield _entry(entry, one)
    for aside in one.set_aside:
        yield _aside(aside, one)
    for conflict in one.conflicts:
        yield f"  conflict   {conflict['n']} different values {_ago(conflict['t'], one)}"
    for part in one.slices:
        yield f"  record     {_slice(part)}"
    for reader in one.readers:
        yield f"  read by    {_reader(reader)}"


def _ago(t: int, one: Explanation, precision: str = "day") -> str:
    return words.ago(t, one.now, one.time_unit, precision)


# -- what the state says ---------------------------------------------------------------------------


def _state(one: Explanation) -> Iterator[str]:
    if one.latest is not None:
        yield f"  latest     {_latest(one)}"
    if one.usual is not None:
        yield f"  usual      {_usual(one.usual)}"
    if one.course is not None:
        yield from _course(one.course)
    if one.presence is not None:
        yield f"  now        {_presence(one.presence, one)}"


def _latest(one: Explanation) -> str:
    latest = one.latest
    if isinstance(latest, Missing):
        return f"none: {MISSING[latest.reason]}"
    assert latest is not None
    when = _ago(latest.t, one, latest.precision)
    if not isinstance(latest, Reading):
        return f"{latest.code}, {when}"
    mean = f" (mean of {latest.n} readings of that moment)" if latest.n > 1 else ""
    return f"{words.measured(latest.value, latest.unit)}, {when}{mean}"


def _usual(usual: Usual | Missing) -> str:
    span = f"within {USUAL_DAYS} days"
    if isinstance(usual, Missing):
        return f"none {span}: {MISSING[usual.reason]}"
    spread = "" if usual.sd is None else f", standard deviation {words.number(round(usual.sd, 2))}"
    level = words.measured(round(usual.value, 2), usual.unit)
    return f"{level} {span}: {words.counted(usual.n, 'day')} with readings{spread}"


def _course(course: Now) -> Iterator[str]:
    told = (("again", courses.again), ("change", courses.change), ("trend", courses.trend))
    for name, words_of in told:
        if sentence := words_of(course):
            yield f"  {name:<10} {sentence}"


def _presence(presence: Presence, one: Explanation) -> str:
    since = "" if presence.since is None else f", first {_ago(presence.since, one)}"
    return f"{ANSWER[presence.value]}: {PRESENCE[presence.reason]}{since}"


# -- facts -----------------------------------------------------------------------------------------


def _value(value: Value, one: Explanation) -> Iterator[str]:
    shown = value.value
    if not isinstance(shown, str):
        shown = f"{value.comparator}{words.measured(shown, one.unit)}"
    told = [_ago(value.t, one, value.precision)]
    if value.origin not in ("", "measured"):
        told.append(value.origin)
    if value.status != "final":
        told.append(value.status)
    told += filter(None, [value.site, value.method, _called(value), NOT_USED[value.use]])
    mark = "*" if value.use == "latest" else " "
    yield f" {mark}value      {shown}, {', '.join(told)}; {_source(value.source)}"
    if value.conversion is not None:
        yield f"             {_conversion(value.conversion)}"


def _called(value: Value) -> str:
    """As the source has it: which range was the person's own, the twin can't know."""
    ends = value.range or {}
    span = f"{ends.get('low', '')}-{ends.get('high', '')}" if ends else ""
    return " ".join(filter(None, [value.flag, f"(source's range {span})" if span else ""]))


def _source(source: Source) -> str:
    return f"{source.type} {source.id}"


def _conversion(rule: Conversion) -> str:
    if (rule.factor, rule.offset) == (1, 0):
        return f"came as {rule.arrived}: the same unit, {rule.source}"
    offset = f" {rule.offset:+g}" if rule.offset else ""
    return f"came in {rule.arrived}: x {rule.factor:g}{offset}, {rule.source}"


def _entry(entry: Entry, one: Explanation) -> str:
    fact = entry.fact
    code = f"{fact['system']} {fact['code']}" if "code" in fact else "no code"
    when = "undated" if entry.t is None else _ago(entry.t, one, _precision(fact))
    said = [fact[key] for key in ("clinical", "verification", "status") if key in fact]
    dose = words.dose_of(fact) if one.kind == "immunization" else ""
    told = ", ".join([code, when + dose, *said])
    return f"  {entry.standing:<10} {told}; {_source(entry.source)}"


def _precision(fact: Any) -> str:
    return str(next((fact[key] for key in PRECISIONS if key in fact), "day"))


def _aside(aside: Aside, one: Explanation) -> str:
    when = "undated" if aside.t is None else _ago(aside.t, one)
    return f"  set aside  {when}: {aside.sentence} ({aside.rule}); {_source(aside.source)}"


# -- completeness and use --------------------------------------------------------------------------


def _slice(part: Any) -> str:
    why = f" ({part['reason']})" if "reason" in part else ""
    return f"{part['type']}: {words.VERDICTS[part['verdict']]}{why}"


def _reader(reader: Reader) -> str:
    window = "" if reader.window_days is None else f", not older than {reader.window_days} days"
    fresh = {True: "", False: ", nothing usable inside", None: ""}[reader.fresh]
    used = "; an assessment in this twin rests on it" if reader.used else ""
    return f"{reader.model} {reader.version} as {reader.input}{window}{fresh}{used}"
