"""`twinport risk`: how recognisable the held twins are, measured."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from privacy.policy import twin_policy_ids
from privacy.thresholds import THRESHOLDS
from service.cli.exits import CommandError, Exit
from service.cli.officer import KEY_FILE, officer
from service.cli.output import emit
from service.pipeline.runtime import Runtime, open_runtime
from service.risk.desk import RiskDesk
from service.risk.settings import DEFAULT, RiskError, read_people
from service.risk.text import lines, twin_lines
from service.stores.risk import QUASI

POLICY = click.option(
    "--policy",
    type=click.Choice(twin_policy_ids()),
    default="safe-harbor",
    show_default=True,
    help="Twins of one policy are measured together.",
)
KNOWS = click.option(
    "--knows",
    multiple=True,
    type=click.Choice(tuple(QUASI)),
    help="What an outsider is taken to know; may be repeated. Default: as set, at first "
    f"{', '.join(DEFAULT.knows)}.",
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON value.")


@click.group("risk")
def command() -> None:
    """Disclosure risk, measured. No value of any twin is shown."""


@command.command("held")
@KNOWS
@POLICY
@click.option(
    "--population",
    type=click.IntRange(1),
    metavar="N",
    help="People from whom the twins were drawn, to estimate who is unique among them. "
    "Default: as set.",
)
@AS_JSON
def held_command(
    knows: tuple[str, ...], policy: str, population: int | None, as_json: bool
) -> None:
    """Measure the held twins: classes, uniqueness, an attacker who knows a few facts, and how few
    results of one day single a twin out."""
    with _desk() as (desk, _):
        found = desk.held(policy, knows=knows, population=population)
    if as_json:
        emit(found)
        return
    for line in lines(found):
        click.echo(line)


@command.command("twin")
@click.argument("twin")
@AS_JSON
def twin_command(twin: str, as_json: bool) -> None:
    """Measure one TWIN among those held under its policy."""
    with _desk() as (desk, _):
        found = desk.twin(twin)
    if as_json:
        emit(found)
        return
    for line in twin_lines(found):
        click.echo(line)


@command.command("history")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def history_command(as_json: bool) -> None:
    """The class sizes that the ledger binds to each twin, as they were when it was made."""
    with _desk() as (desk, _):
        found = desk.history()
    if as_json:
        emit(found)
        return
    for made in found:
        click.echo(
            f"{made['seq']:>6}  {made['twin']}  {made['own']} alike of {made['twins']}, smallest "
            f"class {made['k']}, wanted {made['wanted']}: {'met' if made['met'] else 'not met'}"
        )


@command.command("set")
@click.option("--threshold", type=click.Choice([level.id for level in THRESHOLDS]))
@click.option("--k", type=int, metavar="N", help="A smallest class of your own instead.")
@KNOWS
@click.option("--population", type=click.IntRange(1), metavar="N", help="People drawn from.")
@click.option(
    "--people",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A table (CSV) of them instead: a column for each trait known, and `people`.",
)
@click.option("--source", default="", help="Where the figures of the population come from.")
@KEY_FILE
def set_command(
    threshold: str | None,
    k: int | None,
    knows: tuple[str, ...],
    population: int | None,
    people: Path | None,
    source: str,
    key_file: Path | None,
) -> None:
    """Decide, as a privacy officer, what risk is held against from now on. Whatever is not named
    is as at first; audit log and ledger record it."""
    if threshold and k is not None:
        raise click.UsageError("give --threshold or --k")
    with _desk() as (desk, runtime):
        names = knows or DEFAULT.knows
        made = desk.settle(
            officer(runtime, key_file),
            threshold=threshold or DEFAULT.threshold,
            k=k,
            knows=names,
            population=population,
            source=source,
            people=None if people is None else read_people(_lines(people), names),
        )
    click.echo(f"{made.threshold}: at least {made.k} alike by {', '.join(made.knows)}")


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"can't read the table ({type(error).__name__})", Exit.INPUT) from None


@contextmanager
def _desk() -> Iterator[tuple[RiskDesk, Runtime]]:
    runtime = open_runtime()
    try:
        yield RiskDesk(runtime.database, runtime.signer), runtime
    except RiskError as error:
        raise CommandError(str(error), Exit.USAGE) from None
    finally:
        runtime.close()
