"""`twinport whatif`: what a model says with other inputs, or what trials of a treatment measured.

A calculation of an equation, printed as such: nothing here is worded as advice.
"""

from pathlib import Path
from typing import Any

import click

from mappings.vocabulary.units import unit_label
from service.cli.exits import CommandError, Exit
from service.cli.output import emit
from service.cli.trust import trusted_keys
from service.cli.verify import check_file
from service.config import load_config
from twin_engine.models.assess import Request, request
from twin_engine.models.contract import REASONS
from twin_engine.models.effects import treatments
from twin_engine.models.registry import UnknownModelError, get
from twin_engine.models.whatif import WhatIfError, treat, what_if
from twin_engine.state import State

Json = dict[str, Any]

OF_TRIALS = "in trials, of 100 people like those studied with this predicted risk"
OF_VALUES = "of 100 people with these values"


@click.command("whatif")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--model", "model_id", default="prevent", show_default=True, metavar="ID[:VARIANT]")
@click.option("--set", "changes", multiple=True, metavar="INPUT=VALUE", help="May be repeated.")
@click.option("--treatment", metavar="ID", help="One; none is ever added to another.")
@click.option(
    "--keys",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The issuer's key set (JWKS). Default: this installation's own keys.",
)
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
def command(
    file: Path,
    model_id: str,
    changes: tuple[str, ...],
    treatment: str | None,
    keys: Path | None,
    as_json: bool,
) -> None:
    """Run a model on a twin with some inputs exchanged (--set, in the units of its card), or apply
    what trials of one treatment measured to its predicted risk (--treatment). Nothing is stored.

    \b
    twinport whatif twin.json --set systolic-bp=120 --set smoking-current=0
    twinport whatif twin.json --treatment lower-ldl-1
    """
    asked = _asked(model_id)
    if bool(changes) == bool(treatment):
        raise CommandError(_either(asked), Exit.USAGE)
    state = State(check_file(file, trusted_keys(keys)).twin.document)
    try:
        found = (
            treat(state, asked, treatment) if treatment else what_if(state, asked, _set(changes))
        )
    except WhatIfError as error:
        raise CommandError(str(error), Exit.USAGE) from None
    if as_json:
        emit(found)
    else:
        click.echo("\n".join(lines(found)))


def _asked(model_id: str) -> Request:
    try:
        asked = request(model_id)
    except (UnknownModelError, LookupError) as error:
        raise CommandError(str(error.args[0]), Exit.USAGE) from None
    stated = load_config().models.settings
    return asked._replace(settings={n.replace("_", "-"): word for n, word in stated.items()})


def _either(asked: Request) -> str:
    offered = ", ".join(treatments(asked.model.id)) or "none for this model"
    return f"give either --set INPUT=VALUE or one --treatment ({offered})"


def _set(changes: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for change in changes:
        name, sign, value = change.partition("=")
        if not sign or not name or name in found:
            raise WhatIfError("--set takes INPUT=VALUE, each input once")
        found[name] = value
    return found


# -- words -------------------------------------------------------------------------------------


def lines(found: Json) -> list[str]:
    """The answer for people: the grade beside every number, harms beside every benefit."""
    model = get(found["model"]["id"])
    told = [f"{model.title}, {found['model']['variant']} [{found['grade']}]", found["says"], ""]
    if "label" in found:
        told += [f"{found['label']}:"]
    else:
        told += [_change(one) for one in found["changes"]]
    probability = model.kind == "probability"
    for one in found["results"]:
        told += _result(one, model.outcomes[one["outcome"]].label, found["grade"], probability)
    told += [
        f"  {_named(one)}: no number. {REASONS[one['reason']].sentence}"
        for one in found["refusals"]
    ]
    told += [f"  {text}" for text in (*found.get("limits", ()), *found.get("harms", ()))]
    return told


def _change(one: Json) -> str:
    unit = unit_label(one["unit"]) if "unit" in one else ""
    return f"  {one['input']}: {_word(one['from'])} -> {_word(one['to'])} {unit}".rstrip()


def _word(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _result(one: Json, label: str, grade: str, probability: bool) -> list[str]:
    shown = _percent if probability else _plain
    years = f", {one['horizonYears']} years" if "horizonYears" in one else ""
    told = [f"  {label}{years} [{grade}]: {shown(one['before'])} -> {shown(one['after'])}"]
    if "interval" in one:
        told.append(f"    {_whose(one, probability)}: {_difference(one, probability)}")
    else:
        told.append("    no range of the difference: no citable variation of an input")
    if "effect" in one:
        told.append(f"    {_trials(one['effect'])}")
    return told


def _whose(one: Json, probability: bool) -> str:
    if not probability:
        return "difference"
    return OF_TRIALS if "effect" in one else OF_VALUES


def _difference(one: Json, probability: bool) -> str:
    """In events of a hundred people; a range that holds nought is no clear difference."""
    interval = one["interval"]
    if interval["low"] <= 0 <= interval["high"]:
        return "no clear difference (its range holds zero)"
    if not probability:
        return f"{one['difference']:+.4g} ({interval['low']:+.4g} to {interval['high']:+.4g})"
    per = [round(100 * abs(interval[end]), 1) for end in ("low", "high")]
    fewer = "fewer" if one["difference"] < 0 else "more"
    middle = round(100 * abs(one["difference"]), 1)
    return f"{middle} {fewer} ({min(per)} to {max(per)})"


def _trials(effect: Json) -> str:
    return (
        f"{effect['measure']} {effect['estimate']:g} ({effect['low']:g} to {effect['high']:g}) for "
        f"{effect['outcome']}, {effect['population']}; evidence {effect['evidence']}, "
        f"outcome {effect['match']}. {effect['source']}"
    )


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _plain(value: float) -> str:
    return f"{value:.4g}"


def _named(one: Json) -> str:
    years = f", {one['horizonYears']} years" if "horizonYears" in one else ""
    return f"{one['outcome']}{years}"
