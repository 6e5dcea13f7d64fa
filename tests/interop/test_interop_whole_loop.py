"""The whole loop against a FHIR server nobody here wrote: load, pull, twin, models, write, again.

The twin made from that server says the same as the one made from the sandbox's own copy of the
patient, and the server ends up with each result once.
"""

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_interop_foreign_server import count, load

from service.config import load_config
from service.fhir.http import FhirClient
from service.fhir.pull import pull_patient
from service.fhir.servers import from_url
from service.pipeline.make import Made, Wish
from service.pipeline.runtime import Runtime, open_runtime
from service.refresh.chart import Charted, update_chart
from service.sandbox.testing import TEST_ANCHOR, population, running_sandbox
from twin_engine.document import clinical_digest
from twin_engine.models.assess import recompute

pytestmark = pytest.mark.interop

PATIENT = "demo-001"


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    opened = open_runtime(load_config({"TWINPORT_HOME": str(tmp_path / "home")}))
    yield opened
    opened.close()


def made_of(runtime: Runtime, client: FhirClient, patient: str) -> Made:
    models = runtime.models(("prevent", "ckd-epi-2021"))
    wish = Wish(policy="safe-harbor", models=models, as_of="stated", day=TEST_ANCHOR)
    return runtime.maker.make(pull_patient(client, patient), wish)


def run(runtime: Runtime, client: FhirClient, patient: str) -> tuple[Made, Charted]:
    made = made_of(runtime, client, patient)
    runtime.results(made, client.server.probability_scale)
    return made, update_chart(runtime, made, client)


def test_the_whole_loop_writes_once(runtime: Runtime, client: FhirClient) -> None:
    person = next(p for p in population() if p.id == PATIENT)
    patient = load(client, copy.deepcopy(person.resources))
    made, charted = run(runtime, client, patient)
    assert charted.confirmed
    assert {a["answer"] for a in made.assessments} == {"given"}
    assert {one.outcome for one in recompute(made.twin.document)} == {"same"}
    held = count(client, "RiskAssessment", "subject", f"Patient/{patient}")
    again, charted = run(runtime, client, patient)
    assert charted.confirmed
    assert (again.new, again.twin.digest) == (False, made.twin.digest)
    assert count(client, "RiskAssessment", "subject", f"Patient/{patient}") == held == 1


def test_the_twin_says_what_the_sandboxs_says(runtime: Runtime, client: FhirClient) -> None:
    person = next(p for p in population() if p.id == PATIENT)
    foreign = made_of(runtime, client, load(client, copy.deepcopy(person.resources)))
    with running_sandbox([person]) as sandbox, FhirClient(from_url(sandbox.base_url)) as own:
        ours = made_of(runtime, own, PATIENT)
    assert clinical_digest(foreign.twin.document) == clinical_digest(ours.twin.document)
