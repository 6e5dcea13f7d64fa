"""One patient from a server, asked as earlier runs found it wants to be asked."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from service.dicomweb.read import read_patient, with_acquisition
from service.fhir.capability import Capability, read_capability
from service.fhir.http import FhirClient
from service.fhir.pull import ALL, Arrived, Progress, pull_changes
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
    arrived: Arrived | None = None,
) -> PatientRecord:
    """All of it."""
    with learning(client, database) as lessons:
        told = {"progress": progress, "arrived": arrived}
        return read_patient(client, patient, types=types, **told, **lessons)


def pull_again(
    client: FhirClient,
    patient: str,
    database: Database,
    kept: Kept | None,
    terms: Terms,
    progress: Progress | None = None,
) -> tuple[PatientRecord, Kept]:
    """What has changed, over what was kept; and what is to be kept now."""
    with learning(client, database) as lessons:
        record, now = pull_changes(client, patient, kept, terms, progress, **lessons)
        return with_acquisition(record, client), now


@contextmanager
def learning(
    client: FhirClient, database: Database, able: Capability | None = None
) -> Iterator[dict[str, Any]]:
    """How the server wants to be asked, and can be: as arguments of a pull. What is learned on the
    way is kept, also of a pull that failed. `able` saves asking what it can."""
    store, base = LessonStore(database), client.server.base_url
    able = read_capability(client) if able is None else able
    learned = store.of(base, able.digest)
    known = frozenset(learned)
    try:
        yield {"capability": able, "learned": learned}
    finally:
        if learned != known:
            store.keep(base, able.digest, learned, known)


def types_for(models: Sequence[Request], *, only_needed: bool) -> tuple[str, ...]:
    """All types, or those that these models read."""
    if not only_needed:
        return ALL
    needed = frozenset[str]().union(*(types_read(one.model) for one in models))
    return tuple(name for name in ALL if name in needed)
