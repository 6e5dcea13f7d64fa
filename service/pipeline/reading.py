"""De-identify and map: from the resources of one patient to facts, all at once or as they arrive.

What arrives while the server is still answering is read ahead, in a thread of its own. It counts
only if the record, once it is whole, holds all of it; else everything is read anew, in order.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from itertools import chain
from typing import Any, NamedTuple

from mappings.from_fhir import map_groups, map_unique
from mappings.vocabulary.facts import Mapped
from privacy import gate
from privacy.deidentify import Session
from privacy.subject import SubjectContext
from privacy.vault import SubjectRecord
from service.fhir.lined import Lined
from service.fhir.packed import Packed
from service.fhir.record import PatientRecord
from service.pipeline.guards import deidentifier_of
from service.pipeline.origin import is_own, without_own
from service.pipeline.refusals import Refusals
from service.pipeline.search import Collecting
from twin_engine.state import UNITS_PER_DAY

Json = dict[str, Any]
Part = dict[bytes, Json]
"""Some resources, each by what it is packed as: mostly a line of JSON"""
AT_ONCE = 200  # resources parsed at the same time


@dataclass(frozen=True, slots=True)
class Reading:
    """Of one patient, from one day. `link` grows by the pseudonyms of what is read."""

    link: SubjectRecord = field(repr=False)
    expected: int  # the version of the link in the vault
    day: date = field(repr=False)
    session: Session = field(repr=False)
    refused: Refusals = field(default_factory=Refusals)

    @classmethod
    def of(
        cls,
        patient: Json,
        found: tuple[SubjectRecord, int],
        policy: str,
        day: date,
        base: str,
        series: Mapping[str, list[Json]] | None = None,
    ) -> "Reading":
        link, expected = found
        subject = SubjectContext.of(
            patient, epoch=link.epoch, now=day, pseudonym=link.ids, bases=(base,)
        )
        return cls(link, expected, day, deidentifier_of(policy).session(subject, series))

    def facts(self, resources: Iterable[Json]) -> Mapped:
        """In one pass, resource by resource: none is held. Of lines, what is alike together."""
        session = self.session
        if isinstance(resources, Lined):
            return self._of_groups(resources.deidentified(session))
        records = self.refused.without(map(session.apply, resources))
        return map_unique(records, session.now, UNITS_PER_DAY[session.policy.time.unit])

    def facts_of(self, parts: Iterable[Part]) -> Mapped:
        """The same of what is both parsed and at hand as lines."""
        alike = (self.session.alike(part, part.__getitem__) for part in parts)
        return self._of_groups(chain.from_iterable(alike))

    def _of_groups(self, groups: Iterable[list[Any]]) -> Mapped:
        session, alike = self.session, self.refused.without_alone(groups)
        return map_groups(alike, session.now, UNITS_PER_DAY[session.policy.time.unit])


class Read(NamedTuple):
    """A record without what we wrote ourselves, and the facts in it."""

    record: PatientRecord
    reading: Reading
    mapped: Mapped
    identifying: gate.Growing | None = None
    """Of all its resources, where they have been collected on the way"""


class _LeftError(Exception):
    """Nobody wants to know any more."""


Begin = Callable[[Json], Reading | None]
"""Of the Patient resource; None where the record may not be read, or not yet."""


class Ahead:
    """What arrives of one record, read in a thread that ends with the block.

    with Ahead(base, begin) as ahead:
        record = pull_patient(client, patient, arrived=ahead.arrived)
        read = ahead.read_of(record)
    """

    def __init__(self, base: str, begin: Begin) -> None:
        self._base, self._begin = base, begin
        self._parts: queue.SimpleQueue[Packed | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._taken: set[bytes] = set()
        self._met_own = False
        self._collecting = Collecting()
        self._left = False
        self._thread = ThreadPoolExecutor(1, "ahead")
        self._reading: Future[tuple[Reading, Mapped] | None] | None = None

    def __enter__(self) -> "Ahead":
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()
        self._thread.shutdown()

    def arrived(self, part: Packed) -> None:
        """From any thread. The first part is the Patient alone."""
        with self._lock:
            new = part.without(self._taken)
            self._taken.update(new.items)
            self._parts.put(new)
            if self._reading is None:
                self._reading = self._thread.submit(self._read)

    def read_of(self, record: PatientRecord) -> Read | None:
        """What has been read, with the rest of the record; it can be had once. None where all is to
        be read in order: nothing has arrived, what arrived was replaced, or reading it failed. What
        went wrong then goes wrong again, and is told."""
        reading, self._reading = self._reading, None
        rest, self._taken = self._rest(record), set()
        if reading is None or rest is None:
            self._leave()
            return None
        self._parts.put(rest)
        self._parts.put(None)
        if reading.exception() is not None or (found := reading.result()) is None:
            return None
        foreign = without_own(record) if self._met_own else record
        return Read(foreign, *found, self._collecting.values)

    def _rest(self, record: PatientRecord) -> Packed | None:
        """What has not arrived on the way; None where what has is not all in the record. With
        metadata of images, which come last, studies are read otherwise."""
        resources = record.resources
        if record.base != self._base or record.series or not isinstance(resources, Packed):
            return None
        whole = self._taken.issubset(resources.items)
        return resources.without(self._taken) if whole else None

    def _leave(self) -> None:
        self._left = True
        self._parts.put(None)

    # -- in the thread -------------------------------------------------------------------------

    def _read(self) -> tuple[Reading, Mapped] | None:
        parts = self._foreign()
        first = next(parts)
        (patient,) = first.values()
        reading = self._begin(patient)
        if reading is None:
            return None
        return reading, reading.facts_of(chain([first], parts))

    def _foreign(self) -> Iterator[Part]:
        """What we did not write, and its identifying values on the way."""
        while (part := self._next()) is not None:
            for start in range(0, len(part), AT_ONCE):
                some = part[start : start + AT_ONCE]
                found = dict(zip(some.items, some, strict=True))
                foreign = {line: one for line, one in found.items() if not is_own(one)}
                self._met_own = self._met_own or len(foreign) < len(found)
                self._collecting.add(list(foreign.values()))
                yield foreign

    def _next(self) -> Packed | None:
        part = self._parts.get()
        if self._left:
            raise _LeftError
        return part
