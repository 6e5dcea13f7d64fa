"""`twinport run`: patients from a server, a Bundle or NDJSON through the whole path."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click

from service.cli.exits import CommandError, Exit
from service.cli.files import TwinFolder
from service.cli.output import emit, progress, say
from service.cli.summary import Summary, lines
from service.fhir.bundle import read_bundle, read_ndjson
from service.fhir.http import FhirClient
from service.fhir.pull import pull_patient
from service.fhir.record import PatientRecord
from service.fhir.servers import ServerConfig, from_url
from service.pipeline.deliver import Delivered
from service.pipeline.errors import RunError
from service.pipeline.make import Made, Wish
from service.pipeline.runtime import Runtime, open_runtime

AS_OF = {"today": "run", "last-record": "record"}


@dataclass(frozen=True)
class Source:
    """Exactly one of the three places records come from."""

    server: str | None
    bundle: Path | None
    ndjson: Path | None

    def check(self, patient: str | None) -> None:
        given = [place for place in (self.server, self.bundle, self.ndjson) if place]
        if len(given) != 1:
            raise click.UsageError("give one of --server, --bundle, --ndjson")
        if self.server and not patient:
            raise click.UsageError("--server needs --patient ID")


@click.command("run")
@click.option("--server", metavar="NAME|URL", help="A configured server, or any FHIR base URL.")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A Bundle or single resource as JSON, .gz too; works offline.",
)
@click.option(
    "--ndjson",
    type=click.Path(path_type=Path, file_okay=False),
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
@click.option("--policy", metavar="P", help="De-identification policy. Default: safe-harbor.")
@click.option(
    "--as-of",
    metavar="DAY",
    help="today, last-record or YYYY-MM-DD. Default: today for a server, last-record for files.",
)
@click.option("--dry-run", is_flag=True, help="Do everything but write to the server.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write twin.json, assessments.json, ledger.jsonl, report.json and keys.json here; with "
    "several patients one sub-folder each, named by the twin's pseudonym.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per patient, one a line.")
def command(
    server: str | None,
    bundle: Path | None,
    ndjson: Path | None,
    patient: str | None,
    models: tuple[str, ...],
    policy: str | None,
    as_of: str | None,
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
    source.check(patient)
    runtime = open_runtime()
    try:
        _say_what_is_new(runtime)
        wish = Wish(
            policy=runtime.policy(policy),
            models=runtime.models(models),
            **_as_of(as_of, default="today" if server else "last-record"),
        )
        job = _Job(runtime, wish, out, as_json)
        if server:
            assert patient is not None
            return job.from_server(_server(runtime, server), patient, dry_run)
        return job.from_files(source, patient)
    finally:
        runtime.close()


def _say_what_is_new(runtime: Runtime) -> None:
    if runtime.fresh:
        say(f"created {' and '.join(runtime.fresh)} in {runtime.config.home}")


def _as_of(text: str | None, default: str) -> dict[str, Any]:
    chosen = text or default
    if chosen in AS_OF:
        return {"as_of": AS_OF[chosen]}
    try:
        return {"as_of": "stated", "day": date.fromisoformat(chosen)}
    except ValueError:
        raise click.UsageError("--as-of takes today, last-record or YYYY-MM-DD") from None


def _server(runtime: Runtime, text: str) -> ServerConfig:
    """The operator at the command line may give any URL; callers over HTTP may not."""
    if "://" in text:
        return from_url(text, runtime.config.limits)
    return runtime.server(text)


@dataclass
class _Job:
    runtime: Runtime
    wish: Wish
    out: Path | None
    as_json: bool

    def from_server(self, server: ServerConfig, patient: str, dry_run: bool) -> int:
        with FhirClient(server) as client:
            started = datetime.now().astimezone()
            record = self._pull(client, patient)
            made = self.runtime.maker.make(record, self.wish)
            delivered: list[Delivered] | None = None
            if not dry_run and server.write_back:
                delivered = self._deliver(made, client)
            self._finish(made, record, delivered, server, started)
        return _code(delivered)

    def _pull(self, client: FhirClient, patient: str) -> PatientRecord:
        seen: dict[str, int] = {}
        shown = nullcontext(None) if self.as_json else progress("pulling", None)
        with shown as bar:

            def report(kind: str, _pages: int, matches: int) -> None:
                seen[kind] = matches
                if bar is not None:
                    bar.update_to(sum(seen.values()))

            return pull_patient(client, patient, progress=report)

    def _deliver(self, made: Made, client: FhirClient) -> list[Delivered]:
        runtime = self.runtime
        parcels = runtime.deliverer.parcels(made, client.server.probability_scale)
        return runtime.deliverer.deliver(parcels, client, runtime.outbox, runtime.sealer.seal)

    def _finish(
        self,
        made: Made,
        record: PatientRecord,
        delivered: list[Delivered] | None,
        server: ServerConfig | None,
        started: datetime,
    ) -> None:
        folder = self._folder(made) if self.out else None
        summary = Summary.of(made, record, delivered, folder)
        place = server.name if server else "file"
        self.runtime.note_run(server=place, made=made, counts=summary.counts, started=started)
        if folder is not None:
            scale = server.probability_scale if server else "percent"
            TwinFolder(folder, self.runtime).write(made, scale, summary)
        if self.as_json:
            emit(summary.as_dict())
        else:
            for line in lines(summary):
                click.echo(line)

    # -- files ---------------------------------------------------------------------------------

    several = False

    def from_files(self, source: Source, patient: str | None) -> int:
        records = [r for r in _read(source) if patient is None or r.patient_id == patient]
        if not records:
            raise CommandError(
                "no such patient in there; leave --patient out to take all", Exit.INPUT
            )
        self.several = len(records) > 1
        failures = 0
        for record in self._each(records):
            failures += self._one(record)
        if failures and failures == len(records) == 1:
            return self.last_code
        if failures:
            say(f"{failures} of {len(records)} patients could not be done; see the lines above")
            return self.last_code
        return Exit.OK

    last_code: int = Exit.OK

    def _each(self, records: Sequence[PatientRecord]) -> Iterator[PatientRecord]:
        if self.as_json or not self.several:
            yield from records
            return
        with progress("patients", len(records)) as bar:
            for record in records:
                yield record
                bar.update(1)

    def _one(self, record: PatientRecord) -> int:
        """One patient of a file; the others go on where one cannot be done."""
        from service.cli.exits import explain

        started = datetime.now().astimezone()
        try:
            made = self.runtime.maker.make(record, self.wish)
        except RunError as error:
            if not self.several:
                raise
            message, self.last_code = explain(error)
            say(message)
            return 1
        self._finish(made, record, None, None, started)
        return 0

    def _folder(self, made: Made) -> Path:
        assert self.out is not None
        return self.out / made.twin.id if self.several else self.out


def _read(source: Source) -> list[PatientRecord]:
    if source.bundle is not None:
        return read_bundle(source.bundle)
    assert source.ndjson is not None
    return read_ndjson(source.ndjson)


def _code(delivered: Sequence[Delivered] | None) -> int:
    if delivered and not all(item.confirmed for item in delivered):
        steps = {item.result.next_step or item.result.detail for item in delivered}
        raise CommandError(
            f"not every result is on the server yet: {'; '.join(sorted(filter(None, steps)))}",
            Exit.WRITE_BACK,
        )
    return Exit.OK
