"""QIDO-RS and WADO-RS metadata over the sandbox's imaging studies (DICOM PS3.18)."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import orjson
from flask import Flask, Response, request

from service.sandbox.answers import here
from service.sandbox.dicomweb.images import image, images, instance_uid, numbers, study_uid
from service.sandbox.errors import FhirError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

ROOT = "dicom-web"
DICOM_JSON = "application/dicom+json"
ELSEWHERE = "https://pacs.example.org/dicom-web"
"""Where the population's Endpoint lies; a running sandbox puts itself in its place."""

_STUDY = ("StudyInstanceUID", "StudyDate", "AccessionNumber", "PatientID", "PatientName")
_SERIES = ("SeriesInstanceUID", "Modality", "SeriesNumber", "BodyPartExamined", "SeriesDescription")

Resource = dict[str, Any]


def add_dicomweb(app: Flask) -> None:
    for path, name, view in _ROUTES:
        app.add_url_rule(f"/{ROOT}/{path}", name, view, methods=["GET"])


def address(resource: Resource) -> Resource:
    """An Endpoint as this server shows it: its archive is beside it."""
    if resource.get("resourceType") != "Endpoint" or resource.get("address") != ELSEWHERE:
        return resource
    return {**resource, "address": f"{request.host_url}{ROOT}"}


# -- searches --------------------------------------------------------------------------------------


def studies() -> Response:
    wanted = request.args.get("StudyInstanceUID")
    found = (s for s in _studies() if wanted in (None, study_uid(s)))
    return _page(_shown(next(images(s, _patient(s))), _STUDY) for s in found)


def series(study: str) -> Response:
    found = _study(study)
    rows = []
    for one in found["series"]:
        row = _shown(image(found, one, _patient(found), 1), _SERIES)
        row["00201209"] = {"vr": "IS", "Value": [one["numberOfInstances"]]}
        rows.append(row)
    return _page(rows)


def instances(study: str, series: str) -> Response:
    one = _series(_study(study), series)
    return _page(
        {
            "00080018": {"vr": "UI", "Value": [instance_uid(one, number)]},
            "00200013": {"vr": "IS", "Value": [number]},
        }
        for number in numbers(one)
    )


# -- metadata --------------------------------------------------------------------------------------


def series_metadata(study: str, series: str) -> Response:
    found = _study(study)
    one = _series(found, series)
    made = images({**found, "series": [one]}, _patient(found))
    return _answer([each.to_json_dict() for each in made])


def instance_metadata(study: str, series: str, instance: str) -> Response:
    found = _study(study)
    one = _series(found, series)
    number = next((n for n in numbers(one) if instance_uid(one, n) == instance), None)
    if number is None:
        raise FhirError(404, "not-found", "no such instance")
    return _answer([image(found, one, _patient(found), number).to_json_dict()])


_ROUTES = (
    ("studies", "dicomweb-studies", studies),
    ("studies/<study>/series", "dicomweb-series", series),
    ("studies/<study>/series/<series>/instances", "dicomweb-instances", instances),
    ("studies/<study>/series/<series>/metadata", "dicomweb-series-metadata", series_metadata),
    (
        "studies/<study>/series/<series>/instances/<instance>/metadata",
        "dicomweb-metadata",
        instance_metadata,
    ),
)
ENDPOINTS = frozenset(name for _, name, _ in _ROUTES)


# -- inside ----------------------------------------------------------------------------------------


def _studies() -> list[Resource]:
    return [s for s in here().store.all("ImagingStudy") if study_uid(s) and s.get("series")]


def _study(uid: str) -> Resource:
    found = next((s for s in _studies() if study_uid(s) == uid), None)
    if found is None:
        raise FhirError(404, "not-found", "no such study")
    return found


def _series(study: Resource, uid: str) -> Resource:
    found: Resource | None = next((one for one in study["series"] if one["uid"] == uid), None)
    if found is None:
        raise FhirError(404, "not-found", "no such series")
    return found


def _patient(study: Resource) -> Resource:
    identity = study["subject"]["reference"].removeprefix("Patient/")
    return here().store.read("Patient", identity) or {}


def _shown(dataset: "Dataset", keywords: Iterable[str]) -> dict[str, Any]:
    """A row of a search: these attributes, as far as there are any."""
    wanted = (dataset[keyword] for keyword in keywords if keyword in dataset)
    return {f"{one.tag:08X}": one.to_json_dict(None, 1024) for one in wanted}


def _page(rows: Iterable[dict[str, Any]]) -> Response:
    limit, offset = (request.args.get(name, type=int) for name in ("limit", "offset"))
    listed = list(rows)[offset or 0 :]
    return _answer(listed[:limit] if limit else listed)


def _answer(rows: list[dict[str, Any]]) -> Response:
    return Response(orjson.dumps(rows), content_type=DICOM_JSON)
