"""The archive asked: what is read, whose it must be, and what a bad archive costs."""

import gzip
import itertools
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from dicomweb_archive import (
    MRN,
    STUDY,
    ArchiveServer,
    Json,
    ct_image,
    dicom,
    element,
    first,
    patient,
    read,
    record,
    says,
    server_at,
    study,
    told,
)
from werkzeug import Request, Response

from service.dicomweb import with_acquisition, without_acquisition
from service.dicomweb.address import archive_of
from service.dicomweb.archive import Allowance, Archive
from service.dicomweb.study import spread
from service.fhir.errors import Forbidden
from service.fhir.http import FhirClient
from service.fhir.record import PatientRecord


@pytest.fixture
def archive() -> Iterator[ArchiveServer]:
    with ArchiveServer(*(ct_image(number=n) for n in range(1, 10))) as server:
        yield server


def numbers(found: PatientRecord) -> list[Any]:
    return [first(image, "00200013") for images in found.series.values() for image in images]


# -- what is read ----------------------------------------------------------------------------------


def test_a_few_images_of_each_series_are_read_spread_over_it(archive: ArchiveServer) -> None:
    found = read(archive)
    assert numbers(found) == [1, 5, 9]
    assert told(found) | {"queries": 0, "pages": 0} == {
        "type": "ImagingMetadata",
        "verdict": "complete",
        "queries": 0,
        "asked": [
            "studies/{study}/series",
            "studies/{study}/series/{series}/instances",
            "studies/{study}/series/{series}/instances/{instance}/metadata",
        ],
        "refused": 0,
        "pages": 0,
        "matches": 3,
        "duplicates": 0,
        "dropped": {},
        "outcomes": 0,
        "truncated": False,
    }
    assert found.safety == []


def test_nothing_but_searches_and_metadata_is_ever_asked_for(archive: ArchiveServer) -> None:
    read(archive)
    for request in archive.requests:
        assert request.method == "GET"
        assert request.headers["Accept"] == "application/dicom+json"
        assert request.path.rsplit("/", 1)[1] in {"series", "instances", "metadata"}


def test_a_study_that_fhir_only_names_gets_its_series_from_the_archive(
    archive: ArchiveServer,
) -> None:
    found = read(archive)
    (made,) = [r for r in found.resources if r["resourceType"] == "ImagingStudy"]
    (series,) = made["series"]
    assert series["modality"]["code"] == "CT"
    assert series["bodySite"] == {"system": "http://snomed.info/sct", "code": "816094009"}
    assert (series["number"], series["numberOfInstances"]) == (1, 9)


def test_what_fhir_says_stays(archive: ArchiveServer) -> None:
    own = {
        "uid": f"urn:oid:{STUDY}.1",
        "bodySite": {"system": "http://snomed.info/sct", "code": "39607008"},
        "numberOfInstances": 8,
    }
    found = read(archive, patient(), study(series=[own]))
    (made,) = [r for r in found.resources if r["resourceType"] == "ImagingStudy"]
    (series,) = made["series"]
    assert series["bodySite"]["code"] == "39607008"
    assert series["numberOfInstances"] == 8
    assert series["modality"]["code"] == "CT"
    assert list(found.series) == [own["uid"]]  # as FHIR spells it


@pytest.mark.parametrize(
    ("sides", "expected"), [("LL", "7771000"), ("RR", "24028007"), ("LR", None), ("BB", "51440002")]
)
def test_a_side_is_told_if_the_images_agree(sides: str, expected: str | None) -> None:
    images = [ct_image(number=n, t00200062=element("CS", s)) for n, s in enumerate(sides, 1)]
    with ArchiveServer(*images) as archive:
        made = read(archive).resources[1]["series"][0]
    assert made.get("laterality", {}).get("code") == expected


def test_reports_and_presentation_states_are_not_asked_about(archive: ArchiveServer) -> None:
    archive.images.append(ct_image("2", t00080060=element("CS", "SR")))
    found = read(archive)
    assert list(found.series) == [f"{STUDY}.1"]
    assert told(found)["verdict"] == "complete"
    assert not [p for p in archive.paths if f"{STUDY}.2/" in p]


def test_instances_that_fhir_lists_need_no_search(archive: ArchiveServer) -> None:
    listed = [{"uid": f"{STUDY}.1.{n}", "number": n} for n in range(1, 10)]
    own = {"uid": f"{STUDY}.1", "numberOfInstances": 9, "instance": listed}
    assert numbers(read(archive, patient(), study(series=[own]))) == [1, 5, 9]
    assert not [p for p in archive.paths if p.endswith("/instances")]


@pytest.mark.parametrize("search", ["series", "instances"])
@pytest.mark.parametrize("status", [405, 501])
def test_an_archive_without_searches_is_asked_by_what_fhir_knows(
    archive: ArchiveServer, search: str, status: int
) -> None:
    archive.on(search, says(status))
    found = read(archive, patient(), study(series=[{"uid": f"{STUDY}.1"}]))
    assert len(numbers(found)) in (3, 9)  # without a list of instances: all in one answer
    assert told(found)["verdict"] == "complete"


# -- lists -----------------------------------------------------------------------------------------


def test_a_server_that_caps_its_pages_is_read_to_the_end() -> None:
    images = [ct_image(str(n)) for n in range(1, 8)]
    with ArchiveServer(*images) as archive:
        plain = archive._rows

        def capped(request: Request) -> Response:
            offset = int(request.args.get("offset", 0))
            return dicom(plain("series", request.path)[offset : offset + 3])

        archive.on("series", capped)
        found = read(archive)
    assert len(found.series) == 7


def test_a_server_that_ignores_the_offset_comes_to_an_end(archive: ArchiveServer) -> None:
    archive.on("series", lambda r: dicom(archive._rows("series", r.path)))
    assert len(read(archive).series) == 1
    assert len([p for p in archive.paths if p.endswith("/series")]) == 2


def test_no_further_page_is_asked_for_where_fhir_says_how_many_series_there_are(
    archive: ArchiveServer,
) -> None:
    read(archive, patient(), study(numberOfSeries=1))
    assert len([p for p in archive.paths if p.endswith("/series")]) == 1


@pytest.mark.parametrize("answer", [says(204), says(200, "[]"), says(404)])
def test_a_study_the_archive_does_not_have_is_told(archive: ArchiveServer, answer: Any) -> None:
    archive.on("series", answer)
    found = read(archive)
    assert (told(found)["verdict"], told(found)["reason"]) == ("partial", "not-found")
    assert found.series == {}


def test_more_series_than_allowed_are_left_and_told() -> None:
    with ArchiveServer(*(ct_image(str(n)) for n in range(1, 9))) as archive:
        found = read(archive, series=5)
    assert len(found.series) == 5
    assert (told(found)["truncated"], told(found)["reason"]) == (True, "too-many")


def test_the_newest_studies_are_asked_for_first(archive: ArchiveServer) -> None:
    other = {"identifier": [{"system": "urn:dicom:uid", "value": "2.999.8"}], "id": "i2"}
    older, newer = study(**other, started="2011-01-01"), study(started="2021-01-01")
    found = read(archive, patient(), older, newer, studies=1)
    assert numbers(found) == [1, 5, 9]
    assert told(found)["reason"] == "too-many"
    assert not [p for p in archive.paths if "2.999.8" in p]


@pytest.mark.parametrize(
    ("count", "most", "chosen"),
    [
        (0, 3, ""),
        (2, 3, "ab"),
        (3, 3, "abc"),
        (9, 3, "aei"),
        (9, 1, "e"),
        (9, 2, "ai"),
        (4, 3, "acd"),
    ],
)
def test_the_choice_is_spread_evenly(count: int, most: int, chosen: str) -> None:
    assert "".join(spread("abcdefghi"[:count], most)) == chosen


# -- whose they are --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"t00100020": element("LO", "9999999")}, "foreign-subject"),
        ({"t00100030": element("DA", "19610612")}, "foreign-subject"),
        ({"t00100020": element("LO", "")}, "subject-unproven"),
        ({"t00100020": {"vr": "LO"}}, "subject-unproven"),
        ({"t0020000D": element("UI", "2.999.66")}, "other-study"),
        ({"t0020000E": element("UI", f"{STUDY}.77")}, "other-study"),
    ],
)
def test_one_image_of_somebody_else_costs_the_study(changes: Json, reason: str) -> None:
    """A study mixed up in one place may be mixed up in others: nothing of it is used."""
    with ArchiveServer(ct_image("1"), ct_image("2")) as archive:
        wrong = ct_image("2", **changes)
        path = f"/dicom-web/studies/{STUDY}/series/{STUDY}.2/instances/{STUDY}.2.1/metadata"
        archive.on(path, lambda _: dicom([wrong]))
        found = read(archive)
    assert found.series == {}
    assert found.resources[1] == study()
    part = told(found)
    assert (part["verdict"], part["reason"], part["dropped"]) == ("partial", reason, {reason: 1})
    assert part["matches"] == 0
    kinds = [(event.kind, event.type, event.count) for event in found.safety]
    assert kinds == ([(reason, "ImagingMetadata", 1)] if reason == "foreign-subject" else [])


@pytest.mark.parametrize(
    "person",
    [
        patient(identifier=[{"value": f" 00{MRN} "}]),
        patient(identifier=[{"value": "other"}, {"value": MRN}]),
        patient(birthDate="1954"),
        patient(birthDate=None),
    ],
)
def test_the_same_person_written_otherwise_is_the_same(
    archive: ArchiveServer, person: Json
) -> None:
    assert numbers(read(archive, person, study())) == [1, 5, 9]


def test_only_the_identifier_that_the_archive_has_counts_where_it_is_named(
    archive: ArchiveServer,
) -> None:
    system = "https://ehr.example.org/mrn"
    assert numbers(read(archive, identifier_system=system)) == [1, 5, 9]
    other = read(archive, identifier_system="https://ehr.example.org/ssn")
    assert told(other)["reason"] == "subject-unproven"


def test_a_patient_without_an_identifier_cannot_be_proven(archive: ArchiveServer) -> None:
    found = read(archive, patient(identifier=[]), study())
    assert told(found)["dropped"] == {"subject-unproven": 3}
    assert found.series == {}


# -- a bad archive ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason"),
    [(401, "sign-in-refused"), (403, "forbidden"), (400, "invalid"), (500, "server-failed")],
)
def test_a_refusal_is_told_and_one_that_would_only_repeat_is_not_asked_for_again(
    archive: ArchiveServer, status: int, reason: str
) -> None:
    archive.on("metadata", says(status))
    found = read(archive)
    part = told(found)
    assert (part["verdict"], part["reason"], part["refused"]) == ("partial", reason, 3)
    assert found.resources[1] == study()
    asked = [p for p in archive.paths if p.endswith("/metadata")]
    assert len(asked) == {401: 1, 403: 1, 400: 3, 500: 6}[status]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>Sign in</html>", "not-dicom"),
        (b'[{"0008', "not-dicom"),
        (b"7", "not-dicom"),
        (b"--x\r\nContent-Type: application/dicom\r\n\r\nDICM", "not-dicom"),
        (b"\x00" * 128 + b"DICM\x02\x00", "not-dicom"),
        (b'<?xml version="1.0"?><NativeDicomModel/>', "not-dicom"),
        (b"[" * 5000, "not-dicom"),
        (json.dumps([ct_image(t00189999=element("LT", "x" * 40_000))]).encode(), "too-large"),
    ],
)
def test_an_answer_that_is_none_costs_its_series(
    archive: ArchiveServer, body: bytes, reason: str
) -> None:
    archive.on("metadata", says(200, body))
    part = told(read(archive, response_bytes=20_000))
    assert (part["verdict"], part["reason"]) == ("partial", reason)


def test_what_unpacks_to_more_than_allowed_is_not_read(archive: ArchiveServer) -> None:
    packed = gzip.compress(b"[" + b" " * 30_000_000 + b"]")
    archive.on("metadata", says(200, packed, Content_Encoding="gzip"))
    assert told(read(archive, response_bytes=1_000_000))["reason"] == "too-large"


def test_all_answers_together_are_no_larger_than_allowed(archive: ArchiveServer) -> None:
    """Each of them is small enough; what is held of a patient would have no end."""
    padded = [ct_image(str(n), t00189999=element("LT", "x" * 9_000)) for n in range(1, 9)]
    archive.images[:] = padded
    part = told(read(archive, response_bytes=20_000, total_bytes=50_000))
    assert (part["verdict"], part["reason"]) == ("partial", "too-large")
    assert 0 < part["matches"] <= 5
    asked = [p for p in archive.paths if p.endswith("/metadata")]
    assert len(asked) < 8  # nothing more is asked for once it is spent


def test_series_without_end_are_read_to_the_limit_and_no_further(archive: ArchiveServer) -> None:
    endless = itertools.count(1)

    def more(_: Request) -> Response:
        return dicom([ct_image(str(next(endless))) for _ in range(10)])

    archive.on("series", more)
    part = told(read(archive, series=25))
    assert (part["truncated"], part["reason"]) == (True, "too-many")
    assert len([p for p in archive.paths if p.endswith("/series")]) == 3


def test_an_answer_that_drips_is_given_up_in_time(archive: ArchiveServer) -> None:
    def drips(_: Request) -> Response:
        pieces = (time.sleep(0.1) or b" " for _ in range(300))
        return Response(pieces, content_type="application/dicom+json")

    archive.on("series", drips)
    start = time.monotonic()
    part = told(read(archive, total_seconds=1))
    assert (part["verdict"], part["reason"]) == ("unknown", "budget-spent")
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("rows", [[], {}, [1, None, "x"], [{}], {"0020000D": 1}, [[[]]]])
def test_odd_json_is_nobodys(archive: ArchiveServer, rows: Any) -> None:
    for what in ("metadata", "series-metadata"):
        archive.on(what, lambda _: dicom(rows))
    found = read(archive)
    assert found.series == {}
    assert told(found)["verdict"] == "partial"


def test_a_slow_archive_is_given_up_and_not_waited_for_again(archive: ArchiveServer) -> None:
    def slow(_: Request) -> Response:
        time.sleep(1.6)
        return dicom([])

    archive.on("series", slow)
    second = study(id="i2", identifier=[{"system": "urn:dicom:uid", "value": "2.999.9"}])
    start = time.monotonic()
    found = read(archive, patient(), study(), second, timeout_seconds=1)
    assert told(found)["reason"] == "timed-out"
    assert time.monotonic() - start < 20


def test_an_archive_that_is_not_there_is_told() -> None:
    with ArchiveServer() as archive:
        root = archive.root
    server = server_at("http://127.0.0.1:9", base_url=root)
    with FhirClient(server) as client:
        found = with_acquisition(record(), client)
    assert (told(found)["verdict"], told(found)["reason"]) == ("unknown", "unreachable")


def test_a_redirect_to_another_host_is_not_followed(archive: ArchiveServer) -> None:
    with ArchiveServer(ct_image()) as other:
        archive.on("metadata", says(307, Location=f"{other.root}/studies/x/metadata"))
        found = read(archive, auth={"kind": "bearer", "token": "secret"})
        assert told(found)["reason"] == "foreign-origin"
        assert other.requests == []


def test_neither_log_nor_error_names_a_study(
    archive: ArchiveServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    archive.on("metadata", says(403, b"no access to Okonkwo", Warning="299 - Okonkwo"))
    read(archive)
    ours = [r for r in caplog.records if not r.name.startswith("urllib3")]  # see service/web/logs
    assert not ours
    with FhirClient(server_at(archive.root, base_url=archive.root)) as client:
        line = FhirClient(archive_of(client.server, archive.root))
        asked = Archive(line, Allowance(10**6))
        with pytest.raises(Forbidden) as caught:
            asked.instance_metadata(STUDY, f"{STUDY}.1", f"{STUDY}.1.1")
    expected = (
        "GET /studies/{uid}/series/{uid}/instances/{uid}/metadata: the server does not permit"
    )
    assert str(caught.value).startswith(expected)
    assert caught.value.__cause__ is None


# -- what is not asked -----------------------------------------------------------------------------


def test_an_archive_is_asked_only_where_that_is_switched_on(archive: ArchiveServer) -> None:
    before = record()
    server = server_at(archive.origin, base_url=archive.root, enabled=False)
    with FhirClient(server) as client:
        assert with_acquisition(before, client) is before
    assert archive.requests == []


def test_a_record_out_of_files_says_that_no_archive_was_asked() -> None:
    server = server_at("http://127.0.0.1:9")
    part = told(without_acquisition(record(), server))
    assert (part["verdict"], part["reason"], part["queries"]) == ("unknown", "not-asked", 0)
    before = record(patient())
    assert without_acquisition(before, server) is before
    off = server_at("http://127.0.0.1:9", enabled=False)
    assert without_acquisition(before, off) is before


@pytest.mark.parametrize(
    "one", [study(status="registered"), {"resourceType": "Observation", "id": "o1"}]
)
def test_without_a_study_that_was_done_nothing_is_asked(archive: ArchiveServer, one: Json) -> None:
    assert read(archive, patient(), one).completeness["slices"] == []
    assert archive.requests == []


@pytest.mark.parametrize(
    "value", ["", "urn:oid:", "1.2.x", "2.999.0012", "9.1.2", "2.999." + "1" * 80, "../../x", None]
)
def test_a_uid_that_is_none_is_not_put_into_an_address(archive: ArchiveServer, value: Any) -> None:
    named = study(identifier=[{"system": "urn:dicom:uid", "value": value}])
    assert told(read(archive, patient(), named))["reason"] == "no-uid"
    assert archive.requests == []
