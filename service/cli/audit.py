"""`twinport audit`: who did what, handed out as a file."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from service.cli.files import put
from service.cli.output import say
from service.office.audit_export import FORMATS
from service.pipeline.runtime import open_runtime
from service.stores.audit import AuditFilter, AuditStore

DAY = click.DateTime(["%Y-%m-%d"])


@click.group("audit")
def command() -> None:
    """Every use of a twin, every run, decision and export: codes and pseudonyms, no value."""


@command.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--format",
    "form",
    type=click.Choice(tuple(FORMATS)),
    help="JSON Lines, a table, or FHIR AuditEvents line by line. Default: by the file's name.",
)
@click.option("--from", "start", type=DAY, metavar="DAY", help="The first day (UTC).")
@click.option("--to", "end", type=DAY, metavar="DAY", help="The last day (UTC).")
@click.option("--twin", help="Of one twin alone.")
@click.option("--action", help="Of one kind alone, such as twin.read.")
def export_command(
    file: Path,
    form: str | None,
    start: datetime | None,
    end: datetime | None,
    twin: str | None,
    action: str | None,
) -> None:
    """Write the events of a period to FILE, oldest first. The export is itself an event."""
    chosen = form or file.suffix.removeprefix(".")
    if chosen not in FORMATS:
        raise click.UsageError(f"give --format, one of: {', '.join(FORMATS)}")
    where = AuditFilter(
        object=twin,
        action=action,
        start=start and start.replace(tzinfo=UTC),
        end=end and end.replace(tzinfo=UTC) + timedelta(days=1),
    )
    runtime = open_runtime()
    try:
        store = AuditStore(runtime.database)
        store.record(role="admin", subject="command-line", action="audit-export", outcome="done")
        base = runtime.config.web.origin
        put(file, b"".join(FORMATS[chosen].lines(store.events(where), base)))
        say(f"{store.count(where)} events")
    finally:
        runtime.close()
