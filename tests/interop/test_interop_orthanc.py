"""A real imaging archive: studies stored in Orthanc, found by FHIR, told in twins."""

import base64
import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from interop_orthanc import ACCOUNT, PIXELS, Orthanc, Relay, images_of, orthanc, relay

from service.config import load_config
from service.config.sections import ServerAuth, ServerDicomWeb
from service.dicomweb import SLICE, read_patient
from service.fhir.checkup import check_server
from service.fhir.http import FhirClient
from service.fhir.record import PatientRecord
from service.fhir.servers import from_url
from service.pipeline.make import Made, Wish
from service.pipeline.runtime import Runtime, open_runtime
from service.sandbox.persona import Settings
from service.sandbox.population import PatientBundle
from service.sandbox.testing import TEST_ANCHOR, RunningSandbox, population, running_sandbox

pytestmark = pytest.mark.interop

KEPT = ("Patient", "ImagingStudy", "Endpoint")
PATIENT, TOKEN = "demo-022", "fhir-token"
OWN = ServerAuth(kind="basic", username=ACCOUNT[0], password=ACCOUNT[1])

Json = dict[str, Any]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        server.store(images_of(person()))
        yield server


@pytest.fixture
def seen(archive: Orthanc) -> Iterator[Relay]:
    with relay(archive) as running:
        yield running


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    opened = open_runtime(load_config({"TWINPORT_HOME": str(tmp_path / "home")}))
    yield opened
    opened.close()


def person(archive: str | None = None) -> PatientBundle:
    """The patient and what concerns their images, few of each series; their Endpoint leads to
    this archive."""
    found = next(p for p in population() if p.id == PATIENT)
    resources = copy.deepcopy([r for r in found.resources if r["resourceType"] in KEPT])
    for resource in resources:
        for series in resource.get("series", ()):
            series["numberOfInstances"] = min(series["numberOfInstances"], 7)
        if resource["resourceType"] == "Endpoint" and archive:
            resource["address"] = archive
    return replace(found, resources=tuple(resources))


def pulled(sandbox: RunningSandbox, dicomweb: ServerDicomWeb, *trusted: str) -> PatientRecord:
    with FhirClient(server(sandbox, dicomweb, *trusted)) as client:
        return read_patient(client, PATIENT)


def server(sandbox: RunningSandbox, dicomweb: ServerDicomWeb, *trusted: str) -> Any:
    auth = ServerAuth(kind="bearer", token=TOKEN)
    plain = from_url(sandbox.base_url)
    return replace(plain, auth=auth, dicomweb=dicomweb, trusted_origins=trusted)


def sandbox(archive: str | None = None) -> Any:
    return running_sandbox([person(archive)], settings=Settings(bearer_token=TOKEN))


def told(found: PatientRecord) -> Json:
    (part,) = [s for s in found.completeness["slices"] if s["type"] == SLICE]
    return part  # type: ignore[no-any-return]


def made(runtime: Runtime, found: PatientRecord) -> Made:
    return runtime.maker.make(found, Wish("safe-harbor", (), "stated", TEST_ANCHOR))


def test_the_twin_of_a_real_archive_is_that_of_the_sandboxs_own(
    seen: Relay, runtime: Runtime
) -> None:
    with sandbox() as fhir:
        named = ServerDicomWeb(enabled=True, base_url=seen.root, auth=OWN)
        found = pulled(fhir, named)
        own = pulled(fhir, ServerDicomWeb(enabled=True))
    assert (told(found)["verdict"], told(found)["matches"]) == ("complete", 9)
    twin = made(runtime, found).twin.document
    assert twin["imaging"] == made(runtime, own).twin.document["imaging"]
    scan = next(s for s in twin["imaging"] if s["modalities"] == ["CT"])
    (series,) = scan["series"]
    assert series["read"] == 3
    assert series["parameters"]["slice-thickness"] == {"unit": "mm", "v": [1.25]}
    assert series["parameters"]["contrast"] == {"given": True}


def test_no_pixels_leave_the_archive_and_no_credential_but_its_own_enters_it(seen: Relay) -> None:
    with sandbox() as fhir:  # which takes its own token alone
        pulled(fhir, ServerDicomWeb(enabled=True, base_url=seen.root, auth=OWN))
    assert {path.rsplit("/", 1)[1] for path in seen.paths} == {"series", "instances", "metadata"}
    assert b"7FE00010" in seen.bodies  # Orthanc says where pixels would be
    assert PIXELS not in seen.bodies
    assert base64.b64encode(PIXELS)[:16] not in seen.bodies
    (account,) = seen.signed_in
    assert base64.b64decode(account.removeprefix("Basic ")).decode() == ":".join(ACCOUNT)


def test_an_endpoint_leads_to_an_archive_that_is_trusted_and_to_no_other(seen: Relay) -> None:
    with sandbox(seen.root) as fhir:
        on = ServerDicomWeb(enabled=True)
        elsewhere = told(pulled(fhir, on))
        assert (elsewhere["verdict"], elsewhere["reason"]) == ("unknown", "foreign-origin")
        assert seen.seen == []
        trusted = told(pulled(fhir, on, seen.root.removesuffix("/dicom-web")))
    # it goes there with the server's credential, which this archive does not take
    assert (trusted["verdict"], trusted["reason"]) == ("unknown", "sign-in-refused")
    assert seen.signed_in == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"auth": replace(OWN, password="wrong")}, "sign-in-refused"),
        ({"auth": OWN, "response_bytes": 1024}, "too-large"),
    ],
)
def test_what_cannot_be_had_of_it_is_told(archive: Orthanc, settings: Json, reason: str) -> None:
    root = f"{archive.origin}/dicom-web"
    with sandbox() as fhir:
        found = pulled(fhir, ServerDicomWeb(enabled=True, base_url=root, **settings))
    part = told(found)
    assert (part["verdict"] != "complete", part["reason"]) == (True, reason)
    assert found.series == {}


def test_an_archive_that_stands_still_is_given_up(archive: Orthanc) -> None:
    settings = {"timeout_seconds": 1, "total_seconds": 2}
    named = ServerDicomWeb(
        enabled=True, base_url=f"{archive.origin}/dicom-web", auth=OWN, **settings
    )
    archive.freeze()
    try:
        with sandbox() as fhir:
            part = told(pulled(fhir, named))
    finally:
        archive.thaw()
    assert part["verdict"] == "unknown"
    assert part["reason"] in {"timed-out", "budget-spent"}


def test_a_check_says_that_it_answers(archive: Orthanc) -> None:
    root = f"{archive.origin}/dicom-web"
    with sandbox() as fhir:
        for auth, level in ((OWN, "works"), (replace(OWN, password="wrong"), "refused")):
            wanted = server(fhir, ServerDicomWeb(enabled=True, base_url=root, auth=auth))
            with FhirClient(wanted) as client:
                found = [f for f in check_server(client) if f.about == "dicomweb"]
            assert str(found[0].level) == level


def test_another_patients_images_in_the_study_cost_the_study(archive: Orthanc) -> None:
    """The last: it changes what the archive holds."""
    image = images_of(person())[-1]
    image.PatientID, image.PatientBirthDate = "9999999", "19610612"
    image.SOPInstanceUID, image.InstanceNumber = f"{image.SOPInstanceUID}.9", 99
    archive.store([image])
    with sandbox() as fhir:
        root = f"{archive.origin}/dicom-web"
        found = pulled(fhir, ServerDicomWeb(enabled=True, base_url=root, auth=OWN))
    part = told(found)
    assert (part["verdict"], part["reason"], part["matches"]) == ("partial", "foreign-subject", 6)
    assert [(event.kind, event.type) for event in found.safety] == [("foreign-subject", SLICE)]
    assert image.SeriesInstanceUID not in found.series
