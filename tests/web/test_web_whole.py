"""Nothing made up: the composed service over a real FHIR server, asked over HTTP."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from flask.testing import FlaskClient

from service.app import create_app
from service.auth import Role
from service.config import load_config
from service.pages.site import pages
from service.pipeline.runtime import open_runtime
from service.sandbox.testing import RunningSandbox, running_sandbox
from service.web.services import Services
from service.wsgi import assembled, audit

Headers = dict[str, str]
PATIENT = "demo-001"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with running_sandbox() as found:
        yield found


@pytest.fixture(scope="module")
def whole(
    sandbox: RunningSandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[FlaskClient, Services]]:
    config = load_config(
        {
            "TWINPORT_HOME": str(tmp_path_factory.mktemp("whole") / "home"),
            "TWINPORT_SERVERS__SANDBOX__BASE_URL": sandbox.base_url,
            "TWINPORT_JOBS__POLL_SECONDS": "0.02",
        }
    )
    runtime = open_runtime(config)
    services = assembled(runtime)
    services.start()
    app = create_app(config, services, pages=[pages, audit(runtime)])
    yield app.test_client(use_cookies=False), services
    services.stop()


@pytest.fixture(scope="module")
def ehr(whole: tuple[FlaskClient, Services]) -> Headers:
    return headers(whole[1], Role.EHR)


def headers(services: Services, role: Role, twin: str | None = None) -> Headers:
    key = services.access.api_keys.issue(role, label="test", twin=twin)
    return {"Authorization": f"Bearer {key.text}"}


def parameters(**values: Any) -> dict[str, Any]:
    given = [
        {"name": name, f"value{'Boolean' if isinstance(value, bool) else 'String'}": value}
        for name, value in values.items()
    ]
    server = {"name": "server", "valueString": "sandbox"}
    return {"resourceType": "Parameters", "parameter": [server, *given]}


def identifying(sandbox: RunningSandbox) -> set[str]:
    """Names, numbers, dates and addresses of one patient, as the server holds them."""
    patient = sandbox.inside.store.read("Patient", PATIENT)
    found: set[str] = set()
    _strings(patient, found)
    return {text for text in found if len(text) >= 6} - {"Patient", "female", "generated", "usual"}


def _strings(node: Any, found: set[str]) -> None:
    if isinstance(node, dict):
        for name, below in node.items():
            if name not in {"system", "use", "url", "status", "code", "resourceType", "div"}:
                _strings(below, found)
    elif isinstance(node, list):
        for below in node:
            _strings(below, found)
    elif isinstance(node, str):
        found.add(node)


def test_one_patient_end_to_end(
    whole: tuple[FlaskClient, Services],
    ehr: Headers,
    sandbox: RunningSandbox,
    logged: Callable[[], list[dict[str, Any]]],
) -> None:
    client, services = whole
    wanted = {"server": "sandbox", "patient": PATIENT}
    answer = client.post("/api/v1/runs", json=wanted, headers=ehr)
    assert answer.status_code == 201, answer.get_data(as_text=True)
    run = answer.get_json()
    assert run["counts"]["written"] > 0

    patient = headers(services, Role.PATIENT, run["twin"])
    told = [answer.get_data(as_text=True)]
    for name in ("twin", "assessments", "ledger"):
        read = client.get(run["links"][name], headers=patient)
        assert read.status_code == 200
        told.append(read.get_data(as_text=True))
    for kind in ("RiskAssessment", "Observation", "Device", "Provenance"):
        found = client.get(f"/fhir/{kind}", headers=ehr).get_json(force=True)
        assert found["total"] > 0, kind
        Bundle.model_validate(found)
        told.append(str(found))

    lines = logged()
    assert len([line for line in lines if line["event"] == "request"]) >= 8
    told.append(str(lines))
    told.append(client.get("/metrics", headers=headers(services, Role.ADMIN)).text)
    secrets = identifying(sandbox)
    assert len(secrets) >= 20
    for text in told:
        assert PATIENT not in text
        assert [value for value in secrets if value in text] == []


def test_each_parameter_that_the_statement_lists_finds_what_it_names_and_nothing_else(
    whole: tuple[FlaskClient, Services], ehr: Headers
) -> None:
    """Asked of the service itself, once for what is there and once for what is not."""
    client, services = whole
    run = client.post("/api/v1/runs", json={"server": "sandbox", "patient": PATIENT}, headers=ehr)
    twin = run.get_json()["twin"]
    callers = {"AuditEvent": headers(services, Role.PRIVACY_OFFICER)}
    tried = set()
    for caller in (ehr, callers["AuditEvent"]):
        statement = client.get("/fhir/metadata", headers=caller).get_json(force=True)
        for row in statement["rest"][0]["resource"]:
            kind, who = row["type"], callers.get(row["type"], ehr)
            for name in (p["name"] for p in row.get("searchParam", ())):
                all_of_them = _found(client, who, kind, "")
                example = next(r for r in all_of_them if name != "patient" or twin in str(r))
                there, elsewhere = _values(name, example, twin)
                matched = _found(client, who, kind, f"{name}={there}")
                assert example["id"] in [r["id"] for r in matched], (kind, name)
                assert _found(client, who, kind, f"{name}={elsewhere}") == [], (kind, name)
                tried.add((kind, name))
    assert {kind for kind, _ in tried} >= {"RiskAssessment", "Observation", "Device", "Provenance"}
    assert ("AuditEvent", "patient") in tried


def _found(client: FlaskClient, who: Headers, kind: str, query: str) -> list[Any]:
    strictly = {**who, "Prefer": "handling=strict"}
    answer = client.get(f"/fhir/{kind}?_count=1000&{query}", headers=strictly)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return [e["resource"] for e in answer.get_json(force=True).get("entry", ())]


def _values(name: str, example: dict[str, Any], twin: str) -> tuple[str, str]:
    """One that finds the example, and one that finds nothing."""
    if name in ("patient", "subject"):
        return f"Patient/{twin}", "Patient/AAAAAAAAAAAAAAAAAAAAAA"
    if name == "target":
        return example["target"][0]["reference"], "RiskAssessment/none"
    if name == "identifier":
        one = example["identifier"][0]
        return f"{one['system']}|{one['value']}", f"{one['system']}|none"
    if name == "_lastUpdated":
        return "ge2000", "lt2000"
    assert name == "_id", f"a value for {name} is needed here"
    return example["id"], "none"


def test_assess_answers_with_what_was_made_and_writes_nothing_unasked(
    whole: tuple[FlaskClient, Services], ehr: Headers, sandbox: RunningSandbox
) -> None:
    client, _ = whole
    before = sandbox.count("RiskAssessment")
    body = parameters(writeBack=False)
    answer = client.post("/fhir/Patient/demo-002/$assess", json=body, headers=ehr)
    bundle = answer.get_json(force=True)
    assert (answer.status_code, bundle["type"]) == (200, "collection")
    assert {"Device", "Provenance"} <= {e["resource"]["resourceType"] for e in bundle["entry"]}
    Bundle.model_validate(bundle)
    assert sandbox.count("RiskAssessment") == before


def test_what_a_server_was_asked_for_while_a_run_went_on_is_not_asked_again(
    whole: tuple[FlaskClient, Services], ehr: Headers, sandbox: RunningSandbox
) -> None:
    client, _ = whole
    before = len(sandbox.requests)
    body = parameters(writeBack=True)
    bundle = client.post("/fhir/Patient/demo-004/$assess", json=body, headers=ehr).get_json(True)
    made = Counter(entry["resource"]["resourceType"] for entry in bundle["entry"])
    until_written = takewhile(lambda one: one.method == "GET", sandbox.requests[before:])
    looked_for = Counter(one.kind for one in until_written if "identifier" in one.parameters)
    assert looked_for == made - Counter(Provenance=made["Provenance"])
    assert {"Device", "RiskAssessment", "Observation"} <= looked_for.keys()


def test_assess_asynchronously(whole: tuple[FlaskClient, Services], ehr: Headers) -> None:
    client, _ = whole
    later = {**ehr, "Prefer": "respond-async"}
    path = "/fhir/Patient/demo-003/$assess"
    answer = client.post(path, json=parameters(writeBack=False), headers=later)
    address = answer.headers["Content-Location"]
    for _ in range(300):
        answer = client.get(address, headers=ehr)
        if answer.status_code != 202:
            break
        time.sleep(0.05)
    assert answer.get_json(force=True)["type"] == "batch-response"


def test_a_patient_the_server_does_not_have(
    whole: tuple[FlaskClient, Services], ehr: Headers
) -> None:
    client, _ = whole
    answer = client.post("/fhir/Patient/nobody/$assess", json=parameters(), headers=ehr)
    outcome = answer.get_json(force=True)
    assert (answer.status_code, outcome["issue"][0]["code"]) == (404, "not-found")
    assert "nobody" not in str(outcome)


def test_the_ledger_verifies_afterwards(whole: tuple[FlaskClient, Services]) -> None:
    client, services = whole
    officer = headers(services, Role.PRIVACY_OFFICER)
    found = client.post("/api/v1/ledger/verification", headers=officer).get_json()
    assert (found["ok"], found["problems"]) == (True, [])
    state = client.get("/api/v1/ledger", headers=officer).get_json()
    assert (state["entries"], state["head"]) == (found["entries"], found["head"])
    assert (state["verified"]["ok"], state["verified"]["entries"]) == (True, found["entries"])


def test_models_and_their_cards_are_those_that_run(
    whole: tuple[FlaskClient, Services], ehr: Headers
) -> None:
    client, _ = whole
    listed = client.get("/api/v1/models", headers=ehr).get_json()["items"]
    assert {"prevent", "ckd-epi-2021"} <= {model["id"] for model in listed}
    for model in listed:
        card = client.get(f"/api/v1/models/{model['id']}", headers=ehr).get_json()
        assert card["id"] == model["id"]
