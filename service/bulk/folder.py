"""A folder of NDJSON files, as Bulk Data gives them: any number of files, bounded memory.

The files are read once, into a sealed spool of their own whose key never leaves this process.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.bulk import place
from service.bulk.coverage import of_files
from service.bulk.errors import NotFhirAtAll
from service.bulk.intake import Intake
from service.bulk.manifest import OUTPUT, Listed
from service.bulk.records import Records, Skipped
from service.bulk.report import Report, tally_files
from service.bulk.spool import FILE, File, Spool
from service.fhir.errors import FhirError, SourceError
from service.fhir.record import PatientRecord
from service.fhir.source import DEFAULT_CAP, lines

NDJSON = (".ndjson", ".ndjson.gz", ".jsonl", ".jsonl.gz")
BASIS = "ndjson"

Tell = Callable[[int, int], None]


def nobody(done: int, total: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class Folder:
    """What a folder holds, read and sorted by patient."""

    people: int
    report: Report
    _spool: Spool

    def records(self, patient: str | None = None) -> Iterator[PatientRecord]:
        """One after the other; those that are part of another's record now are left out."""
        found = Records(self._spool, self.report.coverage, BASIS)
        if patient is not None:
            everybody = iter([(patient, found.of(patient))] if self._spool.knows(patient) else [])
        else:
            everybody = found.everybody()
        for who, record in everybody:
            if not isinstance(record, Skipped):
                yield record
            self._spool.made(who, record.why if isinstance(record, Skipped) else "read")


@contextmanager
def opened(
    folder: Path, spools: Path, *, cap: int = DEFAULT_CAP, tell: Tell = nobody
) -> Iterator[Folder]:
    """`spools`: where the sealed spool lies for as long as this lasts."""
    paths = files_in(folder)
    name = secrets.token_urlsafe(12)
    with place.held(spools, name) as at:
        try:
            with Spool(at / FILE, secrets.token_bytes(32)) as spool:
                _read(spool, paths, cap, tell)
                yield Folder(spool.number_of_people(), _report(spool), spool)
        finally:
            place.destroy(spools, name)


def files_in(folder: Path) -> list[Path]:
    try:
        found = sorted(path for path in folder.iterdir() if path.name.lower().endswith(NDJSON))
    except OSError:
        found = []
    if not found:
        raise SourceError("holds no NDJSON files", "Give a folder of *.ndjson.", kind="folder")
    return found


def _read(spool: Spool, paths: list[Path], cap: int, tell: Tell) -> None:
    spool.expect(Listed(OUTPUT, "", str(path)) for path in paths)
    intake = Intake(spool)
    last: FhirError | None = None
    for number, file in enumerate(spool.files("waiting"), 1):
        try:
            _take(intake, file, cap)
        except NotFhirAtAll as error:
            spool.ignored(file.n)
            last = error
        except FhirError as error:
            spool.failed(file.n, error.code)
            last = error
        tell(number, len(paths))
    if last is not None and not spool.number_of_files("done"):
        raise last
    if not spool.number_of_people():
        raise SourceError(
            "holds no Patient", "Give a folder that includes the Patients.", kind="folder"
        )
    spool.index()


def _take(intake: Intake, file: File, cap: int) -> None:
    intake.take(file, lines(Path(file.url), cap))


def _report(spool: Spool) -> Report:
    states, reasons = tally_files(spool.files())
    return Report(
        files=states,
        failures=reasons,
        coverage=of_files(spool.files()),
        patients={},
        strangers=spool.strangers(),
        bad_lines=tuple(spool.bad_lines()),
    )
