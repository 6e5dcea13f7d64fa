"""The life of one chart on a server nobody here wrote, as a page to read (`transcripts/`): run, run
again, correct an input, withdraw it, run again. Made anew by `pytest … --transcripts`."""

import copy
from pathlib import Path
from typing import Any

import pytest
from test_interop_foreign_server import load
from test_interop_whole_loop import run, runtime  # noqa: F401 - a fixture

from service.fhir.http import FhirClient
from service.pipeline.origin import is_own
from service.pipeline.runtime import Runtime
from service.sandbox.testing import population

pytestmark = pytest.mark.interop

Json = dict[str, Any]
PAGE = Path(__file__).parent / "transcripts" / "foreign.txt"
PATIENT, CREATININE = "demo-008", "14682-9"


def found(client: FhirClient, kind: str, *criteria: tuple[str, str]) -> list[Json]:
    bundle = client.search(kind, (*criteria, ("_count", "1000"))).resource or {}
    return [entry["resource"] for entry in bundle.get("entry", ())]


def chart(client: FhirClient, patient: str) -> list[str]:
    subject = ("subject", f"Patient/{patient}")
    ours = [r for k in ("RiskAssessment", "Observation") for r in found(client, k, subject)]
    return sorted(
        " ".join(
            [
                f"- {r['resourceType']}",
                str(r["method"]["coding"][0]["code"]).partition("-")[0],
                r["status"],
                *(tag["code"] for tag in (r.get("meta") or {}).get("tag", ())),
            ]
        )
        for r in ours
        if is_own(r)
    )


def creatinine(client: FhirClient, patient: str) -> Json:
    code = ("code", f"http://loinc.org|{CREATININE}")
    listed = found(client, "Observation", ("subject", f"Patient/{patient}"), code)
    return max(listed, key=lambda r: str(r["effectiveDateTime"]))


def change(client: FhirClient, resource: Json, **values: Any) -> None:
    client.write("PUT", (resource["resourceType"], resource["id"]), {**resource, **values})


def test_the_golden_transcript(
    runtime: Runtime,  # noqa: F811
    client: FhirClient,
    request: pytest.FixtureRequest,
) -> None:
    person = next(p for p in population() if p.id == PATIENT)
    patient = load(client, copy.deepcopy(person.resources))
    lines: list[str] = []

    def step(what: str) -> None:
        _, charted = run(runtime, client, patient)
        assert charted.confirmed
        done = sorted(change.done.value for change in charted.changes)
        written = sum(len(item.result.written) for item in charted.delivered)
        lines.extend([f"## {what}", f"written {written}; {', '.join(done) or 'nothing corrected'}"])
        lines.extend([*chart(client, patient), ""])

    step("first run")
    step("run again: nothing new")
    quantity = creatinine(client, patient)["valueQuantity"]
    change(client, creatinine(client, patient),
           valueQuantity={**quantity, "value": quantity["value"] * 1.5})  # fmt: skip
    step("creatinine corrected at its source")
    change(client, creatinine(client, patient), status="entered-in-error")
    step("the corrected creatinine entered in error")
    step("run again: nothing new")
    text = "\n".join(lines)
    if request.config.getoption("--transcripts"):
        PAGE.write_text(text, encoding="utf-8")
    assert text == PAGE.read_text(encoding="utf-8")
