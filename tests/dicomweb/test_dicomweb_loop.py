"""From an archive into a twin and out again: what arrives, what does not, and what a gap means."""

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mappings import vocabulary
from mappings.to_fhir import twin_bundle
from privacy.dicom import ATTRIBUTES
from privacy.policy import load_policy
from service.config import load_config
from service.config.sections import ServerDicomWeb
from service.dicomweb import SLICE, read_patient
from service.dicomweb.docs import PAGE, page
from service.fhir.checkup import check_server
from service.fhir.http import FhirClient
from service.fhir.record import PatientRecord
from service.fhir.servers import from_url
from service.pages.record import header
from service.pipeline.errors import Blocked
from service.pipeline.make import Made, Wish
from service.pipeline.runtime import Runtime, open_runtime
from service.sandbox.persona import Settings
from service.sandbox.testing import TEST_ANCHOR, RunningSandbox, population, running_sandbox
from twin_engine.document import clinical_digest
from twin_engine.models.cards import card
from twin_engine.models.registry import all_models
from twin_engine.state import State

PATIENT = "demo-022"
ON = ServerDicomWeb(enabled=True)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    people = [p for p in population() if p.id == PATIENT]
    with running_sandbox(people, settings=Settings(bearer_token="t0ken")) as running:
        yield running


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    opened = open_runtime(load_config({"TWINPORT_HOME": str(tmp_path / "home")}))
    yield opened
    opened.close()


def pulled(sandbox: RunningSandbox, dicomweb: ServerDicomWeb = ON) -> PatientRecord:
    plain = from_url(sandbox.base_url)
    auth = replace(plain.auth, kind="bearer", token="t0ken")
    with FhirClient(replace(plain, auth=auth, dicomweb=dicomweb)) as client:
        return read_patient(client, PATIENT)


@pytest.fixture(scope="module")
def kept(sandbox: RunningSandbox) -> PatientRecord:
    return pulled(sandbox)


@pytest.fixture
def record(kept: PatientRecord) -> PatientRecord:
    return replace(kept, series=copy.deepcopy(kept.series))


@pytest.fixture(scope="module")
def without(sandbox: RunningSandbox) -> PatientRecord:
    """The archive is away."""
    return pulled(sandbox, ServerDicomWeb(enabled=True, base_url="http://127.0.0.1:9/dicom-web"))


def made(runtime: Runtime, record: PatientRecord) -> Made:
    wish = Wish(policy="safe-harbor", models=(), as_of="stated", day=TEST_ANCHOR)
    return runtime.maker.make(record, wish)


def verdict(document: Any) -> str:
    (part,) = [s for s in document["completeness"]["slices"] if s["type"] == SLICE]
    return str(part["verdict"])


def test_a_twin_tells_how_images_were_acquired_and_nothing_of_who_or_where(
    record: PatientRecord, runtime: Runtime
) -> None:
    twin = made(runtime, record).twin
    assert verdict(twin.document) == "complete"
    scan = next(s for s in twin.document["imaging"] if s["modalities"] == ["CT"])
    (series,) = scan["series"]
    assert series["read"] == 3
    parameters = series["parameters"]
    assert parameters["slice-thickness"] == {"unit": "mm", "v": [1.25]}
    assert parameters["tube-current"] == {"unit": "mA", "v": [180, 260]}
    assert parameters["contrast"] == {"given": True}
    assert parameters["patient-position"] == {"words": ["HFS"]}
    text = twin.payload.decode()
    for dataset in (d for listed in record.series.values() for d in listed):
        for element in dataset.values():
            for value in element.get("Value", ()):
                shown = value["Alphabetic"] if isinstance(value, dict) else str(value)
                if element["vr"] in ("UI", "PN", "LO", "SH", "DA", "LT", "TM"):
                    assert shown not in text or len(shown) < 3


def test_what_was_read_and_left_out_is_in_the_ledger(
    record: PatientRecord, runtime: Runtime
) -> None:
    counts = made(runtime, record).counts
    done = {
        (path.removeprefix("series.dicom."), action): n
        for (kind, path, action), n in counts.items()
        if path.startswith("series.dicom.")
    }
    images = 9  # three of each of three studies
    assert done[("PatientName", "drop:profile-Z")] == images
    assert done[("PatientID", "drop:compared")] == images
    assert done[("*", "drop:private")] == 2 * images
    assert done[("SliceThickness", "number")] == 6


def test_the_measurements_point_at_their_study_in_state_and_fhir(
    record: PatientRecord, runtime: Runtime
) -> None:
    document = made(runtime, record).twin.document
    measured = [s for s in State(document).studies("CT", "MG") if s.measurements]
    assert {m.concept for s in measured for m in s.measurements} == {"tumour-size-max"}
    cards = {name: card(model) for name, model in all_models().items()}
    bundle = twin_bundle.twin_bundle(document, cards)
    linked = [e["resource"] for e in bundle["entry"] if "derivedFrom" in e["resource"]]
    assert len(linked) == sum(len(s.measurements) for s in measured)


def test_the_same_again_is_no_new_version_and_an_archive_away_is_told(
    record: PatientRecord, without: PatientRecord, runtime: Runtime
) -> None:
    first = made(runtime, record)
    assert not made(runtime, record).new
    later = made(runtime, without)
    assert verdict(later.twin.document) == "unknown"
    assert "parameters" not in json.dumps(later.twin.document["imaging"])
    assert later.twin.document["changes"]["withdrawn"] == []
    assert clinical_digest(later.twin.document) == clinical_digest(first.twin.document)


def test_an_archive_away_is_no_gap_in_what_models_read(
    without: PatientRecord, runtime: Runtime
) -> None:
    wish = Wish("safe-harbor", runtime.models(("ckd-epi-2021",)), "stated", TEST_ANCHOR)
    answered = runtime.maker.make(without, wish)
    assert verdict(answered.twin.document) == "unknown"
    assert SLICE not in runtime.deliverer.links(answered, answered.assessments[0]).partial
    assert header(answered.twin.document).completeness.count("acquired") == 0


def test_the_gate_stops_a_twin_that_holds_what_only_the_archive_knew(
    record: PatientRecord, runtime: Runtime
) -> None:
    """An accession number of the metadata alone that is spelled like a code of the record."""
    condition = next(r for r in record.resources if r["resourceType"] == "Condition")
    coding = condition["code"]["coding"][0]
    for listed in record.series.values():
        listed[0]["00080050"] = {"vr": "SH", "Value": [coding["code"]]}
    with pytest.raises(Blocked):
        made(runtime, record)


# -- tables ----------------------------------------------------------------------------------------


def test_what_the_map_reads_is_what_the_policy_lets_through() -> None:
    """Three tables speak of the same attributes: the map's, the policy's, DICOM's own."""
    allowed = {
        path: verdict.action
        for path, verdict in load_policy("safe-harbor").dicom.items()
        if verdict.action in ("number", "code", "present")
    }
    read = {
        path: {"number": "number", "code": "code", "flag": "present"}[parameter.kind]
        for parameter in vocabulary.acquisition_parameters().values()
        for path in parameter.attributes
    }
    assert read == allowed
    for parameter in vocabulary.acquisition_parameters().values():
        for path in parameter.attributes:
            words = ATTRIBUTES[path.rpartition(".")[2]].words
            assert words == set(parameter.words)


# -- the check -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dicomweb", "level", "words"),
    [
        (ServerDicomWeb(), "works", "not asked how images were acquired"),
        (ON, "works", "asked at the Endpoints that studies name"),
        (ServerDicomWeb(enabled=True, base_url="{root}"), "works", "answers searches"),
        (ServerDicomWeb(enabled=True, base_url="http://127.0.0.1:9/x"), "refused", "be reached"),
    ],
)  # fmt: skip
def test_a_check_says_what_works_with_the_archive(
    sandbox: RunningSandbox, dicomweb: ServerDicomWeb, level: str, words: str
) -> None:
    root = sandbox.base_url.rpartition("/")[0] + "/dicom-web"
    asked = replace(dicomweb, base_url=dicomweb.base_url.replace("{root}", root))
    plain = from_url(sandbox.base_url)
    auth = replace(plain.auth, kind="bearer", token="t0ken")
    with FhirClient(replace(plain, auth=auth, dicomweb=asked)) as client:
        found = [f for f in check_server(client) if f.about == "dicomweb"]
    assert [(str(f.level), words in f.text) for f in found] == [(level, True)]


def test_a_check_with_a_patient_says_how_complete_the_images_came(sandbox: RunningSandbox) -> None:
    plain = from_url(sandbox.base_url)
    auth = replace(plain.auth, kind="bearer", token="t0ken")
    with FhirClient(replace(plain, auth=auth, dicomweb=ON)) as client:
        found = [f for f in check_server(client, PATIENT) if f.about == SLICE]
    assert [f.text for f in found] == ["complete: 9 found in 15 pages"]


def test_the_table_of_the_page_is_current() -> None:
    text = (Path(__file__).parents[2] / PAGE).read_text(encoding="utf-8")
    assert page(text) == text, "run: python -m service.dicomweb.docs"
