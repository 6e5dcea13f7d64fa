"""One patient from a server, asked as earlier runs found it wants to be asked."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, NamedTuple

from service.dicomweb.read import read_patient, with_acquisition
from service.fhir.capability import Capability, read_capability
from service.fhir.http import FhirClient
from service.fhir.merged import Person, find_person
from service.fhir.pull import ALL, Arrived, Progress, pull_changes
from service.fhir.record import PatientRecord
from service.fhir.since import Kept, Terms
from service.fhir.together import begun
from service.stores import Database
from service.stores.lessons import LessonStore
from twin_engine.models.assess import Request
from twin_engine.models.inputs import types_read


class Asked(NamedTuple):
    """The two questions that come before all others. Neither waits for the other, nor do they for
    whoever asks them."""

    person: Future[Person]
    able: Future[tuple[Capability, set[str]]]
    """With what was learned of the server earlier"""


def ask(client: FhirClient, patient: str, database: Database) -> Asked:
    """Begin to ask whom it is about, and what the server can do."""

    def able() -> tuple[Capability, set[str]]:
        found = read_capability(client)
        return found, LessonStore(database).of(client.server.base_url, found.digest)

    return Asked(begun(lambda: find_person(client, patient)), begun(able))


def pull(
    client: FhirClient,
    patient: str,
    database: Database,
    types: Iterable[str] = ALL,
    progress: Progress | None = None,
    arrived: Arrived | None = None,
    asked: Asked | None = None,
) -> PatientRecord:
    """All of it. `asked`: where that has begun already."""
    person, able = _answered(asked or ask(client, patient, database))
    with learning(client, database, *able) as lessons:
        told = {"person": person, "progress": progress, "arrived": arrived}
        return read_patient(client, patient, types=types, **told, **lessons)


def pull_again(
    client: FhirClient,
    patient: str,
    database: Database,
    kept: Kept | None,
    terms: Terms,
    progress: Progress | None = None,
    asked: Asked | None = None,
) -> tuple[PatientRecord, Kept]:
    """What has changed, over what was kept; and what is to be kept now."""
    person, able = _answered(asked or ask(client, patient, database))
    with learning(client, database, *able) as lessons:
        record, now = pull_changes(client, patient, kept, terms, progress, person=person, **lessons)
        return with_acquisition(record, client), now


def _answered(asked: Asked) -> tuple[Person, tuple[Capability, set[str]]]:
    """Both have come to their end; of two errors, that about the patient is raised."""
    asked.able.exception()
    return asked.person.result(), asked.able.result()


@contextmanager
def learning(
    client: FhirClient, database: Database, able: Capability, learned: set[str] | None = None
) -> Iterator[dict[str, Any]]:
    """How the server wants to be asked, and can be: as arguments of a pull. What is learned on the
    way is kept, also of a pull that failed. `learned`: earlier, where that is at hand."""
    store, base = LessonStore(database), client.server.base_url
    learned = store.of(base, able.digest) if learned is None else learned
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
