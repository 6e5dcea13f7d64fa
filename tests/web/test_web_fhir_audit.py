"""The audit as FHIR AuditEvents: who may read it, what it says, and what it never says."""

import pytest
from error_shape import assert_error_shape
from fhir.resources.R4B.auditevent import AuditEvent
from fhir.resources.R4B.capabilitystatement import CapabilityStatement
from flask.testing import FlaskClient
from web_support import OTHER_TWIN, TWIN

from service.app import create_app
from service.stores import Database
from service.stores.audit import AuditStore
from service.web.fhir.audit import PATTERNS, audit_blueprint
from service.web.services import Services


@pytest.fixture
def store(database: Database) -> AuditStore:
    found = AuditStore(database)
    for number, twin in enumerate([TWIN, OTHER_TWIN, TWIN]):
        found.record(
            role="ehr",
            subject=f"key.{number}",
            action="results-read",
            outcome="done",
            object=twin,
            request_id="r-1",
        )
    found.record(role="system", subject="twinport", action="safety-event", outcome="x:y")
    return found


@pytest.fixture
def client(config, behind, access, keys, store: AuditStore) -> FlaskClient:
    built = Services(behind, access, keys.jwks)
    return create_app(config, built, pages=[audit_blueprint(store)]).test_client()


@pytest.mark.parametrize("role", ["officer", "admin"])
def test_the_latest_comes_first_and_every_event_is_valid(
    client: FlaskClient, callers, role: str
) -> None:
    found = client.get("/fhir/AuditEvent", headers=getattr(callers, role)).get_json(force=True)
    events = [entry["resource"] for entry in found["entry"]]
    assert [event["id"] for event in events] == ["4", "3", "2", "1"]
    for event in events:
        AuditEvent.model_validate(event)
        assert event["agent"][0]["who"] == event["source"]["observer"]  # an invariant of BALP
        assert [agent["requestor"] for agent in event["agent"]] == [False, True]


@pytest.mark.parametrize("role", ["ehr", "patient"])
def test_it_is_for_nobody_else(client: FlaskClient, callers, role: str) -> None:
    for path in ("/fhir/AuditEvent", "/fhir/AuditEvent/1"):
        answer = client.get(path, headers=getattr(callers, role))
        assert_error_shape(answer, 403, fhir=True)


def test_a_twin_is_searched_by_its_pseudonym_page_by_page(client: FlaskClient, callers) -> None:
    headers = callers.officer
    path = f"/fhir/AuditEvent?patient=Patient/{TWIN}&_count=1"
    first = client.get(path, headers=headers).get_json(force=True)
    (link,) = [link["url"] for link in first["link"] if link["relation"] == "next"]
    second = client.get(link.removeprefix("http://localhost"), headers=headers).get_json(force=True)
    seen = [page["entry"][0]["resource"] for page in (first, second)]
    assert [event["id"] for event in seen] == ["3", "1"]
    what = {event["entity"][0]["what"]["identifier"]["value"] for event in seen}
    assert what == {TWIN}
    assert [link["relation"] for link in second["link"]] == ["self"]


def test_whoever_reads_it_is_in_it(client: FlaskClient, callers, store: AuditStore) -> None:
    client.get("/fhir/AuditEvent/1", headers=callers.officer)
    event = store.recent(1)[0]
    assert (event.action, event.role) == ("audit-read", "privacy-officer")


@pytest.mark.parametrize(
    ("path", "status"),
    [("/99", 404), ("/x", 404), ("?patient=Jane", 400), ("?_count=-1", 400), ("?agent=x", 400)],
)
def test_what_cannot_be_answered(client: FlaskClient, callers, path: str, status: int) -> None:
    answer = client.get(f"/fhir/AuditEvent{path}", headers=callers.officer)
    assert_error_shape(answer, status, fhir=True)
    assert "Jane" not in answer.text


def test_the_statement_lists_it_where_it_is_served(client: FlaskClient) -> None:
    statement = client.get("/fhir/metadata").get_json(force=True)
    CapabilityStatement.model_validate(statement)
    (row,) = [r for r in statement["rest"][0]["resource"] if r["type"] == "AuditEvent"]
    assert {i["code"] for i in row["interaction"]} == {"read", "search-type"}
    assert [p["name"] for p in row["searchParam"]] == ["patient"]


def test_every_pattern_has_an_action_of_the_standard() -> None:
    assert {pattern.action for pattern in PATTERNS.values()} <= set("CRUDE")


def test_finding_out_who_somebody_is_follows_the_profile_of_ihe(
    client: FlaskClient, callers, store: AuditStore
) -> None:
    """IHE.BasicAudit.DeIdentification.Source: the same profile in both directions."""
    about = {"object": TWIN, "request_id": "r-2", "policy": "safe-harbor/2"}
    officer = {"role": "privacy-officer", "subject": "key.ada", "purpose": "PATSFTY"}
    store.record(role="system", subject="twinport", action="deidentify", outcome="done", **about)
    store.record(**officer, action="reidentify", outcome="done", **about)
    store.record(**officer, action="reidentify", outcome="not-allowed", **about)
    headers = callers.officer
    made, told, denied = (
        client.get(f"/fhir/AuditEvent/{number}", headers=headers).get_json(force=True)
        for number in (5, 6, 7)
    )
    for event, code in ((made, "deidentify"), (told, "reidentify"), (denied, "reidentify")):
        AuditEvent.model_validate(event)
        assert (event["type"]["code"], event["action"]) == ("110106", "R")
        assert event["subtype"][0] == {
            "system": "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle", "code": code
        }  # fmt: skip
        source, other = event["agent"]  # at least two
        assert source["type"]["coding"][0]["code"] == "110153"
        assert (source["requestor"], other["requestor"]) == (False, True)
        assert source["network"]["type"] == "5"
        patient, algorithm = event["entity"][:2]  # at least two
        assert (patient["type"]["code"], patient["role"]["code"]) == ("1", "1")
        assert patient["what"]["identifier"]["value"] == TWIN
        assert algorithm["type"]["code"] == "DeId-algorithm"
        assert algorithm["what"]["identifier"]["value"] == "safe-harbor/2"
    assert told["purposeOfEvent"][0]["coding"][0]["code"] == "PATSFTY"
    assert [event["outcome"] for event in (made, told, denied)] == ["0", "0", "8"]
