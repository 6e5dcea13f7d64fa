"""`twinport extend`: continue a twin from elsewhere with what is known here."""

from pathlib import Path

import click

from service.cli.exits import CommandError, Exit
from service.cli.files import put
from service.cli.output import emit, say
from service.pipeline.runtime import open_runtime
from service.receive.errors import ReceiveError
from service.receive.extend import Extender


@click.command("extend")
@click.argument("foreign", metavar="ID")
@click.option("--with", "local", required=True, metavar="ID", help="The local twin of the person.")
@click.option(
    "--days",
    required=True,
    type=click.IntRange(0, 40_000),
    help="Days from the moment of the twin from elsewhere to that of the local one.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The new version as a package (.sphr), to hand on.",
)
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
def command(foreign: str, local: str, days: int, out: Path, as_json: bool) -> None:
    """Continue a twin from elsewhere with what is known here, as its next version.

    You say that both are of one person, and how far apart they were made: neither twin knows a
    date. The new version names the one it continues, is signed by this installation, and its
    answers are computed anew. The local twin is not changed.

    \b
    twinport extend ID --with LOCAL --days 12 --out continued.sphr
    """
    runtime = open_runtime()
    try:
        extender = Extender(runtime)
        made = extender.extend(foreign, local, days, "admin", "cli")
        put(out, extender.package(foreign))
    except ReceiveError as error:
        raise CommandError(str(error), Exit.INPUT) from None
    finally:
        runtime.close()
    row = {
        "twin": made.twin.id,
        "version": made.twin.version,
        "added": made.added,
        "duplicates": made.duplicates,
    }
    if as_json:
        emit(row)
    else:
        say(
            f"version {made.twin.version}: {made.added} facts added, {made.duplicates} known before"
        )
