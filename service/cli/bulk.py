"""`twinport bulk`: whole populations by Bulk Data export, from kick-off to twins."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from service.bulk.desk import Asked, Desk
from service.bulk.job import Watch
from service.bulk.report import Report
from service.cli.exits import CommandError, Exit, explain
from service.cli.files import TwinFolder, as_json, as_lines, prepare, put, write_proofs
from service.cli.output import Bar, emit, say
from service.cli.purposes import purpose_option
from service.cli.run import configured_server
from service.cli.summary import Summary, kinds_of
from service.fhir.record import PatientRecord
from service.pipeline.make import Made
from service.pipeline.runtime import Runtime, open_runtime
from service.refresh.chart import Charted
from service.stores.bulk import BulkJob

F = TypeVar("F", bound=Callable[..., Any])


@click.group("bulk")
def command() -> None:
    """Whole populations by Bulk Data export: one twin for each patient, models run, kept.

    Files pass through a spool that is sealed on disk and destroyed at the end. Whatever stops it,
    a killed process included, is gone on with by `bulk run` or `bulk resume`.
    """


def _options(*options: Callable[[F], F]) -> Callable[[F], F]:
    def add(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return add


_WHAT = (
    click.option("--group", metavar="ID", help="Export this Group. Default: `bulk.group`."),
    click.option("--patients", is_flag=True, help="Export all patients, whatever is configured."),
    click.option("--system", is_flag=True, help="Export the whole server."),
    click.option(
        "--since",
        metavar="WHEN",
        default="",
        help="Only who changed since an instant, or since the `last` complete export: their "
        "records are pulled one by one.",
    ),
    click.option(
        "--type", "types", multiple=True, metavar="T", help="Only this type; may be repeated."
    ),
    click.option("--policy", metavar="P", help="De-identification policy. Default: safe-harbor."),
    click.option(
        "--model",
        "models",
        multiple=True,
        metavar="M",
        help="Model id, or id:variant; may be repeated. Default: all installed.",
    ),
    purpose_option,
    click.option("--write-back", is_flag=True, help="Write results to the server."),
)
_RESULTS = (
    click.option(
        "--out",
        type=click.Path(path_type=Path),
        help="Write one folder for each twin here, named by its pseudonym, and report.json, "
        "quarantine.jsonl, ledger.jsonl and keys.json beside them.",
    ),
    click.option("--json", "as_json_", is_flag=True, help="The report as one JSON object."),
)


# -- run, start ------------------------------------------------------------------------------------


@command.command("run")
@click.argument("server", metavar="NAME|URL")
@_options(*_WHAT, *_RESULTS)
def run(server: str, out: Path | None, as_json_: bool, **what: Any) -> int:
    """Start an export, or go on with the one under way, to the last twin. For every night.

    \b
    twinport bulk run main --group nightly --json
    twinport bulk run main --since last --write-back
    """
    with _desk(out) as desk:
        desk.tidy()
        asked = _asked(desk, server, **what)
        job = desk.under_way(asked)
        if job is None:
            job = desk.begin(asked)
        elif not as_json_:
            say(f"going on with {job.id}, begun {job.created:%Y-%m-%d %H:%M} UTC")
        return _to_the_end(desk, job, out, as_json_)


@command.command("start")
@click.argument("server", metavar="NAME|URL")
@_options(*_WHAT)
@click.option("--json", "as_json_", is_flag=True, help="The export as JSON.")
def start(server: str, as_json_: bool, **what: Any) -> None:
    """Ask a server for an export and do not wait for it. `bulk resume` fetches it."""
    with _desk(None) as desk:
        desk.tidy()
        asked = _asked(desk, server, **what)
        if (before := desk.under_way(asked)) is not None:
            raise CommandError(
                f"{before.id} of the same population is under way; resume or cancel it", Exit.SETUP
            )
        job = desk.begin(asked)
    _show(job, as_json_)


# -- resume, status, cancel ------------------------------------------------------------------------


@command.command("resume")
@click.argument("which", metavar="EXPORT|NAME", required=False)
@_options(*_RESULTS)
def resume(which: str | None, out: Path | None, as_json_: bool) -> int:
    """Go on with an export that was started or stopped: wait, fetch, make twins."""
    with _desk(out) as desk:
        return _to_the_end(desk, _unfinished(desk, which), out, as_json_)


@command.command("status")
@click.argument("which", metavar="EXPORT", required=False)
@click.option("--json", "as_json_", is_flag=True, help="As JSON, one object a line.")
def status(which: str | None, as_json_: bool) -> None:
    """What is under way, and how the last exports ended. Asks no server."""
    with _desk(None) as desk:
        jobs = [job for job in desk.store.recent() if which in (None, job.id)]
        if which and not jobs:
            raise CommandError("no such export; see `twinport bulk status`", Exit.USAGE)
        for job in jobs:
            _show(job, as_json_, desk.is_held(job))


@command.command("cancel")
@click.argument("which", metavar="EXPORT|NAME")
def cancel(which: str) -> None:
    """Give an export up: here at once, with everything fetched so far, and on the server."""
    with _desk(None) as desk:
        job = _unfinished(desk, which)
        told = desk.cancel(job)
    say(f"cancelled {job.id}")
    if not told:
        say("the server did not take that; it may hold its place until the export expires there")


# -- pieces ----------------------------------------------------------------------------------------


@contextmanager
def _desk(out: Path | None) -> Iterator[Desk]:
    if out is not None:
        prepare(out)
    runtime = open_runtime()
    try:
        yield Desk(runtime)
    finally:
        runtime.close()


def _asked(
    desk: Desk,
    name: str,
    *,
    group: str | None,
    patients: bool,
    system: bool,
    since: str,
    types: tuple[str, ...],
    policy: str | None,
    models: tuple[str, ...],
    purpose: str,
    write_back: bool,
) -> Asked:
    if sum((bool(group), patients, system)) > 1:
        raise click.UsageError("give one of --group, --patients, --system")
    server = configured_server(desk.runtime, name)
    level = "group" if group else "patient" if patients else "system" if system else ""
    if write_back and not server.write_back:
        raise CommandError("write_back is off for this server in the configuration", Exit.SETUP)
    chosen = level or server.bulk.level
    return Asked(
        server=server,
        level=chosen,
        group=(group or server.bulk.group) if chosen == "group" else "",
        since=since,
        types=types,
        policy=policy,
        models=models,
        purpose=purpose,
        write_back=write_back,
    )


def _unfinished(desk: Desk, which: str | None) -> BulkJob:
    jobs = desk.store.unfinished() if which is None else desk.unfinished(which)
    if len(jobs) == 1:
        return jobs[0]
    if not jobs:
        raise CommandError("no such export is under way; see `twinport bulk status`", Exit.USAGE)
    raise CommandError(f"name one of: {', '.join(job.id for job in jobs)}", Exit.USAGE)


def _show(job: BulkJob, as_json_: bool, held: bool = False) -> None:
    row = {
        "export": job.id,
        "server": job.server,
        "level": job.level,
        "changes": job.changes,
        "state": str(job.state),
        "working": held,
        "complete": job.complete,
        "error": job.error,
        "counts": dict(job.counts),
        "transactionTime": job.transaction_time and job.transaction_time.isoformat(),
        "created": job.created.isoformat(),
        "finished": job.finished and job.finished.isoformat(),
    }
    if as_json_:
        emit(row)
        return
    word = f"{job.state}{f' ({job.error})' if job.error else ''}{', in hand' if held else ''}"
    whole = "" if not job.ended or job.error else ", complete" if job.complete else ", partial"
    counts = ", ".join(f"{name} {n}" for name, n in job.counts.items() if n)
    head = f"{job.id}  {job.created:%Y-%m-%d %H:%M}  {job.server} ({job.level})"
    click.echo(f"{head}  {word}{whole}{f': {counts}' if counts else ''}")


def _to_the_end(desk: Desk, job: BulkJob, out: Path | None, as_json_: bool) -> int:
    watch = _Shown(desk.runtime, out, quiet=as_json_)
    try:
        report = desk.carry_on(job, watch)
    finally:
        watch.clear()
    done = {"export": job.id, "server": job.server, "level": job.level, **report.as_dict()}
    if out is not None:
        put(out / "report.json", as_json(done))
        put(out / "quarantine.jsonl", as_lines(report.quarantine()))
        write_proofs(out, desk.runtime)
    if as_json_:
        emit(done)
    else:
        for line in lines(job, report):
            click.echo(line)
    return _code(report, watch.codes)


def _code(report: Report, codes: list[Exit]) -> int:
    if codes:
        return max(codes)
    if report.unwritten:
        return Exit.WRITE_BACK
    return Exit.OK if report.complete else Exit.PARTIAL


class _Shown(Watch):
    """One bar for each stage on a terminal; a line for each otherwise."""

    LABELS = {"waiting": "preparing %", "loading": "files", "making": "patients"}  # noqa: RUF012

    def __init__(self, runtime: Runtime, out: Path | None, *, quiet: bool) -> None:
        self._runtime, self._out, self._quiet = runtime, out, quiet
        self._bar: Bar | None = None
        self._stage = ""
        self.codes: list[Exit] = []

    def stage(self, name: str) -> None:
        if name != self._stage and not self._quiet:
            self.clear()
            self._stage = name
            self._bar = Bar(self.LABELS[name], None)
            if not self._bar.shows:
                say(_SAID[name])

    def preparing(self, percent: int | None) -> None:
        if percent is not None:
            self._to(percent, 100)

    def files(self, done: int, total: int) -> None:
        self._to(done, total)

    def patients(self, done: int, total: int) -> None:
        self._to(done, total)

    def _to(self, done: int, total: int) -> None:
        if self._bar is not None:
            self._bar.total = total
            self._bar.update_to(done)

    def clear(self) -> None:
        if self._bar is not None:
            self._bar.clear()
            self._bar = None

    def made(self, made: Made, record: PatientRecord, charted: Charted | None) -> None:
        if self._out is None:
            return
        folder = self._out / made.twin.id
        summary = Summary.of(made, kinds_of(record), charted, folder)
        TwinFolder(folder, self._runtime).write_own(made, "percent", summary)

    def failed(self, error: Exception) -> None:
        message, code = explain(error)
        say(f"twinport: {message}")
        self.codes.append(code)


_SAID = {
    "waiting": "waiting for the server to prepare the export",
    "loading": "fetching its files",
    "making": "making twins",
}


# -- for people ------------------------------------------------------------------------------------


def lines(job: BulkJob, report: Report) -> Iterator[str]:
    state = "complete" if report.complete else "PARTIAL"
    yield f"export {job.id} of {job.server} ({job.level}): {state}"
    yield f"  files      {_files(report)}"
    total = report.coverage.total
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in total.lines.most_common(5))
    yield f"  lines      {total.lines.total():,}: {kinds or 'none'}"
    if total.bad:
        yield f"  set aside  {total.bad:,} lines that can't be read; places in quarantine.jsonl"
    if report.deleted:
        told = ", ".join(f"{name} {count}" for name, count in report.deleted.items())
        yield f"  deleted    {told}"
    yield f"  patients   {_patients(report)}"
    if missing := report.missing():
        told = ", ".join(f"{kind} ({reason})" for kind, reason in missing.items())
        yield f"  not known  {told}"
    for host in report.foreign:
        yield f"  refused    files at {host}: if they belong there, add it to `bulk.file_origins`"


def _files(report: Report) -> str:
    done, listed = report.files["done"], report.files.total()
    why = ", ".join(f"{reason} {count}" for reason, count in sorted(report.failures.items()))
    return f"{done:,} of {listed:,}{f'; {why}' if why else ''}"


def _patients(report: Report) -> str:
    parts = [f"{word} {count:,}" for word, count in sorted(report.patients.items())]
    text = ", ".join(parts) or "none"
    return f"{text}; {report.strangers:,} without a Patient" if report.strangers else text
