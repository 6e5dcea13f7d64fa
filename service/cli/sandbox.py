"""`twinport sandbox`: the built-in FHIR server."""

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import click

from service.cli.exits import CommandError, Exit
from service.cli.output import say

if TYPE_CHECKING:
    from service.sandbox import Persona


@click.command("sandbox")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=int, default=None, help="Port to listen on.  [default: 8090]")
@click.option(
    "--anchor",
    metavar="DAY",
    help="The day on which the records end, YYYY-MM-DD. Default: today, so that nothing is stale.",
)
@click.option("--seed", type=int, default=None, help="Another seed makes another population.")
@click.option(
    "--persona",
    metavar="NAME",
    help="Behave like one vendor's server: azure, epic, google, hapi, healthlake, medplum, oracle.",
)
def command(
    host: str, port: int | None, anchor: str | None, seed: int | None, persona: str | None
) -> None:
    """Run a small FHIR R4 server with 28 made-up patients, until stopped from the keyboard.

    \b
    twinport sandbox &
    twinport run --server http://127.0.0.1:8090/fhir --patient demo-001
    """
    from service.sandbox import DEFAULT_PORT, run
    from service.sandbox.population import DEFAULT_SEED

    chosen = DEFAULT_PORT if port is None else port
    vendor = _persona(persona)
    say(f"FHIR R4 sandbox at http://{host}:{chosen}{vendor.prefix}  (Ctrl-C stops it)")
    try:
        run(host, chosen, _day(anchor), DEFAULT_SEED if seed is None else seed, vendor)
    except OSError as error:
        raise CommandError(
            f"can't listen on port {chosen} ({type(error).__name__}); choose another with --port",
            Exit.SETUP,
        ) from None


def _persona(name: str | None) -> "Persona":
    from service.sandbox import Persona
    from service.sandbox.personas import PERSONAS

    if name is None:
        return Persona()
    if name not in PERSONAS:
        raise click.UsageError(f"--persona takes one of {', '.join(sorted(PERSONAS))}")
    return PERSONAS[name]()


def _day(text: str | None) -> date:
    if text is None:
        return datetime.now(UTC).date()
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise click.UsageError("--anchor takes a day as YYYY-MM-DD") from None
