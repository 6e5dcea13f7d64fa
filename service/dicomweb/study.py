"""The images of one study: its series, some instances of each, their metadata, and whose they are.

An answer about anybody else, or about another study, costs the whole study: who mixes one image up
may have mixed up the others.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mappings import vocabulary
from service.config.sections import ServerDicomWeb
from service.dicomweb.archive import Archive
from service.dicomweb.dataset import (
    INSTANCE,
    INSTANCE_NUMBER,
    MODALITY,
    SERIES,
    STUDY,
    Dataset,
    rows,
    text,
    whole,
)
from service.dicomweb.owner import Owner
from service.dicomweb.uids import bare
from service.fhir.errors import Cancelled, FhirError, NotFound, NotSupported
from service.fhir.record import Slice
from service.fhir.subjects import FOREIGN

SLICE = "ImagingMetadata"
OTHER_STUDY = "other-study"
NOT_FOUND = "not-found"

# The forms of what an archive is asked, without a UID.
_SERIES = "studies/{study}/series"
_INSTANCES = f"{_SERIES}/{{series}}/instances"
_OF_SERIES = f"{_SERIES}/{{series}}/metadata"
_OF_INSTANCE = f"{_INSTANCES}/{{instance}}/metadata"

ACQUIRED = frozenset(
    modality
    for parameter in vocabulary.acquisition_parameters().values()
    for modality in parameter.modalities
)
"""Modalities that acquire anything: not reports, presentation states, segmentations, documents."""

Answer = TypeVar("Answer")


@dataclass(slots=True)
class Found:
    """What an archive gave of one study. `part` says what was asked and how it was answered."""

    part: Slice = field(default_factory=lambda: Slice(SLICE))
    rows: list[Dataset] = field(default_factory=list, repr=False)
    """The archive's own list of series"""
    read: dict[str, list[Dataset]] = field(default_factory=dict, repr=False)
    """By the UID of a series, the metadata of some of its instances"""
    foreign: int = 0

    @property
    def proven(self) -> bool:
        """Whether anything in it was shown to be the patient's."""
        return bool(self.read)


class StudyReader:
    """Reads one study. Whatever goes wrong costs the study its completeness, never the run."""

    def __init__(self, archive: Archive, owner: Owner, wanted: ServerDicomWeb, uid: str) -> None:
        self._archive, self._owner, self._wanted, self._uid = archive, owner, wanted, uid
        self._found = Found()
        self._part = self._found.part

    def read(self, study: Mapping[str, Any]) -> Found:
        told = _series_of(study)
        self._found.rows = self._rows(study)
        listed = {text(row, SERIES): row for row in self._found.rows}
        uids = sorted({uid for uid in {*told, *listed} if bare(uid)})
        chosen = [uid for uid in uids if _may_be_acquired(told.get(uid, {}), listed.get(uid, {}))]
        if not uids:
            self._part.lose(NOT_FOUND)
        if len(chosen) > self._wanted.series:
            self._part.cut("too-many")
        for uid in chosen[: self._wanted.series]:
            if not self._read_series(uid, told.get(uid, {})):
                self._found.read.clear()
                self._part.matches = 0
                break
        return self._found

    def _rows(self, study: Mapping[str, Any]) -> list[Dataset]:
        stated = study.get("numberOfSeries")
        expected = stated if type(stated) is int and stated > 0 else None
        most = self._wanted.series
        asked = self._ask(_SERIES, lambda: self._archive.series(self._uid, most, expected))
        found, whole_list = asked or ([], True)
        if not whole_list:
            self._part.cut("too-many")
        return found

    def _read_series(self, uid: str, told: Mapping[str, Any]) -> bool:
        """False where the answers are about somebody or something else."""
        datasets = self._datasets(uid, told)
        reason = self._objection(uid, datasets)
        if reason:
            self._part.dropped[reason] += len(datasets)
            self._part.lose(reason)
            self._found.foreign += reason == FOREIGN
        elif datasets:
            self._found.read[uid] = datasets
            self._part.matches += len(datasets)
        else:
            self._part.lose(NOT_FOUND)
        return not reason

    def _objection(self, uid: str, datasets: Sequence[Dataset]) -> str:
        asked = (self._uid, uid)
        if any((text(one, STUDY), text(one, SERIES)) != asked for one in datasets):
            return OTHER_STUDY
        return self._owner.verdict(datasets)

    def _datasets(self, uid: str, told: Mapping[str, Any]) -> list[Dataset]:
        chosen = spread(self._instances(uid, told), self._wanted.instances)
        if not chosen:  # nobody lists them: all, as far as one answer may go
            whole = lambda: self._archive.series_metadata(self._uid, uid)  # noqa: E731
            return self._ask(_OF_SERIES, whole) or []
        return [one for instance in chosen for one in self._instance(uid, instance)]

    def _instance(self, uid: str, instance: str) -> list[Dataset]:
        ask = self._archive.instance_metadata
        return self._ask(_OF_INSTANCE, lambda: ask(self._uid, uid, instance)) or []

    def _instances(self, uid: str, told: Mapping[str, Any]) -> list[str]:
        """In their order; from FHIR where that lists them all, else from the archive."""
        listed = _instances_of(told)
        if not listed:
            found = self._ask(_INSTANCES, lambda: self._archive.instances(self._uid, uid)) or []
            listed = [(whole(one, INSTANCE_NUMBER) or 0, text(one, INSTANCE)) for one in found]
        return [instance for _, instance in sorted(listed) if bare(instance)]

    def _ask(self, form: str, question: Callable[[], Answer]) -> Answer | None:
        """The answer; None where there is none. What an archive does not offer is asked for in
        another way; if there is none, the series is told to be missing."""
        part = self._part
        part.queries += 1
        part.asked.add(form)
        try:
            answer = question()
        except Cancelled:
            raise
        except NotSupported as error:
            part.queries -= 1
            part.not_asked(error.code)
            return None
        except NotFound as error:
            part.finished += 1
            part.lose(error.code)
            return None
        except FhirError as error:
            part.failed(error)
            return None
        part.finished += 1
        part.pages += 1
        return answer


def spread(items: Sequence[str], count: int) -> list[str]:
    """So many of them, the first and the last included, evenly apart."""
    distinct = list(dict.fromkeys(items))
    if len(distinct) <= count:
        return distinct
    if count == 1:
        return [distinct[len(distinct) // 2]]
    step = (len(distinct) - 1) / (count - 1)
    return [distinct[round(i * step)] for i in range(count)]


def _series_of(study: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {uid: one for one in rows(study.get("series")) if (uid := bare(one.get("uid")))}


def _may_be_acquired(told: Mapping[str, Any], listed: Mapping[str, Any]) -> bool:
    coding = told.get("modality")
    modality = text(listed, MODALITY) or (coding.get("code") if isinstance(coding, dict) else "")
    return not modality or modality in ACQUIRED


def _instances_of(series: Mapping[str, Any]) -> list[tuple[int, str]]:
    """Those that FHIR lists, if it lists them all."""
    listed = rows(series.get("instance"))
    if len(listed) != series.get("numberOfInstances"):
        return []
    numbers = (one.get("number") for one in listed)
    return [
        (number if type(number) is int else 0, bare(one.get("uid")))
        for number, one in zip(numbers, listed, strict=True)
    ]
