"""Twins out of a spool: one patient after the other through the same path as any record."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError

from service.bulk.records import Skipped
from service.bulk.report import FAILED, OPEN, UNREACHED
from service.bulk.spool import Spool
from service.fhir.capability import Capability
from service.fhir.errors import (
    Cancelled,
    FhirError,
    Forbidden,
    ServerFailed,
    SetupError,
    SignInRefused,
    Throttled,
    TransportError,
)
from service.fhir.http import FhirClient
from service.fhir.record import PatientRecord
from service.fhir.retry import Clock
from service.pipeline.errors import RunError
from service.pipeline.make import Made, Wish
from service.pipeline.runtime import Runtime
from service.pipeline.service import tally
from service.refresh.chart import Charted, update_chart
from service.stores.audit import AuditStore

# The machine's trouble, not this patient's: the work stops, and is gone on with later.
_STOP = (OSError, SQLAlchemyError, SetupError, Cancelled)
_OUT_OF_ORDER = (TransportError, ServerFailed, Throttled, SignInRefused)
# Another time it may go well: such a patient is not done with.
_LATER = (*_OUT_OF_ORDER, Forbidden)
BREAKS_IN_A_ROW = 3

OnMade = Callable[[Made, PatientRecord, Charted | None], None]
OnFailed = Callable[[Exception], None]
Everybody = Iterator[tuple[str, PatientRecord | Skipped | Exception]]


@dataclass
class Making:
    """All patients of one spool."""

    runtime: Runtime
    spool: Spool
    wish: Wish
    place: str
    """What the runs are noted under: the server's name, or `file`"""
    on_made: OnMade
    on_failed: OnFailed
    check: Callable[[], None]
    scale: str = "percent"
    client: FhirClient | None = None
    """Where results are written; None: nowhere"""
    able: Capability | None = None

    def make(self, everybody: Everybody) -> None:
        """Everybody, each written down when done. Of those a break kept us from, nothing is written
        down until somebody else could be done: else the break was the server's, and this raises."""
        broken: list[tuple[str, str]] = []
        for who, record in everybody:
            self.check()
            word, error = self._one(record)
            if isinstance(error, _OUT_OF_ORDER):
                broken.append((who, word))
                if len(broken) >= BREAKS_IN_A_ROW:
                    raise error
                continue
            for each in (*broken, (who, word)):
                self.spool.made(*each)
            broken.clear()
        for each in broken:
            self.spool.made(*each)

    def _one(self, record: PatientRecord | Skipped | Exception) -> tuple[str, Exception | None]:
        """What came of one person, as a word; and what went wrong."""
        if isinstance(record, Skipped):
            return record.why, None
        started = datetime.now().astimezone()
        if isinstance(record, Exception):
            return self._failed(record)
        try:
            made = self.runtime.maker.make(record, self.wish)
            refusals = self.client is not None and self.client.server.write_refusals
            self.runtime.results(made, self.scale, refusals=refusals)
            charted = self._written(made)
        except _STOP:
            raise
        except Exception as error:  # noqa: BLE001 - one patient's trouble is not the others'
            return self._failed(error)
        self._note(made, record, started)
        self.on_made(made, record, charted)
        word = "new" if made.new else "unchanged"
        return (word if charted is None or charted.confirmed else word + OPEN), None

    def _written(self, made: Made) -> Charted | None:
        if self.client is None:
            return None
        self.client.clock = Clock(self.client.server.limits.budget_seconds)
        return update_chart(self.runtime, made, self.client, self.able)

    def _failed(self, error: Exception) -> tuple[str, Exception]:
        self.on_failed(error)
        known = error.code if isinstance(error, FhirError | RunError) else type(error).__name__
        return (UNREACHED if isinstance(error, _LATER) else FAILED) + known, error

    def _note(self, made: Made, record: PatientRecord, started: datetime) -> None:
        counts = tally(made, len(record.resources))
        self.runtime.note_run(server=self.place, made=made, counts=counts, started=started)
        for kind, type_, _ in made.safety:
            AuditStore(self.runtime.database).record(
                role="system",
                subject="twinport",
                action="safety-event",
                outcome=f"{kind}:{type_}",
                object=made.twin.id,
            )
