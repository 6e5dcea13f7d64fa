"""Where an archive may lie, and what it is told: no address that nobody configured, no credential
beyond the origin it was configured for."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from dicomweb_archive import (
    ArchiveServer,
    Json,
    ct_image,
    patient,
    record,
    says,
    server_at,
    study,
    told,
)
from werkzeug import Response

from service.config.sections import ServerAuth
from service.dicomweb import with_acquisition
from service.dicomweb.address import archive_of
from service.fhir.errors import UnsafeAddress
from service.fhir.http import FhirClient
from service.fhir.record import PatientRecord

SYSTEM = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"


@pytest.fixture
def archive() -> Iterator[ArchiveServer]:
    with ArchiveServer(ct_image()) as server:
        yield server


def endpoint(address: str, **changes: Any) -> Json:
    base = {
        "resourceType": "Endpoint",
        "id": "pacs",
        "status": "active",
        "connectionType": {"system": SYSTEM, "code": "dicom-wado-rs"},
        "address": address,
    }
    return {**base, **changes}


def at(
    server: ArchiveServer, found: Json, one: Json | None = None, **dicomweb: Any
) -> PatientRecord:
    """A FHIR server at this origin, whose study names this Endpoint."""
    body = json.dumps(found)
    server.on("/fhir/Endpoint/pacs", lambda _: Response(body, content_type="application/fhir+json"))
    named = one or study(endpoint=[{"reference": "Endpoint/pacs"}])
    with FhirClient(server_at(server.origin, **dicomweb)) as client:
        return with_acquisition(record(patient(), named), client)


def bearer(server: ArchiveServer) -> set[str | None]:
    return {r.headers.get("Authorization") for r in server.requests if "dicom" in r.path}


TOKEN = {"kind": "bearer", "token": "ehr-secret"}


@pytest.mark.parametrize("tail", ["", "/", "/studies/2.999.7.1559319163074", "/studies"])
def test_an_endpoint_at_the_servers_own_origin_is_asked_with_the_servers_sign_in(
    archive: ArchiveServer, tail: str
) -> None:
    found = at(archive, endpoint(archive.root + tail), auth=TOKEN)
    assert told(found)["verdict"] == "complete"
    assert bearer(archive) == {"Bearer ehr-secret"}


def test_an_endpoint_may_stand_in_the_study_or_at_a_series(archive: ArchiveServer) -> None:
    inside = study(contained=[endpoint(archive.root)], endpoint=[{"reference": "#pacs"}])
    assert told(at(archive, {}, inside))["verdict"] == "complete"
    series = study(series=[{"uid": "2.999.7", "endpoint": [{"reference": "Endpoint/pacs"}]}])
    assert told(at(archive, endpoint(archive.root), series))["matches"] == 1


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("http://127.0.0.1:1/dicom-web", "foreign-origin"),
        ("https://pacs.example.org/dicom-web", "foreign-origin"),
        ("http://169.254.169.254/latest/meta-data", "foreign-origin"),
        ("file:///etc/passwd", "unsafe-address"),
        ("gopher://127.0.0.1/", "unsafe-address"),
        ("http://user:pw@127.0.0.1/dicom-web", "unsafe-address"),
        ("", "unsafe-address"),
        (None, "unsafe-address"),
        ("{root}?token=x", "unsafe-address"),
        ("{root}#x", "unsafe-address"),
    ],
)
def test_an_address_out_of_the_data_leads_nowhere_else(
    archive: ArchiveServer, address: Any, reason: str
) -> None:
    text = address.replace("{root}", archive.root) if address else address
    found = at(archive, endpoint(text), auth=TOKEN)
    assert (told(found)["verdict"], told(found)["reason"]) == ("unknown", reason)
    assert told(found)["refused"] == 1
    assert bearer(archive) == set()


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "off"},
        {"status": "entered-in-error"},
        {"connectionType": {"system": SYSTEM, "code": "ihe-iid"}},
        {"connectionType": {"system": "urn:x", "code": "dicom-wado-rs"}},
        {"connectionType": None},
        {"resourceType": "Binary"},
    ],
)
def test_what_is_no_dicomweb_in_use_is_no_address(archive: ArchiveServer, changes: Json) -> None:
    found = at(archive, endpoint(archive.root, **changes))
    assert told(found)["reason"] in ("no-address", "not-fhir")
    assert bearer(archive) == set()


def test_an_endpoint_that_cannot_be_read_is_told(archive: ArchiveServer) -> None:
    archive.on("/fhir/Endpoint/gone", says(403, b"{}"))
    named = study(endpoint=[{"reference": "Endpoint/gone"}])
    assert told(at(archive, {}, named))["reason"] == "forbidden"


def test_a_configured_archive_is_asked_whatever_endpoints_say(archive: ArchiveServer) -> None:
    foreign = endpoint("https://pacs.example.org/dicom-web")
    found = at(archive, foreign, base_url=archive.root + "/")
    assert told(found)["verdict"] == "complete"


def test_an_archive_elsewhere_never_sees_the_servers_credential(archive: ArchiveServer) -> None:
    with ArchiveServer() as ehr:
        server = server_at(ehr.origin, base_url=archive.root, auth=TOKEN)
        with FhirClient(server) as client:
            assert told(with_acquisition(record(), client))["verdict"] == "complete"
    assert bearer(archive) == {None}


def test_an_archive_has_its_own_sign_in_where_that_is_configured(archive: ArchiveServer) -> None:
    server = server_at(archive.origin, base_url=archive.root, auth=TOKEN)
    own = ServerAuth(kind="basic", username="twinport", password="pacs-secret")
    changed = server.dicomweb.__class__(**{**vars(server.dicomweb), "auth": own})
    object.__setattr__(server, "dicomweb", changed)
    with FhirClient(server) as client:
        with_acquisition(record(), client)
    (header,) = bearer(archive)
    assert str(header).startswith("Basic ")


def test_a_credential_does_not_travel_in_the_clear() -> None:
    own = ServerAuth(kind="basic", username="u", password="p")
    server = server_at("http://127.0.0.1:9", allow_plain_http=True)
    changed = server.dicomweb.__class__(**{**vars(server.dicomweb), "auth": own})
    object.__setattr__(server, "dicomweb", changed)
    with pytest.raises(UnsafeAddress):
        archive_of(server, "http://pacs.example.org/dicom-web")
