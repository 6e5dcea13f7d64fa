"""A patient's record with the acquisition of their images, where the installation asks for it."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, NamedTuple

from service.dicomweb.address import NO_ADDRESS, Addresses, archive_of
from service.dicomweb.archive import Allowance, Archive
from service.dicomweb.fill import filled
from service.dicomweb.owner import Owner
from service.dicomweb.study import SLICE, Found, StudyReader
from service.dicomweb.uids import bare, study_uid
from service.fhir.errors import FhirError, UnsafeAddress
from service.fhir.http import FhirClient
from service.fhir.lined import looked_at
from service.fhir.packed import replaced
from service.fhir.pull import pull_patient
from service.fhir.record import PatientRecord, SafetyEvent, Slice
from service.fhir.servers import ServerConfig
from service.fhir.subjects import FOREIGN

Resource = dict[str, Any]
NO_UID = "no-uid"
"""A study that does not state its UID: it cannot be found in any archive."""


def read_patient(client: FhirClient, patient_id: str, **options: Any) -> PatientRecord:
    """`pull_patient`, and then the images. The options are those of `pull_patient`."""
    return with_acquisition(pull_patient(client, patient_id, **options), client)


def with_acquisition(record: PatientRecord, client: FhirClient) -> PatientRecord:
    """The record with what the archive says; as it was where none is to be asked, or no study."""
    studies = _studies(record) if client.server.dicomweb.enabled else {}
    return _Reading(record, client).of(studies) if studies else record


def without_acquisition(record: PatientRecord, server: ServerConfig) -> PatientRecord:
    """The record, saying that no archive was asked where one would have been."""
    if not (server.dicomweb.enabled and _studies(record)):
        return record
    return _with_slice(record, Slice(SLICE))


def _studies(record: PatientRecord) -> dict[int, Resource]:
    """Those that may have images, by their place in the record."""
    return {place: r for place, r in enumerate(looked_at(record.resources)) if _was_done(r)}


def _with_slice(record: PatientRecord, part: Slice) -> PatientRecord:
    slices = [*record.completeness["slices"], part.as_dict()]
    return replace(record, completeness={**record.completeness, "slices": slices})


def _was_done(resource: Mapping[str, Any]) -> bool:
    """A study that is only registered has no images yet."""
    return resource.get("resourceType") == "ImagingStudy" and resource.get("status") != "registered"


class _Placed(NamedTuple):
    """A study, and where to ask for it."""

    place: int
    study: Resource
    uid: str
    archive: Archive


class _Reading:
    def __init__(self, record: PatientRecord, client: FhirClient) -> None:
        self._record, self._client = record, client
        self._wanted = client.server.dicomweb
        self._owner = Owner(_patient(record), self._wanted.identifier_system)
        self._total = Slice(SLICE)
        self._archives: dict[str, Archive] = {}
        self._allowance = Allowance(self._wanted.total_bytes)

    def of(self, studies: Mapping[int, Resource]) -> PatientRecord:
        newest = sorted(studies.items(), key=lambda s: str(s[1].get("started", "")), reverse=True)
        if len(newest) > self._wanted.studies:
            self._total.cut("too-many")
        with ExitStack() as open_lines:
            placed = self._placed(newest[: self._wanted.studies], open_lines)
            workers = self._client.server.limits.concurrency
            with ThreadPoolExecutor(workers) as pool:
                found = list(pool.map(self._read, placed))
        return self._merged(placed, found)

    def _placed(self, studies: Iterable[tuple[int, Resource]], lines: ExitStack) -> "list[_Placed]":
        """Each study that can be asked for, with its UID and its archive."""
        addresses = Addresses(self._client)
        placed = []
        for place, study in studies:
            uid, root = study_uid(study), addresses.root(study)
            if not uid:
                self._total.lose(NO_UID)
            elif root is None:
                self._total.lose(NO_ADDRESS)
            elif isinstance(root, FhirError):
                self._total.queries += 1
                self._total.failed(root)
            elif (archive := self._archive(root, lines)) is not None:
                placed.append(_Placed(place, study, uid, archive))
        self._total.asked |= addresses.asked
        return placed

    def _archive(self, root: str, lines: ExitStack) -> Archive | None:
        if root not in self._archives:
            try:
                server = archive_of(self._client.server, root)
            except UnsafeAddress as error:
                self._total.queries += 1
                self._total.failed(error)
                return None
            line = lines.enter_context(FhirClient(server))
            self._archives[root] = Archive(line, self._allowance)
        return self._archives[root]

    def _read(self, one: "_Placed") -> Found:
        return StudyReader(one.archive, self._owner, self._wanted, one.uid).read(one.study)

    def _merged(self, studies: "Sequence[_Placed]", found: Sequence[Found]) -> PatientRecord:
        better = {
            asked.place: filled(asked.study, one.rows, one.read)
            for asked, one in zip(studies, found, strict=True)
            if one.proven
        }
        for one in found:
            _add(self._total, one.part)
        foreign = sum(one.foreign for one in found)
        events = [SafetyEvent(FOREIGN, SLICE, foreign)] if foreign else []
        return replace(
            _with_slice(self._record, self._total),
            resources=replaced(self._record.resources, better),
            safety=[*self._record.safety, *events],
            series=_by_spelling(better.values(), found),
        )


def _by_spelling(
    studies: Iterable[Mapping[str, Any]], found: Iterable[Found]
) -> dict[str, list[Resource]]:
    """The metadata under the `uid` of each series, spelled as the FHIR resource spells it."""
    read = {uid: datasets for one in found for uid, datasets in one.read.items()}
    spelled = (str(s.get("uid")) for study in studies for s in study.get("series", ()))
    return {text: read[bare(text)] for text in spelled if bare(text) in read}


def _patient(record: PatientRecord) -> Mapping[str, Any]:
    own = (r for r in record.resources if r.get("resourceType") == "Patient")
    return next((r for r in own if r.get("id") == record.patient_id), {})


def _add(total: Slice, part: Slice) -> None:
    for name in ("queries", "refused", "pages", "matches", "finished"):
        setattr(total, name, getattr(total, name) + getattr(part, name))
    total.dropped.update(part.dropped)
    total.asked |= part.asked
    total.truncated |= part.truncated
    total.lost |= part.lost
    total.reason = total.reason or part.reason
