"""One patient from a server, asked as earlier runs found it wants to be asked."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from service.dicomweb.read import read_patient, with_acquisition
from service.fhir.capability import read_capability
from service.fhir.http import FhirClient
from service.fhir.pull import ALL, Progress, pull_changes
from service.fhir.record import PatientRecord
from service.fhir.since import Kept, Terms
from service.stores import Database
from service.stores.lessons import LessonStore
from twin_engine.models.assess import Request
from twin_engine.models.inputs import types_read


def pull(
    client: FhirClient,
    patient: str,
    database: Database,
    types: Iterable[str] = ALL,
    progress: Progress | None = None,
) -> PatientRecord:
    """All of it."""
    with _learning(client, database) as lessons:
        return read_patient(client, patient, types=types, progress=progress, **lessons)


def pull_again(
    client: FhirClient,
    patient: str,
    database: Database,
    kept: Kept | None,
    terms: Terms,
    progress: Progress | None = None,
) -> tuple[PatientRecord, Kept]:
    """What has changed, over what was kept; and what is to be kept now."""
    with _learning(client, database) as lessons:
        record, now = pull_changes(client, patient, kept, terms, progress, **lessons)
        return with_acquisition(record, client), now


@contextmanager
def _learning(client: FhirClient, database: Database) -> Iterator[dict[str, Any]]:
    """What was learned on the way is kept, also of a pull that failed."""
    store, base = LessonStore(database), client.server.base_url
    able = read_capability(client)
    learned = store.of(base, able.digest)
    known = frozenset(learned)
    try:
        yield {"capability": able, "learned": learned}
    finally:
        if learned != known:
            store.keep(base, able.digest, learned)


def types_for(models: Sequence[Request], *, only_needed: bool) -> tuple[str, ...]:
    """All types, or those that these models read."""
    if not only_needed:
        return ALL
    needed = frozenset[str]().union(*(types_read(one.model) for one in models))
    return tuple(name for name in ALL if name in needed)
