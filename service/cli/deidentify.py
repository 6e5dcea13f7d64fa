"""`twinport deidentify`: FHIR files without identity, under a named policy."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click
import orjson

from privacy import ledger
from privacy.errors import ConflictError
from privacy.policy import Policy, load_policy, policy_ids
from privacy.pseudonyms import new_pseudonym
from service.cli.exits import CommandError, Exit
from service.cli.files import put
from service.cli.output import emit, progress, say
from service.deidentify.batch import Batch, Tally
from service.deidentify.files import Inputs, people_of, write
from service.pipeline.runtime import Runtime, open_runtime
from service.stores.audit import AuditStore
from service.stores.ledger import SqlLedgerStore


@click.command("deidentify")
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--policy",
    "policy_id",
    type=click.Choice(policy_ids()),
    default="safe-harbor",
    show_default=True,
    help="What is kept, changed and dropped; see `twinport policy`.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="A new folder. Names in it say nothing of anybody.",
)
@click.option("--as-of", metavar="DAY", help="Ages are told for this day. Default: today.")
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object.")
def command(path: Path, policy_id: str, out: Path, as_of: str | None, as_json: bool) -> None:
    """De-identify a Bundle, a resource, or a folder of JSON or NDJSON files, into valid FHIR R4.

    \b
    twinport deidentify export/ --out clean/
    twinport deidentify bundle.json --policy date-shift --out clean/
    """
    today = _day(as_of)
    inputs = Inputs.of(path)
    runtime = open_runtime()
    try:
        report = _run(runtime, inputs, load_policy(policy_id), out, today)
    finally:
        runtime.close()
    put(out / "report.json", orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")
    if as_json:
        emit(report)
        return
    refused = sum(row["n"] for row in report["refusals"])
    click.echo(
        f"{report['read']} resources of {report['patients']} patients read, {refused} refused"
    )
    for item in report["outputs"]:
        click.echo(f"{item['n']:>8}  {item['name']}")
    say(f"ledger entry {report['ledger'].partition(':')[0]}; each path is in report.json")


def _run(
    runtime: Runtime, inputs: Inputs, policy: Policy, out: Path, today: date
) -> dict[str, Any]:
    people = people_of(inputs, new_pseudonym())
    project = runtime.config.project.name
    batch = Batch(policy, runtime.vault, people, project=project, today=today)
    report: dict[str, Any] = {"policy": policy.as_reference()}

    def record(outputs: list[dict[str, Any]]) -> None:
        store, audit = SqlLedgerStore(runtime.database), AuditStore(runtime.database)
        with store.alone():
            tally = _closed(batch)
            report.update(outputs=outputs, **tally.as_report())
            head = ledger.append(store, runtime.signer, batch.entry(outputs))
            for person in tally.people:
                audit.record(
                    role="system", subject="twinport", action="deidentify", outcome="done",
                    object=person, policy=policy.short,
                )  # fmt: skip
        report["ledger"] = f"{head.seq}:{head.digest}"

    with batch, progress("de-identifying", None) as bar:
        write(inputs, batch, out, record=record, seen=bar.update)
    return report


def _closed(batch: Batch) -> Tally:
    try:
        return batch.close()
    except ConflictError:
        what = "another run about the same people ended first: nothing was written, start it again"
        raise CommandError(what, Exit.BLOCKED) from None


def _day(text: str | None) -> date:
    today = datetime.now(UTC).date()
    try:
        day = date.fromisoformat(text) if text else today
    except ValueError:
        raise click.UsageError("--as-of takes YYYY-MM-DD") from None
    if day > today:
        raise click.UsageError("--as-of takes today or an earlier day")
    return day
