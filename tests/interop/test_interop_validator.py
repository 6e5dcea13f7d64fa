"""What we write, judged by Medplum's R4 validator: exports, packages, results for a server."""

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from interop_npm import installed
from support.issuer import twin_of

from mappings.to_fhir import Notice, Reviewed, notice_of, review_provenance, reviewed, with_card
from mappings.to_fhir.notice import FORMS, STALE, VOID
from mappings.to_fhir.phr import phr_lines, signed_document
from mappings.to_fhir.review import ACCEPTED
from mappings.to_fhir.twin_bundle import ips_bundle, twin_bundle
from service.fhir.ladder import Rung
from service.pipeline.deliver import Parcel, to_write
from service.pipeline.make import Made
from service.pipeline.runtime import Runtime, open_runtime
from twin_engine.models.cards import card
from twin_engine.models.registry import all_models

pytestmark = pytest.mark.interop
Json = dict[str, Any]
# A full answer, a refusal, imaging with a tumour, a child, somebody very old: the breadth of it.
PEOPLE = ("demo-001", "demo-003", "demo-008", "demo-012", "demo-020")
CARDS = {name: card(model) for name, model in all_models().items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Runtime, list[Made]]]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TWINPORT_HOME", str(tmp_path_factory.mktemp("validator")))
        runtime = open_runtime()
        yield runtime, [twin_of(runtime, name) for name in PEOPLE]
        runtime.close()


@pytest.fixture(scope="module")
def validator() -> Path:
    return installed()


def problems(folder: Path, resources: list[Json]) -> list[str]:
    node = shutil.which("node")
    assert node, "The interop tests need Node 20 or newer."
    lines = b"".join(orjson.dumps(resource) + b"\n" for resource in resources)
    ran = subprocess.run(
        [node, "validate.mjs"],
        cwd=folder,
        input=lines,
        capture_output=True,
        check=True,
        timeout=600,
    )
    told = ran.stdout.decode().split("\n")[:-1]
    assert len(told) == len(resources)
    return [f"{r['resourceType']}: {t}" for r, t in zip(resources, told, strict=True) if t]


def test_it_finds_what_is_wrong(validator: Path) -> None:
    """A validator that accepts everything would make the tests below say nothing."""
    wrong = [
        {"resourceType": "Observation"},
        {"resourceType": "Patient", "gender": "female", "surprise": 1},
        {"resourceType": "Patient", "birthDate": 5},
    ]
    assert len(problems(validator, wrong)) == len(wrong)


def test_every_export_is_valid(validator: Path, made: tuple[Runtime, list[Made]]) -> None:
    resources: list[Json] = []
    for one in made[1]:
        document = one.twin.document
        bundles = [twin_bundle(document, CARDS), ips_bundle(document, CARDS)]
        resources += bundles
        resources += [entry["resource"] for bundle in bundles for entry in bundle["entry"]]
        resources += phr_lines(document, CARDS, ())
        resources.append(signed_document(document, one.file))
    assert problems(validator, resources) == []


def lower_rungs(runtime: Runtime, made: Made) -> list[Json]:
    """The same results in the forms of the ladder, each with the card of its model."""
    deliverer, found = runtime.deliverer, []
    for assessment in to_write(made, refusals=True):
        links = deliverer.links(made, assessment)
        for rung in (Rung.OBSERVATION, Rung.DOCUMENT):
            parcel = deliverer.parcel(made, assessment, links, rung)
            card_of = runtime.versions.card(assessment["model"])
            found += with_card(parcel.resources, assessment, card_of, links)
    return found


def beside(parcel: Parcel) -> list[Json]:
    """What may be written about a result later: a notice in every form, and a person's decision."""
    device = next(r for r in parcel.resources if r["resourceType"] == "Device")
    results = [r for r in parcel.resources if r["resourceType"] not in ("Device", "Provenance")]
    about = [(f"{r['resourceType']}/{r['id']}", r) for r in results]
    moment = datetime(2026, 6, 1, 8, tzinfo=UTC)
    found = [
        resource
        for kind in (STALE, VOID)
        for form in FORMS
        for resource in notice_of(
            form, Notice(kind, "input-withdrawn", about, device, ("urn:x", "k"), moment)
        )
    ]
    review = Reviewed("r", ACCEPTED, "code", moment)
    found += [reviewed(result, review) for result in results]
    return [*found, review_provenance(about[0][0], review)]


def test_every_result_for_a_server_is_valid(
    validator: Path, made: tuple[Runtime, list[Made]]
) -> None:
    runtime, twins = made
    parcels = [parcel for one in twins for parcel in runtime.results(one, refusals=True)]
    resources = [resource for parcel in parcels for resource in parcel.resources]
    resources += [r for one in twins for r in lower_rungs(runtime, one)]
    resources += [r for parcel in parcels[:6] for r in beside(parcel)]
    kinds = {(r["resourceType"], r.get("status")) for r in resources}
    assert {("RiskAssessment", "preliminary"), ("RiskAssessment", "cancelled")} <= kinds
    assert {("Observation", "cancelled"), ("Provenance", None), ("Device", "active")} <= kinds
    assert {("DocumentReference", "current"), ("Flag", "active")} <= kinds
    assert {("Communication", "completed"), ("RiskAssessment", "final")} <= kinds
    assert problems(validator, resources) == []
