"""`twinport run`: patients from a server, a Bundle or NDJSON through the whole path."""

from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click

from service.bulk import folder as ndjson_folder
from service.bulk.report import Report
from service.cli.exits import CommandError, Exit, explain
from service.cli.files import TwinFolder, as_lines, prepare, put, write_proofs
from service.cli.output import emit, progress, say
from service.cli.purposes import purpose_option
from service.cli.summary import Summary, kinds_of, lines
from service.fhir.bundle import read_bundle
from service.fhir.errors import SetupError, UnsafeAddress
from service.fhir.http import FhirClient
from service.fhir.pull import ALL, Arrived
from service.fhir.record import PatientRecord
from service.fhir.servers import ServerConfig, from_url
from service.pipeline.make import Made, Wish
from service.pipeline.pulling import pull, types_for
from service.pipeline.runtime import Runtime, open_runtime
from service.refresh.chart import Charted, update_chart

AS_OF = {"today": "run", "last-record": "record"}


@dataclass(frozen=True)
class Source:
    """Exactly one of the three places records come from."""

    server: str | None
    bundle: Path | None
    ndjson: Path | None

    def check(self, patient: str | None, *, only_needed: bool) -> None:
        given = [place for place in (self.server, self.bundle, self.ndjson) if place]
        if len(given) != 1:
            raise click.UsageError("give one of --server, --bundle, --ndjson")
        if self.server and not patient:
            raise click.UsageError("--server needs --patient ID")
        if only_needed and not self.server:
            raise click.UsageError("--only-needed is about what a --server is asked for")


@click.command("run")
@click.option("--server", metavar="NAME|URL", help="A configured server, or any FHIR base URL.")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    help="A Bundle or single resource as JSON, .gz too; works offline.",
)
@click.option(
    "--ndjson",
    type=click.Path(path_type=Path),
    help="A folder of NDJSON files, as Bulk Data gives them; works offline.",
)
@click.option("--patient", metavar="ID", help="Only this patient.")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="M",
    help="Model id, or id:variant; may be repeated. Default: all installed.",
)
@click.option(
    "--only-needed",
    is_flag=True,
    help="Ask the server for the types that these models read, and for no others.",
)
@click.option("--policy", metavar="P", help="De-identification policy. Default: safe-harbor.")
@click.option(
    "--as-of",
    metavar="DAY",
    help="today, last-record or YYYY-MM-DD. Default: today for a server, last-record for files.",
)
@purpose_option
@click.option("--dry-run", is_flag=True, help="Do everything but write to the server.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write twin.json, assessments.json, report.json, ledger.jsonl and keys.json here; with "
    "several patients the first three in one sub-folder each, named by the twin's pseudonym.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per patient, one a line.")
def command(
    server: str | None,
    bundle: Path | None,
    ndjson: Path | None,
    patient: str | None,
    models: tuple[str, ...],
    only_needed: bool,
    policy: str | None,
    as_of: str | None,
    purpose: str,
    dry_run: bool,
    out: Path | None,
    as_json: bool,
) -> int:
    """Pull or read patients, make their signed twins, run models, write results back.

    \b
    twinport run --server https://fhir.example.org/r4 --patient 123 --out here
    twinport run --bundle patient.json.gz --model prevent --out here
    twinport run --ndjson export/ --json
    """
    source = Source(server, bundle, ndjson)
    source.check(patient, only_needed=only_needed)
    when = _as_of(as_of, default="today" if server else "last-record")
    if out is not None:
        prepare(out)
    runtime = open_runtime()
    try:
        _say_what_is_new(runtime)
        wish = Wish(
            policy=runtime.policy(policy), models=runtime.models(models), purpose=purpose, **when
        )
        job = _Job(runtime, wish, out, as_json)
        if server:
            assert patient is not None
            job.types = types_for(wish.models, only_needed=only_needed)
            return job.from_server(configured_server(runtime, server), patient, dry_run)
        if ndjson:
            return job.from_folder(ndjson, patient)
        records = _records(source, patient)
        return job.from_files(records, len(records))
    finally:
        runtime.close()


def _say_what_is_new(runtime: Runtime) -> None:
    if runtime.fresh:
        say(f"created {' and '.join(runtime.fresh)} in {runtime.config.home}")


def _as_of(text: str | None, default: str) -> dict[str, Any]:
    chosen = default if text is None else text
    if chosen in AS_OF:
        return {"as_of": AS_OF[chosen]}
    try:
        return {"as_of": "stated", "day": date.fromisoformat(chosen)}
    except ValueError:
        raise click.UsageError("--as-of takes today, last-record or YYYY-MM-DD") from None


def configured_server(runtime: Runtime, text: str) -> ServerConfig:
    """The operator at the command line may give any URL; callers over HTTP may not."""
    if "://" not in text:
        return runtime.server(text)
    for name, entry in runtime.config.servers.items():
        if entry.base_url.rstrip("/") == text.rstrip("/"):
            return runtime.server(name)  # with its sign-in and its limits
    try:
        return from_url(text, runtime.config.limits)
    except (UnsafeAddress, SetupError):
        raise click.UsageError(
            "--server takes a configured name or an http(s) URL without password"
        ) from None


@dataclass
class _Job:
    runtime: Runtime
    wish: Wish
    out: Path | None
    as_json: bool
    types: tuple[str, ...] = ALL
    """What a server is asked for"""

    def from_server(self, server: ServerConfig, patient: str, dry_run: bool) -> int:
        with FhirClient(server) as client:
            started = datetime.now().astimezone()
            with self.runtime.maker.ahead(server.base_url, self.wish) as ahead:
                record = self._pull(client, patient, ahead.arrived)
                made = self.runtime.maker.make(record, self.wish, ahead=ahead)
            charted: Charted | None = None
            scale, refusals = server.probability_scale, server.write_refusals
            self.runtime.results(made, scale, refusals=refusals)
            if not dry_run and server.write_back:
                charted = update_chart(self.runtime, made, client)
            pulled = kinds_of(record)
            del record  # a long one is large, and what follows is the writing of files
            self._finish(made, pulled, charted, server, started)
        return _code(charted)

    def _pull(self, client: FhirClient, patient: str, arrived: Arrived) -> PatientRecord:
        seen: dict[str, int] = {}
        shown = nullcontext(None) if self.as_json else progress("pulling", None)
        with shown as bar:

            def report(kind: str, _pages: int, matches: int) -> None:
                seen[kind] = matches
                if bar is not None:
                    bar.update_to(sum(seen.values()))

            return pull(client, patient, self.runtime.database, self.types, report, arrived)

    def _finish(
        self,
        made: Made,
        pulled: Counter[str],
        charted: Charted | None,
        server: ServerConfig | None,
        started: datetime,
    ) -> None:
        folder = self._folder(made) if self.out else None
        summary = Summary.of(made, pulled, charted, folder)
        place = server.name if server else "file"
        self.runtime.note_run(server=place, made=made, counts=summary.counts, started=started)
        if folder is not None:
            scale = server.probability_scale if server else "percent"
            files = TwinFolder(folder, self.runtime)
            (files.write_own if self.several else files.write)(made, scale, summary)
        if self.as_json:
            emit(summary.as_dict())
        else:
            for line in lines(summary):
                click.echo(line)

    # -- files ---------------------------------------------------------------------------------

    several = False
    done = 0

    def from_folder(self, folder: Path, patient: str | None) -> int:
        """Any number of patients, of whom one is held at a time."""
        config = self.runtime.config
        shown = nullcontext(None) if self.as_json else progress("files", None)
        with shown as bar:

            def tell(done: int, total: int) -> None:
                if bar is not None:
                    bar.total = total
                    bar.update_to(done)

            opened = ndjson_folder.opened(
                folder, config.spool_dir, cap=config.limits.file_bytes, tell=tell
            )
            with opened as found:
                if bar is not None:
                    bar.clear()
                self._say_what_was_lost(found.report)
                code = self.from_files(found.records(patient), 1 if patient else found.people)
        if self.done == 0:
            raise CommandError(_NOBODY, Exit.INPUT)
        return code

    def _say_what_was_lost(self, report: Report) -> None:
        bad, files = report.coverage.total.bad, report.failures.total()
        if files:
            why = ", ".join(f"{reason} {n}" for reason, n in sorted(report.failures.items()))
            say(f"{files} files can't be read ({why}); no type is complete then")
        if bad:
            where = "; see quarantine.jsonl" if self.out else ""
            say(f"{bad} lines can't be read; the types they may be of are partial{where}")
        if self.out is not None and report.bad_lines:
            put(self.out / "quarantine.jsonl", as_lines(report.quarantine()))

    def from_files(self, records: Iterable[PatientRecord], total: int) -> int:
        """One after the other; where one cannot be done, the others still are."""
        self.several = total > 1
        shown = self.several and not self.as_json
        failures: list[Exit] = []
        with progress("patients", total) if shown else nullcontext() as bar:
            for record in records:
                self.done += 1
                failures += self._one(record)
                if bar is not None:
                    bar.update(1)
        if failures and self.several:
            say(f"{len(failures)} of {self.done} patients could not be done; see above")
        if self.out is not None and self.several:
            write_proofs(self.out, self.runtime)
        return max(failures, default=Exit.OK)

    def _one(self, record: PatientRecord) -> list[Exit]:
        started = datetime.now().astimezone()
        try:
            made = self.runtime.maker.make(record, self.wish)
            self.runtime.results(made)
            self._finish(made, kinds_of(record), None, None, started)
        except Exception as error:  # noqa: BLE001 - explained in one line like any other
            message, code = explain(error)
            say(f"twinport: {message}")
            return [code]
        return []

    def _folder(self, made: Made) -> Path:
        assert self.out is not None
        return self.out / made.twin.id if self.several else self.out


def _records(source: Source, patient: str | None) -> list[PatientRecord]:
    assert source.bundle is not None
    found = read_bundle(source.bundle)
    records = [r for r in found if patient is None or r.patient_id == patient]
    if not records:
        raise CommandError(_NOBODY, Exit.INPUT)
    return records


_NOBODY = "no such patient in there; leave --patient out to take all"


def _code(charted: Charted | None) -> int:
    delivered = charted.delivered if charted else ()
    waiting = [item.result for item in delivered if not item.confirmed]
    if waiting:
        steps = sorted({result.next_step or result.detail for result in waiting} - {""})
        next_step = "; ".join(steps) or "run the same command again"
        raise CommandError(f"not every result is on the server yet: {next_step}", Exit.WRITE_BACK)
    return Exit.OK
