"""`twinport models recalibrate`: a local version, labelled and switched off.
`twinport models local`: who switches it on, when and why; and off again."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np

from service.auth.principals import Principal, Role
from service.cli import validate
from service.cli.csv_rows import read_rows
from service.cli.exits import CommandError, Exit
from service.cli.officer import KEY_FILE, officer
from service.cli.output import emit, say
from service.pipeline.runtime import Runtime, open_runtime
from service.stores.audit import AuditStore
from service.stores.local_models import LONGEST_WHY, LocalModelStore, Switch
from twin_engine.models import cards
from twin_engine.models.recalibrate import (
    METHODS,
    Curve,
    RecalibrationError,
    crossed,
    described,
    fit,
    label,
)
from twin_engine.models.registry import UnknownModelError
from twin_engine.models.validation import validate as judge

Json = dict[str, Any]
KEPT = ("observedOverExpected", "cStatistic", "calibration", "brier")  # of a validation

FILE = click.Path(path_type=Path, dir_okay=False)


@contextmanager
def _runtime() -> Iterator[Runtime]:
    runtime = open_runtime()
    try:
        yield runtime
    finally:
        runtime.close()


# -- making ------------------------------------------------------------------------------------


@click.command("recalibrate")
@click.argument("model_id", metavar="ID[:VARIANT]")
@click.option("--in", "source", type=FILE, required=True)
@click.option("--outcomes", type=FILE, required=True)
@click.option("--outcome", help="Which outcome came to pass. Default: the first reported one.")
@click.option("--horizon", type=int, metavar="YEARS", help="Default: the shortest of the outcome.")
@click.option("--method", type=click.Choice(METHODS), default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The new version as one JSON object.")
def recalibrate_command(
    model_id: str,
    source: Path,
    outcomes: Path,
    outcome: str | None,
    horizon: int | None,
    method: str,
    as_json: bool,
) -> None:
    """Make a local version of a model whose probabilities agree with what came to pass here.

    Files as for `models validate`. `auto` makes the smallest change that the data ask for (none,
    intercept, or intercept and slope, by a closed test); `isotonic` any rising curve. The version
    is kept switched off: only a person can switch it on (`models local on`).

    \b
    twinport models recalibrate prevent --in rows.csv --outcomes events.csv --outcome ascvd
    """
    asked = validate.Question(model_id, outcome, horizon, (), ())
    with ExitStack() as stack:
        events = validate.events(read_rows(stack, outcomes))
        wanted, target, joined = validate.join(asked, read_rows(stack, source), events)
    predicted, observed = np.array(joined.predicted), np.array(joined.observed)
    try:
        curve = fit(predicted, observed, method)
    except RecalibrationError as error:
        raise CommandError(str(error), Exit.INPUT) from None
    people = _people(predicted, observed, curve)
    today = datetime.now(UTC).date().isoformat()
    with _runtime() as runtime:
        store = LocalModelStore(runtime.database)
        number = store.add(
            wanted.model.id,
            lambda number: described(
                wanted.model, number, today, target, wanted.variant or "", curve, people
            ),
        )
        content = store.get(wanted.model.id, number)
    assert content is not None
    _told(content, as_json)


def _people(predicted: Any, observed: Any, curve: Curve) -> Json:
    after = crossed(predicted, observed, curve.method)
    return {
        "people": len(observed),
        "events": int(observed.sum()),
        "before": _kept(judge(predicted, observed)),
        "after": _kept(judge(after, observed)),
    }


def _kept(report: Mapping[str, Any]) -> Json:
    return {name: report[name] for name in KEPT}


def _told(content: Json, as_json: bool) -> None:
    if as_json:
        emit(content)
    else:
        click.echo("\n".join(_lines(content)))
    say(
        f"switched off; next: twinport models local on {content['model']} {content['number']} "
        "--why ..."
    )


def _lines(content: Json) -> Iterator[str]:
    yield f"{content['model']} {label(content)}, made {content['made']}"
    for one in content["curves"]:
        years = f", {one['horizonYears']} years" if one["horizonYears"] is not None else ""
        variant = f", variant {one['variant']}" if one["variant"] else ""
        yield f"  {one['outcome']}{years}{variant}: {_curve(one['curve'])}"
        yield f"  {one['people']} people, {one['events']} events"
        for when in ("before", "after"):
            yield f"  {when:<6}  {_measures(one[when])}"
    yield "  after: every person recalibrated by a curve that others made (ten folds)"


def _curve(curve: Json) -> str:
    if curve["method"] == "isotonic":
        return "isotonic"
    return f"{curve['method']}: log-odds {curve['intercept']:+.3f} + {curve['slope']:.3f} x"


def _measures(found: Json) -> str:
    calibration = found["calibration"]
    return (
        f"observed / expected {found['observedOverExpected']['value']:.2f}, "
        f"in the large {calibration['inTheLarge']['value']:+.2f}, "
        f"slope {calibration['slope']['value']:.2f}, Brier {found['brier']['value']:.4f}, "
        f"C {found['cStatistic']['value']:.3f}"
    )


# -- switching ---------------------------------------------------------------------------------


@click.group("local")
def local_command() -> None:
    """Local versions of models: list them, read their cards, switch them on and off.

    Switching takes an administrator's own key (`twinport keys api-key --role admin`), and is kept
    with who, when and why. A result of a local version says so in its version, `1.0.0+local.1`.
    """


WHY = click.option("--why", required=True, help=f"Kept with the switch, {LONGEST_WHY} characters.")


@local_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def list_command(as_json: bool) -> None:
    """Every local version, whether it is on, and who decided so."""
    with _runtime() as runtime:
        store = LocalModelStore(runtime.database)
        active = store.active()
        found = [_entry(content, active, store) for content in store.all()]
    if as_json:
        emit(found)
        return
    for one in found:
        click.echo(f"{one['model']} {one['version']}  {'ON' if one['on'] else 'off'}")
        for decision in one["decisions"]:
            click.echo(
                f"  {decision['at']}  {decision['did']} by {decision['by']}: {decision['why']}"
            )


def _entry(content: Json, active: Mapping[str, Switch], store: LocalModelStore) -> Json:
    model, number = content["model"], content["number"]
    on = model in active and active[model].number == number
    return {
        "model": model,
        "number": number,
        "version": label(content),
        "made": content["made"],
        "on": on,
        "decisions": list(_decisions(store.history(model), number)),
    }


def _decisions(history: Any, number: int) -> Iterator[Json]:
    """Those about one version: switched on, and what ended that."""
    on = False
    for one in history:
        if one.number == number or on:
            did = "switched on" if one.number == number else "switched off"
            yield {
                "did": did,
                "by": one.switched_by,
                "why": one.why,
                "at": one.at.isoformat(timespec="seconds"),
            }
        on = one.number == number


@local_command.command("card")
@click.argument("model_id", metavar="ID")
@click.argument("number", type=int)
def card_command(model_id: str, number: int) -> None:
    """The card of a local version: what was changed, by whose outcomes, with what effect."""
    with _runtime() as runtime:
        click.echo(cards.markdown(_local(runtime, model_id, number)))


@local_command.command("on")
@click.argument("model_id", metavar="ID")
@click.argument("number", type=int)
@WHY
@KEY_FILE
def on_command(model_id: str, number: int, why: str, key_file: Path | None) -> None:
    """Let local version NUMBER of a model run in place of the published one."""
    with _runtime() as runtime:
        local = _local(runtime, model_id, number)
        if local.base.version != local.local["base"]:
            raise CommandError(
                f"it was made of version {local.local['base']}; {local.base.version} is "
                "installed: recalibrate anew",
                Exit.INPUT,
            )
        _switch(runtime, model_id, number, why, key_file)
    say(f"{model_id} {local.version} is on; every result it makes says so")


@local_command.command("off")
@click.argument("model_id", metavar="ID")
@WHY
@KEY_FILE
def off_command(model_id: str, why: str, key_file: Path | None) -> None:
    """Let the published version of a model run again."""
    with _runtime() as runtime:
        if model_id not in LocalModelStore(runtime.database).active():
            raise CommandError("no local version of this model is on", Exit.USAGE)
        _switch(runtime, model_id, None, why, key_file)
    say(f"{model_id}: the published version runs again")


def _local(runtime: Runtime, model_id: str, number: int) -> Any:
    try:
        return runtime.versions.local(model_id, number)
    except UnknownModelError as error:
        raise CommandError(str(error.args[0]), Exit.USAGE) from None


def _switch(
    runtime: Runtime, model_id: str, number: int | None, why: str, key_file: Path | None
) -> None:
    if not why.strip():
        raise CommandError("--why is empty; say why, for whoever asks later", Exit.USAGE)
    who = _administrator(runtime, key_file)
    LocalModelStore(runtime.database).switch(model_id, number, who.subject, why.strip())
    done = "off" if number is None else f"on:{number}"
    AuditStore(runtime.database).record(
        role=str(who.role), subject=who.subject, action="local-model", outcome=f"{model_id}:{done}"
    )


def _administrator(runtime: Runtime, key_file: Path | None) -> Principal:
    who = officer(runtime, key_file)
    if who.role is not Role.ADMIN:
        raise CommandError(
            "switching takes an administrator's key (twinport keys api-key --role admin)",
            Exit.USAGE,
        )
    return who
