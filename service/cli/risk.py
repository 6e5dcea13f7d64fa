"""`twinport risk`: how recognisable the held twins are, measured."""

import click

from privacy.policy import twin_policy_ids
from service.cli.exits import CommandError, Exit
from service.cli.output import emit
from service.pipeline.runtime import open_runtime
from service.risk.report import lines, report
from service.risk.rows import QUASI, held

DEFAULT = ("sex", "age", "deceased")


@click.command("risk")
@click.option(
    "--knows",
    multiple=True,
    type=click.Choice(tuple(QUASI)),
    help=f"What an outsider is taken to know; may be repeated. Default: {', '.join(DEFAULT)}.",
)
@click.option(
    "--policy",
    type=click.Choice(twin_policy_ids()),
    default="safe-harbor",
    show_default=True,
    help="Twins of one policy are measured together.",
)
@click.option(
    "--population",
    type=click.IntRange(1),
    metavar="N",
    help="People from whom the twins were drawn, to estimate who is unique among them.",
)
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object.")
def command(knows: tuple[str, ...], policy: str, population: int | None, as_json: bool) -> None:
    """Measure disclosure risk over the held twins: classes, uniqueness, an attacker who knows a
    few facts, and how few results of one day single a twin out. No value is shown."""
    runtime = open_runtime()
    try:
        found = report(held(runtime.database, policy), knows or DEFAULT, population)
    except ValueError as error:
        raise CommandError(str(error), Exit.USAGE) from None
    finally:
        runtime.close()
    if as_json:
        emit(found)
        return
    for line in lines(found):
        click.echo(line)
