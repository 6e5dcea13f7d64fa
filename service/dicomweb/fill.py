"""What FHIR leaves open of a study and its archive knows: series, modality, body part, side, count.

By the resource's mapping to DICOM, https://hl7.org/fhir/R4/imagingstudy-mappings.html. What FHIR
says stays. Everything filled in is judged by the policy as if the server had sent it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mappings import vocabulary
from service.dicomweb.dataset import (
    BODY_PART,
    IMAGE_LATERALITY,
    IMAGES_IN_SERIES,
    LATERALITY,
    MODALITY,
    SERIES,
    SERIES_NUMBER,
    Dataset,
    rows,
    text,
    whole,
)
from service.dicomweb.uids import bare

Resource = dict[str, Any]
_SIDES = {"L": "7771000", "R": "24028007", "B": "51440002"}


def filled(
    study: Mapping[str, Any], listed: Sequence[Dataset], read: Mapping[str, Sequence[Dataset]]
) -> Resource:
    """The study with what the archive's list of series, and the images read, add to it."""
    by_uid = {text(row, SERIES): row for row in listed}
    series = [dict(one) for one in rows(study.get("series"))]
    known = {bare(one.get("uid")) for one in series}
    new: list[Resource] = [{"uid": uid} for uid in sorted(by_uid.keys() - known) if bare(uid)]
    made = [_fill(one, _sources(one, by_uid, read)) for one in [*series, *new]]
    return {**study, **({"series": made} if made else {})}


def _sources(
    series: Resource, by_uid: Mapping[str, Dataset], read: Mapping[str, Sequence[Dataset]]
) -> list[Dataset]:
    """What the archive has of a series: its row in the list, then the images read."""
    uid = bare(series.get("uid"))
    return [*([by_uid[uid]] if uid in by_uid else []), *read.get(uid, ())]


def _fill(series: Resource, sources: Sequence[Dataset]) -> Resource:
    for source in sources:
        for name, value in _of(source).items():
            series.setdefault(name, value)
    side = _SIDES.get(_side(sources), "")
    return {"laterality": _coding("snomed", side), **series} if side else series


def _side(sources: Sequence[Dataset]) -> str:
    """Of the series, or of its images if all that were read agree."""
    whole_series = {text(one, LATERALITY) for one in sources} - {""}
    images = {text(one, IMAGE_LATERALITY) for one in sources} - {""}
    sides = whole_series or images
    return sides.pop() if len(sides) == 1 else ""


def _of(source: Dataset) -> Resource:
    site = vocabulary.body_site_of_part(text(source, BODY_PART))
    modality = text(source, MODALITY)
    found: Resource = {
        "modality": _coding("dcm", modality) if modality else None,
        "bodySite": _coding("snomed", site) if site else None,
        "number": whole(source, SERIES_NUMBER),
        "numberOfInstances": whole(source, IMAGES_IN_SERIES),
    }
    return {name: value for name, value in found.items() if value is not None}


def _coding(system: str, code: str) -> dict[str, str]:
    return {"system": vocabulary.uri(system), "code": code}
