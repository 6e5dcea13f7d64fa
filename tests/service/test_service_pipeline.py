"""The whole path: a record on a server or in a file becomes a signed twin with answers."""

import copy
from pathlib import Path
from typing import Any

import orjson
import pytest
from service_people import ONE_OF_EACH, Bundle, Json, ours, person, today
from support.shell import Shell
from support.threads import at_once

from privacy import ledger
from service.cli.verify import check_bytes
from service.fhir.http import FhirClient
from service.fhir.pull import pull_patient
from service.fhir.servers import from_url
from service.pipeline.make import Wish
from service.pipeline.runtime import open_runtime
from service.sandbox.testing import RunningSandbox, running_sandbox
from service.stores.ledger import SqlLedgerStore
from service.stores.twins import TwinStore
from twin_engine.models.assess import recompute

CREATININE = "14682-9"


def from_server(
    shell: Shell, sandbox: RunningSandbox, *more: object, patient: str = "demo-008"
) -> Any:
    ran = shell("run", "--server", sandbox.base_url, "--patient", patient, "--json", *more)
    assert (ran.code, ran.err) == (0, "")
    return ran.json


def answers(summary: Any, model: str) -> Any:
    return next(item for item in summary["assessments"] if item["model"] == model)


def newest(sandbox: RunningSandbox, code: str) -> Json:
    """The patient's last reading under a LOINC code."""
    found = [
        resource
        for resource in sandbox.resources("Observation")
        if any(c.get("code") == code for c in resource["code"]["coding"])
        and "effectiveDateTime" in resource
    ]
    return copy.deepcopy(max(found, key=lambda r: str(r["effectiveDateTime"])))


def change(sandbox: RunningSandbox, resource: Json, **values: Any) -> None:
    sandbox.store.put(resource["resourceType"], resource["id"], {**resource, **values})


# -- one run ------------------------------------------------------------------------------------


def test_a_run_makes_a_twin_that_verifies_recomputes_and_is_on_the_server(
    shell: Shell, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    summary = from_server(shell, sandbox, "--out", tmp_path / "out")
    runtime = open_runtime()
    checked = check_bytes((tmp_path / "out/twin.json").read_bytes(), runtime.verification_keys())
    runtime.close()
    assert (checked.twin.id, checked.twin.version) == (summary["twin"], 1)
    assert {one.outcome for one in recompute(checked.twin.document)} == {"same"}
    (risk,) = sandbox.resources("RiskAssessment")
    assert risk["status"] == "preliminary"
    assert risk["subject"]["reference"] == "Patient/demo-008"
    assert {p["probabilityDecimal"] < 100 for p in risk["prediction"]} == {True}
    assert ours(sandbox) == ONE_OF_EACH


def test_running_again_writes_nothing_and_keeps_the_version(
    shell: Shell, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    """Although the server now holds our own eGFR as an Observation: it is no evidence."""
    first = from_server(shell, sandbox, "--out", tmp_path / "1")
    before = ours(sandbox), sandbox.count("Observation")
    second = from_server(shell, sandbox, "--out", tmp_path / "2")
    assert (second["twin"], second["version"], second["new"]) == (first["twin"], 1, False)
    assert (second["counts"]["written"], second["written"]) == (0, [])
    assert before == (ours(sandbox), sandbox.count("Observation"))
    for name in ("twin.json", "assessments.json", "ledger.jsonl"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_a_dry_run_writes_nothing(shell: Shell, sandbox: RunningSandbox) -> None:
    from_server(shell, sandbox, "--dry-run")
    assert set(ours(sandbox).values()) == {0}
    assert {request.method for request in sandbox.requests} == {"GET"}


# -- what changes -------------------------------------------------------------------------------


def test_a_corrected_reading_makes_a_version_with_its_parent_and_a_new_assessment(
    shell: Shell, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    first = from_server(shell, sandbox, "--out", tmp_path / "1")
    creatinine = newest(sandbox, CREATININE)
    quantity = creatinine["valueQuantity"]
    change(sandbox, creatinine, valueQuantity={**quantity, "value": quantity["value"] * 1.5})
    second = from_server(shell, sandbox, "--out", tmp_path / "2")
    assert (second["twin"], second["version"]) == (first["twin"], 2)
    parent = check_file(shell, tmp_path / "1/twin.json")
    child = check_file(shell, tmp_path / "2/twin.json")
    assert child["twin"]["parent"] == parent["digest"]
    assert len(child["changes"]["corrected"]) == 1
    assert sandbox.count("RiskAssessment") == 2
    values = [answers(run, "ckd-epi-2021")["results"][0]["value"] for run in (first, second)]
    assert values[1] < values[0]


def test_an_added_reading_makes_the_next_version(
    shell: Shell, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    from_server(shell, sandbox)
    creatinine = newest(sandbox, CREATININE)
    added = {**creatinine, "id": "added", "effectiveDateTime": f"{today()}T00:00:00Z"}
    sandbox.store.put("Observation", "added", added)
    assert from_server(shell, sandbox, "--out", tmp_path / "2")["version"] == 2
    assert len(check_file(shell, tmp_path / "2/twin.json")["changes"]["added"]) == 1


def test_a_reading_entered_in_error_is_withdrawn(
    shell: Shell, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    from_server(shell, sandbox)
    change(sandbox, newest(sandbox, CREATININE), status="entered-in-error")
    from_server(shell, sandbox, "--out", tmp_path / "2")
    changes = check_file(shell, tmp_path / "2/twin.json")["changes"]
    assert len(changes["withdrawn"]) == 1


def check_file(shell: Shell, path: Path) -> Json:
    """The document of a twin file that verifies, with its digest."""
    ran = shell("verify", path, "--json")
    assert ran.code == 0
    document: Json = orjson.loads(path.read_bytes())["twin"]
    return {**document, "digest": ran.json["digest"]}


# -- refusals -----------------------------------------------------------------------------------


def test_a_missing_input_is_a_refusal_without_a_number(shell: Shell) -> None:
    with running_sandbox([person("demo-012")]) as sandbox:  # creatinine was never measured
        kidney = answers(from_server(shell, sandbox, patient="demo-012"), "ckd-epi-2021")
    assert (kidney["answer"], kidney["results"]) == ("refused", [])
    assert kidney["refusals"] == [
        {"outcome": "egfr", "reason": "missing-input", "input": "creatinine"}
    ]


def test_a_first_event_is_not_predicted_after_the_event(shell: Shell) -> None:
    with running_sandbox([person("demo-003")]) as sandbox:
        prevent = answers(from_server(shell, sandbox, patient="demo-003"), "prevent")
        assert sandbox.count("RiskAssessment") == 0
    assert {refusal["reason"] for refusal in prevent["refusals"]} == {"known-disease"}


def test_absence_is_not_concluded_from_a_part_of_the_record(shell: Shell, bundle: Bundle) -> None:
    """A search result without Conditions says nothing about diabetes."""
    kept = [
        r for r in person("demo-008").resources if r["resourceType"] in {"Patient", "Observation"}
    ]
    part = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": r} for r in kept]}
    prevent = answers(shell("run", "--bundle", bundle(part), "--json").json, "prevent")
    assert {refusal["reason"] for refusal in prevent["refusals"]} == {"absence-not-proven"}


def test_an_unknown_patient_is_one_line(shell: Shell, sandbox: RunningSandbox) -> None:
    ran = shell("run", "--server", sandbox.base_url, "--patient", "nobody-here")
    assert ran.code == 4
    assert "nobody-here" not in ran.error


# -- policies -----------------------------------------------------------------------------------


def test_another_policy_gives_another_twin_that_cannot_be_linked(
    shell: Shell, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    from_server(shell, sandbox, "--out", tmp_path / "a")
    from_server(shell, sandbox, "--out", tmp_path / "b", "--policy", "relative-minutes")
    one, other = (check_file(shell, tmp_path / name / "twin.json") for name in "ab")
    assert one["twin"]["timeUnit"] != other["twin"]["timeUnit"]
    assert not pseudonyms(one) & pseudonyms(other)


def pseudonyms(document: Json) -> set[str]:
    return {document["twin"]["id"], *(i for s in document["sources"] for i in s["ids"])}


# -- at once ------------------------------------------------------------------------------------


def test_two_runs_at_once_make_one_twin_and_one_of_each_resource(
    shell: Shell, sandbox: RunningSandbox
) -> None:
    def one(_: int) -> int:
        process = shell.process("run", "--server", sandbox.base_url, "--patient", "demo-008")
        process.communicate(timeout=600)
        return process.returncode

    assert at_once(2, one) == [0, 0]
    only_one_of_each(sandbox)


def test_two_threads_of_one_service_make_one_twin(home: Path, sandbox: RunningSandbox) -> None:
    runtime = open_runtime()
    wish = Wish(policy="safe-harbor", models=runtime.models(), as_of="run")

    def one(_: int) -> str:
        with FhirClient(from_url(sandbox.base_url)) as client:
            made = runtime.maker.make(pull_patient(client, "demo-008"), wish)
            parcels = runtime.results(made)
            done = runtime.deliverer.deliver(parcels, client, runtime.outbox, runtime.sealer.seal)
        assert all(item.confirmed for item in done)
        return made.twin.id

    assert len(set(at_once(3, one))) == 1
    runtime.close()
    only_one_of_each(sandbox)


def only_one_of_each(sandbox: RunningSandbox) -> None:
    """One twin with one version; each resource of ours exactly once."""
    runtime = open_runtime()
    (twin,) = TwinStore(runtime.database).newest()
    runtime.close()
    assert twin.version == 1
    assert ours(sandbox) == ONE_OF_EACH


# -- the gate -----------------------------------------------------------------------------------


@pytest.fixture
def betrayed() -> Json:
    """A record whose medical record number is the code of a diagnosis in the same record."""
    resources = copy.deepcopy(person("demo-001").resources)
    condition = next(r for r in resources if r["resourceType"] == "Condition")
    patient = next(r for r in resources if r["resourceType"] == "Patient")
    code = next(c["code"] for c in condition["code"]["coding"] if c["system"].endswith("/sct"))
    patient["identifier"] = [{"system": "urn:oid:1.2.3", "value": code}]
    entries = [{"resource": resource} for resource in resources]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def test_identity_in_the_document_stops_the_run(
    shell: Shell, betrayed: Json, bundle: Bundle, tmp_path: Path
) -> None:
    ran = shell("run", "--bundle", bundle(betrayed), "--out", tmp_path / "out")
    resources = [entry["resource"] for entry in betrayed["entry"]]
    patient = next(r for r in resources if r["resourceType"] == "Patient")
    assert ran.code == 5
    assert ran.out == ""
    assert "conditions" in ran.error
    assert patient["identifier"][0]["value"] not in ran.error
    assert list((tmp_path / "out").iterdir()) == []


def test_a_blocked_twin_is_neither_signed_nor_kept_but_recorded(
    shell: Shell, betrayed: Json, bundle: Bundle
) -> None:
    shell("run", "--bundle", bundle(betrayed))
    runtime = open_runtime()
    assert TwinStore(runtime.database).newest() == []
    (line,) = SqlLedgerStore(runtime.database).lines()
    entry = orjson.loads(ledger.split(line)[0])
    runtime.close()
    assert entry["event"] == "twin-blocked"
    assert shell("ledger", "verify").code == 0
