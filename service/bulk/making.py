"""Twins out of a spool: one patient after the other through the same path as any record."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError

from service.bulk.records import Skipped
from service.bulk.report import FAILED, OPEN
from service.bulk.spool import Spool
from service.fhir.capability import Capability
from service.fhir.errors import Cancelled, FhirError, SetupError, TransportError
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
    _breaks: int = field(default=0, init=False)

    def make(self, everybody: Everybody) -> None:
        for who, record in everybody:
            self.check()
            self.spool.made(who, self._one(record))

    def _one(self, record: PatientRecord | Skipped | Exception) -> str:
        """What came of one person, as a word."""
        if isinstance(record, Skipped):
            return record.why
        started = datetime.now().astimezone()
        if isinstance(record, Exception):
            return self._failed(record)
        try:
            made = self.runtime.maker.make(record, self.wish)
            self.runtime.results(made, self.scale)
            charted = self._written(made)
        except _STOP:
            raise
        except Exception as error:  # noqa: BLE001 - one patient's trouble is not the others'
            return self._failed(error)
        self._breaks = 0
        self._note(made, record, started)
        self.on_made(made, record, charted)
        word = "new" if made.new else "unchanged"
        return word if charted is None or charted.confirmed else word + OPEN

    def _written(self, made: Made) -> Charted | None:
        if self.client is None:
            return None
        self.client.clock = Clock(self.client.server.limits.budget_seconds)
        return update_chart(self.runtime, made, self.client, self.able)

    def _failed(self, error: Exception) -> str:
        self._breaks += isinstance(error, TransportError)
        if self._breaks >= BREAKS_IN_A_ROW:
            raise error  # the server is gone: no use in failing for everybody
        self.on_failed(error)
        known = error.code if isinstance(error, FhirError | RunError) else type(error).__name__
        return FAILED + known

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
