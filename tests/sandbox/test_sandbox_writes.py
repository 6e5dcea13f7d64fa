"""Create, update, conditional forms, batch, transaction, errors and sign-in, over real HTTP."""

import json
import threading
from typing import Any

import pytest
import requests
from fhir.resources.R4B import get_fhir_model_class
from flask import Response
from hypothesis import given, settings
from hypothesis import strategies as st
from support.depth import examples

from service.sandbox.errors import FhirError
from service.sandbox.persona import Persona, Settings
from service.sandbox.search import Query
from service.sandbox.server import create_sandbox
from service.sandbox.store import Store
from service.sandbox.testing import RunningSandbox, population, running_sandbox

SYSTEM = "https://twinport.example.org/run"
UCUM = "http://unitsofmeasure.org"


def risk(value: str = "r-1", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "RiskAssessment",
        "identifier": [{"system": SYSTEM, "value": value}],
        "status": "preliminary",
        "subject": {"reference": "Patient/demo-001"},
        "prediction": [{"probabilityDecimal": 7.5}],
        **more,
    }


def refused(answer: requests.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].startswith("application/fhir+json")
    outcome = answer.json()
    get_fhir_model_class("OperationOutcome").model_validate(outcome)
    assert outcome["issue"][0]["code"] == code, answer.text
    return outcome["issue"][0]


# -- create and read -------------------------------------------------------------------------------


def test_create_gives_location_etag_and_last_modified_and_ignores_the_id(fresh, http) -> None:
    answer = http.post(
        f"{fresh.base_url}/RiskAssessment", json=risk(id="mine", meta={"versionId": "9"})
    )
    assert answer.status_code == 201
    stored = answer.json()
    assert stored["id"] != "mine"
    assert stored["meta"]["versionId"] == "1"
    location = f"{fresh.base_url}/RiskAssessment/{stored['id']}/_history/1"
    assert answer.headers["Location"] == location
    assert answer.headers["ETag"] == 'W/"1"'
    assert answer.headers["Last-Modified"].endswith("GMT")
    assert answer.headers["Cache-Control"] == "no-store"
    assert http.get(location).json() == stored


def test_decimals_keep_their_digits(fresh, http) -> None:
    raw = json.dumps(risk()).replace("7.5", "14.20")
    headers = {"Content-Type": "application/fhir+json"}
    answer = http.post(f"{fresh.base_url}/RiskAssessment", data=raw, headers=headers)
    assert '"probabilityDecimal":14.20}' in http.get(answer.headers["Location"]).text


def test_prefer_chooses_what_comes_back(fresh, http) -> None:
    url = f"{fresh.base_url}/RiskAssessment"
    minimal = http.post(url, json=risk(), headers={"Prefer": "return=minimal"})
    assert (minimal.status_code, minimal.content) == (201, b"")
    assert minimal.headers["Location"]
    told = http.post(url, json=risk(), headers={"Prefer": "return=OperationOutcome"})
    assert told.json()["resourceType"] == "OperationOutcome"


def test_a_known_version_is_not_sent_again(held, http) -> None:
    url = f"{held.base_url}/Patient/demo-001"
    etag = http.get(url).headers["ETag"]
    again = http.get(url, headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert http.get(url, headers={"If-None-Match": 'W/"77"'}).status_code == 200


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "code", "expression"),
    [
        ({"resourceType": "RiskAssessment"}, 422, "required", "RiskAssessment.status"),
        (risk(status="done"), 422, "code-invalid", "RiskAssessment.status"),
        (risk(subject={}), 422, "required", "RiskAssessment.subject"),
        (risk(meta=None), 400, "structure", "RiskAssessment"),
        (risk(prediction=[{"probabilityDecimal": 100.5}]), 422, "invariant", None),
        (risk(prediction=[{"probabilityRange": {"low": {"value": 1}}}]), 422, "invariant", None),
        (risk(prediction=["x"]), 422, "structure", "RiskAssessment.prediction.0"),
        (risk(colour="blue"), 422, "structure", "RiskAssessment.colour"),
        (risk(occurrenceDateTime="soon"), 422, "structure", "RiskAssessment.occurrenceDateTime"),
        (risk(basis=[{"reference": "Observation/no-such"}]), 422, "not-found", None),
        ({"resourceType": "Observation", "status": "final"}, 400, "invalid", "resourceType"),
        ([], 400, "structure", None),
        ({"no": "type"}, 400, "structure", None),
    ],
)
def test_bad_resources_are_refused_with_the_element_named(
    fresh, http, body, status, code, expression
) -> None:
    issue = refused(http.post(f"{fresh.base_url}/RiskAssessment", json=body), status, code)
    if expression:
        assert issue["expression"] == [expression]
    assert fresh.count("RiskAssessment") == 0


def test_a_percent_range_is_accepted(fresh, http) -> None:
    bound = {"value": 5, "unit": "%", "system": UCUM, "code": "%"}
    body = risk(prediction=[{"probabilityRange": {"low": bound, "high": bound}}])
    assert http.post(f"{fresh.base_url}/RiskAssessment", json=body).status_code == 201


@pytest.mark.parametrize(
    ("method", "path", "headers", "data", "status", "code"),
    [
        ("GET", "/fhir/Nothing", {}, None, 404, "not-supported"),
        ("POST", "/fhir/Nothing", {}, "{}", 404, "not-supported"),
        ("GET", "/fhir/Patient/no-one", {}, None, 404, "not-found"),
        ("GET", "/fhir/Patient/a_b", {}, None, 400, "invalid"),
        ("GET", "/elsewhere", {}, None, 404, "not-found"),
        ("GET", "/fhir/a/b/c/d", {}, None, 404, "not-found"),
        ("DELETE", "/fhir/Patient/demo-001", {}, None, 405, "not-supported"),
        ("GET", "/fhir/metadata", {"Accept": "application/fhir+xml"}, None, 406, "not-supported"),
        ("GET", "/fhir/Patient/demo-001?_format=xml", {}, None, 406, "not-supported"),
        (
            "POST",
            "/fhir/RiskAssessment",
            {"Content-Type": "text/plain"},
            "{}",
            415,
            "not-supported",
        ),
        (
            "POST",
            "/fhir/Patient/_search",
            {"Content-Type": "application/json"},
            "{}",
            415,
            "not-supported",
        ),
        ("POST", "/fhir/RiskAssessment", {}, "{nonsense", 400, "structure"),
        ("POST", "/fhir", {}, "{}", 400, "structure"),
        ("PUT", "/fhir/RiskAssessment", {}, "{}", 400, "required"),
        ("POST", "/fhir/RiskAssessment", {}, "x" * 2000, 413, "too-long"),
        ("GET", "/fhir", {}, None, 400, "not-supported"),
    ],
)
def test_every_error_is_an_operation_outcome(
    http, method, path, headers, data, status, code
) -> None:
    with running_sandbox(population()[:1], settings=Settings(max_body_bytes=1000)) as sandbox:
        url = sandbox.base_url.removesuffix("/fhir") + path
        sent = {"Content-Type": "application/fhir+json", **headers} if data else headers
        refused(http.request(method, url, headers=sent, data=data), status, code)


def test_a_defect_of_the_server_tells_its_type_and_no_value(http) -> None:
    class Broken(Persona):
        def search(self, query: Query) -> Query:
            raise ZeroDivisionError("Siobhán")

    with running_sandbox(population()[:1], persona=Broken()) as sandbox:
        sandbox.app.logger.disabled = True
        answer = http.get(f"{sandbox.base_url}/Patient")
        issue = refused(answer, 500, "exception")
        assert issue["severity"] == "fatal"
        assert "Siobhán" not in answer.text


# Anything that is JSON, with the words of the rules strewn in so that it gets past the first check.
WORDS = st.sampled_from(
    ["RiskAssessment", "final", "Patient/demo-001", "Bundle", "transaction", "POST"]
)
LEAVES = st.none() | st.booleans() | st.integers(-5, 200) | WORDS | st.text(max_size=5)
KEYS = st.sampled_from(
    [
        "resourceType",
        "status",
        "subject",
        "prediction",
        "probabilityDecimal",
        "probabilityRange",
        "low",
        "high",
        "entry",
        "request",
        "url",
        "method",
        "resource",
        "type",
        "fullUrl",
        "ifNoneExist",
        "ifMatch",
        "reference",
        "id",
        "meta",
        "identifier",
        "system",
        "value",
        "code",
        "contained",
        "extension",
        "basis",
        "method",
        "performer",
        "occurrenceDateTime",
    ]
)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6)


ANY_JSON = st.recursive(LEAVES, nested, max_leaves=12)


@settings(max_examples=examples(150))
@given(
    ANY_JSON,
    st.sampled_from(["batch", "transaction", None]),
    st.sampled_from(["POST", "PUT", "GET"]),
)
def test_no_body_whatever_makes_the_server_fail(junk, kind, method) -> None:
    client = create_sandbox(population()[14:15]).test_client()
    base = risk(subject={"reference": "Patient/demo-015"})
    resource = base | junk if isinstance(junk, dict) else junk
    request = {"method": method, "url": "RiskAssessment", "ifNoneExist": "identifier=1"}
    entries = [{"resource": resource, "request": request, "fullUrl": "urn:uuid:1"}, junk]
    bodies = [("/fhir/RiskAssessment", resource), ("/fhir/RiskAssessment", junk), ("/fhir", junk)]
    if kind:
        bodies += [("/fhir", bundle(kind, *entries)), ("/fhir", {**bundle(kind), "entry": junk})]
    for path, body in bodies:
        answer = client.post(path, json=body)
        assert answer.status_code < 500, answer.text


# -- conditional create ----------------------------------------------------------------------------


def conditional(value: str) -> dict[str, str]:
    return {"If-None-Exist": f"identifier={SYSTEM}|{value}"}


def test_conditional_create_is_made_found_or_ambiguous(fresh, http) -> None:
    url = f"{fresh.base_url}/RiskAssessment"
    made = http.post(url, json=risk(), headers=conditional("r-1"))
    found = http.post(url, json=risk(), headers=conditional("r-1"))
    assert (made.status_code, found.status_code) == (201, 200)
    assert found.headers["Location"] == made.headers["Location"]
    assert http.post(url, json=risk()).status_code == 201
    refused(http.post(url, json=risk(), headers=conditional("r-1")), 412, "multiple-matches")
    assert fresh.count("RiskAssessment") == 2


@pytest.mark.parametrize("condition", ["", "colour=blue", "_count=1"])
def test_a_condition_without_a_known_parameter_creates_nothing(fresh, http, condition) -> None:
    headers = {"If-None-Exist": condition or "?"}
    answer = http.post(f"{fresh.base_url}/RiskAssessment", json=risk(), headers=headers)
    assert answer.status_code in (400, 412)
    assert fresh.count("RiskAssessment") == 0


def test_eight_at_once_create_exactly_one(fresh) -> None:
    statuses: list[int] = []
    start = threading.Barrier(8)

    def create() -> None:
        start.wait()
        answer = requests.post(
            f"{fresh.base_url}/RiskAssessment", json=risk(), headers=conditional("r-1"), timeout=30
        )
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * 7 + [201]
    assert fresh.count("RiskAssessment") == 1


# -- update ----------------------------------------------------------------------------------------


def made(fresh: RunningSandbox, http: requests.Session, **more: Any) -> dict[str, Any]:
    return http.post(f"{fresh.base_url}/RiskAssessment", json=risk(**more)).json()


def test_update_makes_a_new_version_and_the_old_one_stays(fresh, http) -> None:
    first = made(fresh, http)
    url = f"{fresh.base_url}/RiskAssessment/{first['id']}"
    answer = http.put(url, json={**first, "status": "final"}, headers={"If-Match": 'W/"1"'})
    assert (answer.status_code, answer.headers["ETag"]) == (200, 'W/"2"')
    assert http.get(url).json()["status"] == "final"
    assert http.get(f"{url}/_history/1").json()["status"] == "preliminary"
    refused(http.get(f"{url}/_history/3"), 404, "not-found")
    stale = http.put(url, json=first, headers={"If-Match": 'W/"1"'})
    refused(stale, 412, "conflict")


def test_update_needs_the_same_id_and_an_existing_resource(fresh, http) -> None:
    first = made(fresh, http)
    url = f"{fresh.base_url}/RiskAssessment"
    refused(http.put(f"{url}/{first['id']}", json=risk(id="other")), 400, "invalid")
    refused(http.put(f"{url}/{first['id']}", json=risk()), 400, "invalid")
    refused(http.put(f"{url}/new-one", json=risk(id="new-one")), 404, "not-found")


def test_update_as_create_where_the_server_allows_it(http) -> None:
    with running_sandbox(population()[:1], settings=Settings(update_as_create=True)) as sandbox:
        url = f"{sandbox.base_url}/RiskAssessment/new-one"
        assert http.put(url, json=risk(id="new-one")).status_code == 201
        assert http.put(url, json=risk(id="new-one")).status_code == 200


def test_conditional_update_creates_updates_or_refuses(fresh, http) -> None:
    url = f"{fresh.base_url}/RiskAssessment?identifier={SYSTEM}|r-1"
    assert http.put(url, json=risk()).status_code == 201
    updated = http.put(url, json=risk(status="final"))
    assert (updated.status_code, updated.json()["meta"]["versionId"]) == (200, "2")
    refused(http.put(url, json=risk(id="other")), 400, "invalid")
    made(fresh, http)
    refused(http.put(url, json=risk()), 412, "multiple-matches")


def test_a_moved_subject_is_found_under_the_new_patient_only(fresh, http) -> None:
    first = made(fresh, http)
    moved = {**first, "subject": {"reference": "Patient/demo-002"}}
    assert http.put(f"{fresh.base_url}/RiskAssessment/{first['id']}", json=moved).status_code == 200
    totals = [
        http.get(f"{fresh.base_url}/RiskAssessment", params={"patient": p}).json()["total"]
        for p in ("demo-001", "demo-002")
    ]
    assert totals == [0, 1]


# -- transaction and batch -------------------------------------------------------------------------

DEVICE = {
    "resourceType": "Device",
    "status": "active",
    "identifier": [{"system": SYSTEM, "value": "d"}],
}


def entry(
    resource: dict[str, Any] | None, method: str = "POST", url: str | None = None, **request: Any
) -> dict[str, Any]:
    full_url = request.pop("full_url", None)
    where = url if url is not None else (resource or {}).get("resourceType", "")
    made = {"request": {"method": method, "url": where, **request}}
    made |= {"resource": resource} if resource else {}
    return made | ({"fullUrl": full_url} if full_url else {})


def bundle(kind: str, *entries: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


def triple(value: str = "r-1") -> dict[str, Any]:
    """RiskAssessment, Device and Provenance that point to one another; the device exists once."""
    assessment = risk(value, performer={"reference": "urn:uuid:d"})
    provenance = {
        "resourceType": "Provenance",
        "target": [{"reference": "urn:uuid:r"}],
        "recorded": "2026-06-01T00:00:00Z",
        "agent": [{"who": {"reference": "urn:uuid:d"}}],
    }
    return bundle(
        "transaction",
        entry(provenance, full_url="urn:uuid:p"),
        entry(assessment, full_url="urn:uuid:r", ifNoneExist=f"identifier={SYSTEM}|{value}"),
        entry(DEVICE, full_url="urn:uuid:d", ifNoneExist=f"identifier={SYSTEM}|d"),
    )


def test_a_transaction_resolves_references_forwards_and_answers_in_order(fresh, http) -> None:
    answer = http.post(fresh.base_url, json=triple())
    assert answer.status_code == 200, answer.text
    get_fhir_model_class("Bundle").model_validate(answer.json())
    provenance, assessment, device = (e["resource"] for e in answer.json()["entry"])
    assert provenance["target"] == [{"reference": f"RiskAssessment/{assessment['id']}"}]
    assert assessment["performer"] == {"reference": f"Device/{device['id']}"}
    assert [e["response"]["status"] for e in answer.json()["entry"]] == ["201 Created"] * 3
    read = http.get(f"{fresh.base_url}/RiskAssessment/{assessment['id']}")
    assert read.json()["performer"] == assessment["performer"]


def test_if_none_exist_in_a_transaction_finds_what_is_there(fresh, http) -> None:
    before = fresh.count("Device")
    first = http.post(fresh.base_url, json=triple("r-1")).json()["entry"]
    second = http.post(fresh.base_url, json=triple("r-2")).json()["entry"]
    assert first[2]["resource"]["id"] == second[2]["resource"]["id"]
    assert second[2]["response"]["status"] == "200 OK"
    assert second[1]["resource"]["performer"] == first[1]["resource"]["performer"]
    assert (fresh.count("Device"), fresh.count("RiskAssessment")) == (before + 1, 2)


@pytest.mark.parametrize(
    ("spoiler", "status"),
    [
        (entry(risk(status="done")), 422),
        (entry(risk(performer={"reference": "urn:uuid:nobody"})), 400),
        (entry(risk(basis=[{"reference": "Observation/no-such"}])), 422),
        (entry(risk(subject={"reference": "Patient?identifier=no-such"})), 412),
        (entry(None, "DELETE", "Patient/demo-001"), 400),
        (entry({"resourceType": "Nothing"}), 404),
        ({"resource": {}}, 400),
        (entry(risk(id="x"), "PUT", "RiskAssessment/x"), 404),
    ],
)
def test_a_transaction_is_all_or_nothing(fresh, http, spoiler, status) -> None:
    before = fresh.store.counts()
    body = triple()
    body["entry"].append(spoiler)
    answer = http.post(fresh.base_url, json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert fresh.store.counts() == before


def test_the_same_resource_twice_fails_the_transaction(fresh, http) -> None:
    first = made(fresh, http)
    again = entry(first, "PUT", f"RiskAssessment/{first['id']}")
    refused(http.post(fresh.base_url, json=bundle("transaction", again, again)), 400, "duplicate")


def test_a_conditional_update_in_a_transaction_can_be_pointed_to(fresh, http) -> None:
    url = f"Device?identifier={SYSTEM}|d"
    device = entry(DEVICE, "PUT", url, full_url="urn:uuid:d")
    points = entry(risk(performer={"reference": "urn:uuid:d"}))
    for status in ("201 Created", "200 OK"):
        first, second = http.post(
            fresh.base_url, json=bundle("transaction", device, points)
        ).json()["entry"]
        assert first["response"]["status"] == status
        assert second["resource"]["performer"]["reference"] == f"Device/{first['resource']['id']}"


def test_conditional_references_are_resolved(fresh, http) -> None:
    mrn = fresh.store.read("Patient", "demo-002")["identifier"][0]
    subject = {"reference": f"Patient?identifier={mrn['system']}|{mrn['value']}"}
    answer = http.post(fresh.base_url, json=bundle("transaction", entry(risk(subject=subject))))
    assert answer.json()["entry"][0]["resource"]["subject"] == {"reference": "Patient/demo-002"}


def test_a_batch_answers_each_entry_by_itself(fresh, http) -> None:
    body = bundle(
        "batch",
        entry(risk()),
        entry(risk(status="done")),
        entry(None, "GET", "Patient/demo-001"),
        entry(None, "GET", "Observation?patient=demo-001&code=2093-3"),
        entry(None, "GET", "Patient/no-one"),
    )
    answers = http.post(fresh.base_url, json=body).json()
    assert answers["type"] == "batch-response"
    assert [e["response"]["status"][:3] for e in answers["entry"]] == [
        "201",
        "422",
        "200",
        "200",
        "404",
    ]
    assert answers["entry"][1]["response"]["outcome"]["resourceType"] == "OperationOutcome"
    assert answers["entry"][3]["resource"]["total"] > 5


def test_a_bundle_of_another_type_is_refused(fresh, http) -> None:
    refused(http.post(fresh.base_url, json=bundle("collection")), 400, "value")


def test_eight_transactions_at_once_make_one_set(fresh) -> None:
    answers: list[int] = []

    def send() -> None:
        answers.append(requests.post(fresh.base_url, json=triple(), timeout=120).status_code)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 8
    assert fresh.count("RiskAssessment") == 1


def test_a_failed_write_puts_the_store_back() -> None:
    store = Store()
    store.load([{"resourceType": "Patient", "id": "a"}])

    def write_and_fail() -> None:
        with store.all_or_nothing():
            store.put("Patient", "b", {})
            store.put("Patient", "a", {"active": True})
            raise FhirError(400, "invalid", "no")

    with pytest.raises(FhirError, match="400 invalid"):
        write_and_fail()
    assert store.counts() == {"Patient": 1}
    assert store.read("Patient", "a")["meta"]["versionId"] == "1"


# -- sign-in ---------------------------------------------------------------------------------------


def test_with_a_token_set_everything_but_metadata_needs_it(http) -> None:
    with running_sandbox(population()[:1], settings=Settings(bearer_token="letmein")) as sandbox:
        url = f"{sandbox.base_url}/Patient/demo-001"
        missing = http.get(url)
        refused(missing, 401, "login")
        assert missing.headers["WWW-Authenticate"].startswith("Bearer")
        wrong = http.get(url, headers={"Authorization": "Bearer wrong"})
        assert 'error="invalid_token"' in wrong.headers["WWW-Authenticate"]
        assert http.get(url, headers={"Authorization": "Bearer letmein"}).status_code == 200
        statement = http.get(f"{sandbox.base_url}/metadata")
        assert statement.status_code == 200
        assert statement.json()["rest"][0]["security"]["service"]


# -- the seam for vendors, and the log -------------------------------------------------------------


class Odd(Persona):
    """Uses every hook once."""

    name = "odd"

    def settings(self, given: Settings) -> Settings:
        return Settings(default_count=3, bearer_token=given.bearer_token)

    def capability(self, statement: dict[str, Any]) -> dict[str, Any]:
        return {**statement, "name": "OddServer"}

    def search(self, query: Query) -> Query:
        if query.kind == "Observation" and "category" not in dict(query.criteria):
            raise FhirError(400, "required", "category is needed here")
        return query

    def page(self, bundle: dict[str, Any], query: Query) -> dict[str, Any]:
        return {key: value for key, value in bundle.items() if key != "total"}

    def create(self, kind: str, resource: dict[str, Any]) -> dict[str, Any]:
        if kind == "RiskAssessment":
            raise FhirError(422, "not-supported", "no RiskAssessment here")
        return resource

    def respond(self, response: Response) -> Response:
        response.headers["X-Odd"] = "1"
        return response


def test_a_persona_can_bend_every_part(http) -> None:
    with running_sandbox(population()[:1], persona=Odd()) as sandbox:
        base = sandbox.base_url
        assert http.get(f"{base}/metadata").json()["name"] == "OddServer"
        refused(http.get(f"{base}/Observation?patient=demo-001"), 400, "required")
        found = http.get(f"{base}/Observation?patient=demo-001&category=vital-signs")
        assert len(found.json()["entry"]) == 3
        assert "total" not in found.json()
        assert found.headers["X-Odd"] == "1"
        refused(http.post(f"{base}/RiskAssessment", json=risk()), 422, "not-supported")


def test_the_log_tells_what_was_asked_without_any_value(fresh, http) -> None:
    http.get(f"{fresh.base_url}/Observation", params={"patient": "demo-001", "code": "2093-3"})
    http.get(f"{fresh.base_url}/Secret-Name/x")
    first, second = fresh.requests
    assert (first.method, first.route, first.kind, first.status) == (
        "GET",
        "search",
        "Observation",
        200,
    )
    assert first.parameters == ("code", "patient")
    assert "demo-001" not in str(first)
    assert "Secret" not in str(second)
