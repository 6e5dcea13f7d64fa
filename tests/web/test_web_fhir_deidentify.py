"""`$de-identify`: every form of the question, what comes back, what is kept, what is refused."""

import re
import secrets
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from error_shape import assert_error_shape
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.capabilitystatement import CapabilityStatement
from fhir.resources.R4B.observation import Observation
from fhir.resources.R4B.operationdefinition import OperationDefinition
from fhir.resources.R4B.parameters import Parameters
from flask.testing import FlaskClient
from support.threads import at_once

from privacy import ledger
from privacy.errors import ConflictError
from privacy.policy import load_policy, policy_ids
from privacy.signing import SigningKey, VerificationKeys, jwks
from privacy.vault import Vault
from service.app import create_app
from service.deidentify.operation import Operation
from service.stores import Database
from service.stores.audit import AuditStore
from service.stores.ledger import SqlLedgerStore
from service.stores.vault import SqlVaultStore
from service.web.fhir.deidentify import deidentify_blueprint
from service.web.services import Services

Json = dict[str, Any]
PATH = "/fhir/$de-identify"
MARKER = "Zq7marker"
SIGNER = SigningKey.generate()
CODE = {"coding": [{"system": "http://loinc.org", "code": "8480-6", "display": MARKER}]}
VALUE = {"value": 148.2837465, "unit": "mmHg", "system": "http://unitsofmeasure.org",
         "code": "mm[Hg]"}  # fmt: skip


def person(name: str) -> Json:
    return {
        "resourceType": "Patient", "id": name, "gender": "female", "birthDate": "1961-07-19",
        "name": [{"family": f"{MARKER}{name}"}], "identifier": [{"value": f"{MARKER}-{name}"}],
    }  # fmt: skip


def pressure(name: str, number: int = 1, **more: Any) -> Json:
    return {
        "resourceType": "Observation", "id": f"{MARKER}-o{number}-{name}", "status": "final",
        "code": CODE, "subject": {"reference": f"Patient/{name}", "display": MARKER},
        "effectiveDateTime": "2019-03-04T10:11:12Z", "valueQuantity": VALUE,
        "note": [{"text": MARKER}], **more,
    }  # fmt: skip


def collection(*resources: Json) -> Json:
    entries = [{"resource": resource} for resource in resources]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def parameters(data: Json, policy: str = "safe-harbor", **more: Any) -> Json:
    given = [
        {"name": "policy", "valueString": policy},
        {"name": "identifiableData", "resource": data},
        *({"name": name, **value} for name, value in more.items()),
    ]
    return {"resourceType": "Parameters", "parameter": given}


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(SqlVaultStore(database), secrets.token_bytes(32))


@pytest.fixture
def operation(database: Database, vault: Vault) -> Operation:
    return Operation(project="p", database=database, vault=vault, signer=SIGNER)


@pytest.fixture
def client(config, behind, access, keys, operation: Operation) -> FlaskClient:
    built = Services(behind, access, keys.jwks)
    app = create_app(config, built, pages=[deidentify_blueprint(operation)])
    return app.test_client()


Ask = Callable[..., Any]


@pytest.fixture
def ask(client: FlaskClient, callers) -> Ask:
    headers = callers.ehr

    def send(body: Any, query: str = "", kind: str = "application/fhir+json") -> Any:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        return client.post(PATH + query, data=data, content_type=kind, headers=headers)

    return send


def entries(database: Database) -> list[Json]:
    lines = list(ledger.export(SqlLedgerStore(database), SIGNER))
    assert ledger.verify_ledger(lines, VerificationKeys(jwks([SIGNER.public_jwk()]))).ok
    return [orjson.loads(ledger.split(line)[0]) for line in lines[:-1]]


# -- forms ---------------------------------------------------------------------------------------


def test_parameters_in_the_shape_of_the_guide(ask: Ask) -> None:
    body = parameters(
        collection(person("a"), pressure("a"), person("b"), pressure("b")),
        "HHS_SAFE_HARBOR_DETERMINISTIC_METHOD",
    )
    answer = ask(body)
    assert answer.status_code == 200
    assert answer.content_type == "application/fhir+json; charset=utf-8"
    made = answer.get_json(force=True)
    Parameters.model_validate(made)
    [part] = made["parameter"]
    assert part["name"] == "de-identifiedData"
    found = [entry["resource"] for entry in part["resource"]["entry"]]
    assert [resource["resourceType"] for resource in found] == ["Patient", "Observation"] * 2
    urls = {entry["fullUrl"] for entry in part["resource"]["entry"]}
    subjects = [resource["subject"]["reference"] for resource in found[1::2]]
    assert len(set(subjects)) == 2  # two patients stay two, and each Observation finds its own
    assert set(subjects) <= urls
    assert {resource["effectiveDateTime"] for resource in found[1::2]} == {"2019"}
    assert {resource["valueQuantity"]["value"] for resource in found[1::2]} == {148}
    assert MARKER not in answer.text


def test_a_bundle_by_itself(ask: Ask) -> None:
    answer = ask(collection(person("a"), pressure("a")))
    made = answer.get_json(force=True)
    Bundle.model_validate(made)
    assert (made["type"], len(made["entry"])) == ("collection", 2)
    assert answer.headers["X-Twinport-Ledger-Entry"] == "1"
    assert answer.headers["X-Twinport-Refused"] == "0"


def test_a_resource_by_itself(ask: Ask) -> None:
    answer = ask(pressure("a"))
    made = answer.get_json(force=True)
    Observation.model_validate(made)
    assert made["code"] == {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]}
    assert MARKER not in answer.text


@pytest.mark.parametrize("kind", ["application/fhir+ndjson", "application/x-ndjson"])
def test_lines(ask: Ask, kind: str) -> None:
    lines = [orjson.dumps(resource) for resource in (person("a"), pressure("a"))]
    answer = ask(b"\n".join([*lines, b"{broken", b""]), kind=kind)
    assert answer.content_type == "application/fhir+ndjson"
    made = [orjson.loads(line) for line in answer.data.splitlines()]
    assert [resource["resourceType"] for resource in made] == ["Patient", "Observation"]
    assert made[1]["subject"]["reference"] == f"Patient/{made[0]['id']}"
    assert answer.headers["X-Twinport-Refused"] == "1"


@pytest.mark.parametrize("policy", policy_ids())
def test_each_policy_in_the_address(ask: Ask, policy: str) -> None:
    made = ask(pressure("a"), f"?policy={policy}").get_json(force=True)
    Observation.model_validate(made)
    exact = made["effectiveDateTime"] == "2019-03-04T10:11:00Z"
    assert exact == (policy == "limited-data-set")


def test_an_empty_bundle_is_no_error(ask: Ask) -> None:
    made = ask({"resourceType": "Bundle", "type": "collection"}).get_json(force=True)
    Bundle.model_validate(made)
    assert "entry" not in made


def test_references_by_urn_lead_to_the_entries(ask: Ask) -> None:
    patient, observation = person("a"), pressure("a")
    del patient["id"]
    observation["subject"] = {"reference": "urn:uuid:aa"}
    body = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"fullUrl": "urn:uuid:aa", "resource": patient}, {"resource": observation}],
    }
    first, second = ask(body).get_json(force=True)["entry"]
    assert second["resource"]["subject"]["reference"] == first["fullUrl"]


# -- what stays the same, and what does not --------------------------------------------------------


def test_the_same_person_has_the_same_pseudonym_in_every_request(ask: Ask) -> None:
    made = [ask(collection(person("a"), pressure("a", n))).get_json(force=True) for n in (1, 2)]
    assert made[0]["entry"][0]["resource"]["id"] == made[1]["entry"][0]["resource"]["id"]
    again = ask(collection(person("a"), pressure("a", 2))).get_json(force=True)
    assert again == made[1]  # the same vault and the same input


def test_policies_are_not_linked(ask: Ask) -> None:
    ids = {
        ask(person("a"), f"?policy={policy}").get_json(force=True)["id"] for policy in policy_ids()
    }
    assert len(ids) == len(policy_ids())


def test_a_patient_without_a_resource_is_the_callers_alone(
    ask: Ask, client: FlaskClient, callers
) -> None:
    """Two callers' `Patient/a` may be two people."""
    mine = [ask(pressure("a", n)).get_json(force=True)["subject"]["reference"] for n in (1, 2)]
    other = client.post(PATH, json=pressure("a"), headers=callers.ehr).get_json(force=True)
    assert mine[0] == mine[1]
    assert other["subject"]["reference"] != mine[0]


def test_many_at_once_about_one_person_agree(operation: Operation, ask: Ask) -> None:
    body = collection(person("a"), *(pressure("a", n) for n in range(3)))
    made = at_once(6, lambda _: ask(body).get_json(force=True))
    assert all(one == made[0] for one in made)


# -- what is kept --------------------------------------------------------------------------------


def test_the_ledger_holds_the_digest_of_the_answer_and_no_value(
    ask: Ask, database: Database
) -> None:
    answer = ask(parameters(collection(person("a"), pressure("a"))))
    [entry] = entries(database)
    assert entry["event"] == "files-deidentified"
    assert entry["policy"]["id"] == "safe-harbor"
    assert re.fullmatch(r"\d{4}", entry["time"])
    assert entry["outputs"] == [{"name": "answer", "n": 2, "digest": ledger.sha256(answer.data)}]
    assert {"type": "Observation", "path": "note", "action": "drop", "n": 1} in entry["counts"]
    assert MARKER not in str(entry)


def test_each_patient_has_an_audit_event_of_their_own(ask: Ask, database: Database) -> None:
    made = ask(collection(person("a"), person("b"))).get_json(force=True)
    events = AuditStore(database).recent()
    assert {event.object for event in events} == {
        entry["resource"]["id"] for entry in made["entry"]
    }
    for event in events:
        assert (event.action, event.policy) == ("deidentify", load_policy("safe-harbor").short)
        assert (event.role, event.outcome) == ("ehr", "done")


def test_what_cannot_be_recorded_is_not_handed_out(
    ask: Ask, database: Database, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(SqlLedgerStore, "append", fail)
    answer = ask(collection(person("a"), pressure("a")))
    assert_error_shape(answer, 500, fhir=True, code="internal")
    assert list(SqlVaultStore(database).indexes()) == []
    assert AuditStore(database).recent() == []


def test_when_the_ledger_is_always_taken_the_caller_may_try_again(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(*_: object) -> None:
        raise ConflictError("taken")

    monkeypatch.setattr(SqlLedgerStore, "append", taken)
    assert_error_shape(ask(person("a")), 503, fhir=True, code="busy")


# -- what is refused -----------------------------------------------------------------------------


def test_what_is_left_out_is_said_beside_the_rest(ask: Ask) -> None:
    odd = [
        {"resourceType": "Coverage", "id": MARKER},
        pressure("a", 2, modifierExtension=[{"url": f"http://{MARKER}", "valueBoolean": True}]),
        pressure("a", 3, implicitRules=f"http://{MARKER}"),
        {"resourceType": MARKER, "id": "x"},
        5,
    ]
    body = parameters(collection(person("a"), pressure("a"), *odd))
    made = ask(body).get_json(force=True)
    Parameters.model_validate(made)
    data, outcome = (part["resource"] for part in made["parameter"])
    assert len(data["entry"]) == 2
    assert [(issue["expression"], issue["diagnostics"]) for issue in outcome["issue"]] == [
        (["Coverage"], "1 left out: type-out-of-scope"),
        (["Observation"], "2 left out: refused-element"),
        (["unknown"], "1 left out: no-type"),
        (["unknown"], "1 left out: type-out-of-scope"),
    ]
    assert MARKER not in str(made)


@pytest.mark.parametrize(
    ("resource", "reason"),
    [
        ({"resourceType": "Coverage", "id": "c"}, "type-out-of-scope"),
        ({"resourceType": MARKER, "id": "c"}, "type-out-of-scope"),
        (pressure("a", implicitRules="x"), "refused-element"),
        ({**pressure("a"), "id": None}, "no-id"),
        ({**person("x"), "id": ""}, "no-id"),
    ],
)
def test_a_resource_that_cannot_be_handed_out(
    ask: Ask, resource: Json, reason: str, database: Database
) -> None:
    answer = ask(resource)
    assert_error_shape(answer, 422, fhir=True, code="unprocessable")
    assert reason in answer.text
    assert MARKER not in answer.text
    assert entries(database)[0]["refusals"][0]["reason"] == reason  # refused, and counted


def test_a_resource_with_the_identity_in_it_is_withheld(ask: Ask, database: Database) -> None:
    """No rule lets it pass: here a code that spells the record number of another resource."""
    record = {**person("a"), "identifier": [{"value": "38341003"}]}
    condition = {
        "resourceType": "Condition", "id": "c", "subject": {"reference": "Patient/a"},
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "38341003"}]},
    }  # fmt: skip
    answer = ask(collection(record, condition))
    assert [e["resource"]["resourceType"] for e in answer.get_json(force=True)["entry"]] == [
        "Patient"
    ]
    assert answer.headers["X-Twinport-Refused"] == "1"
    assert entries(database)[0]["refusals"] == [
        {"type": "Condition", "reason": "identity-found", "n": 1}
    ]


PLAIN = orjson.dumps(person("a"))
WRONG: dict[str, tuple[Any, str, str, int, str]] = {
    "no JSON": (b"{", "", "application/fhir+json", 400, "malformed"),
    "nothing": (b"", "", "application/fhir+json", 400, "malformed"),
    "a list": (b"[]", "", "application/fhir+json", 400, "malformed"),
    "no type": (b"{}", "", "application/fhir+json", 400, "malformed"),
    "a key twice": (
        b'{"resourceType":"Patient","id":"a","id":"b"}', "", "application/fhir+json", 400,
        "malformed",
    ),
    "too deep": (b"[" * 500 + b"]" * 500, "", "application/fhir+json", 400, "malformed"),
    "entries that are none": (
        {"resourceType": "Bundle", "type": "collection", "entry": [5]}, "",
        "application/fhir+json", 400, "malformed",
    ),
    "XML": (PLAIN, "", "application/fhir+xml", 415, "unsupported-media-type"),
    "an unknown policy": (PLAIN, f"?policy={MARKER}", "application/json", 400, "not-supported"),
    "another parameter": (PLAIN, f"?{MARKER}=1", "application/json", 400, "not-supported"),
    "too large": (b" " * 5000 + PLAIN, "", "application/fhir+json", 413, "body-too-large"),
    "two people under one id": (
        collection(person("a"), {**person("a"), "identifier": [{"value": "2"}]}), "",
        "application/fhir+json", 422, "unprocessable",
    ),
    "parameters and an address": (
        parameters(person("a")), "?policy=safe-harbor", "application/fhir+json", 400,
        "not-supported",
    ),
    "an unknown policy in parameters": (
        parameters(person("a"), MARKER), "", "application/fhir+json", 400, "not-supported",
    ),
    "no policy": (
        {"resourceType": "Parameters", "parameter": [
            {"name": "identifiableData", "resource": person("a")}]}, "",
        "application/fhir+json", 400, "required",
    ),
    "no data": (
        {"resourceType": "Parameters", "parameter": [
            {"name": "policy", "valueString": "safe-harbor"}]}, "",
        "application/fhir+json", 400, "required",
    ),
    "an address to fetch from": (
        parameters(person("a"), identifiableDataFileUrls={"resource": {
            "resourceType": "Parameters", "parameter": [{"name": "data", "part": [
                {"name": "resourceUrl", "valueUrl": f"http://169.254.169.254/{MARKER}"}]}]}}),
        "", "application/fhir+json", 400, "not-supported",
    ),
    "an unknown parameter": (
        parameters(person("a"), **{MARKER: {"valueString": "x"}}), "", "application/fhir+json",
        400, "fhir-invalid",
    ),
    "data that is a string": (
        {"resourceType": "Parameters", "parameter": [
            {"name": "policy", "valueString": "safe-harbor"},
            {"name": "identifiableData", "valueString": MARKER}]}, "",
        "application/fhir+json", 400, "bad-value",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_asked(ask: Ask, name: str, database: Database) -> None:
    body, query, kind, status, code = WRONG[name]
    answer = ask(body, query, kind)
    assert_error_shape(answer, status, fhir=True, code=code)
    assert MARKER not in answer.text
    assert "169.254" not in answer.text
    assert entries(database) == []


@pytest.mark.parametrize("role", ["patient", "officer", "admin"])
def test_it_is_for_nobody_else(client: FlaskClient, callers, role: str) -> None:
    answer = client.post(PATH, json=person("a"), headers=getattr(callers, role))
    assert_error_shape(answer, 403, fhir=True)
    assert_error_shape(client.post(PATH, json=person("a")), 401, fhir=True)


def test_only_post(client: FlaskClient, callers) -> None:
    assert_error_shape(client.get(PATH, headers=callers.ehr), 405, fhir=True)


def test_json_has_to_be_accepted(client: FlaskClient, callers) -> None:
    headers = {**callers.ehr, "Accept": "application/fhir+xml"}
    answer = client.post(PATH, json=person("a"), headers=headers)
    assert_error_shape(answer, 406, fhir=True)


# -- what is told of it --------------------------------------------------------------------------


def test_the_statement_and_the_definition_say_what_is_served(client: FlaskClient, callers) -> None:
    statement = client.get("/fhir/metadata").get_json(force=True)
    CapabilityStatement.model_validate(statement)
    [told] = statement["rest"][0]["operation"]
    assert told["name"] == "de-identify"
    definition = client.get(told["definition"], headers=callers.ehr).get_json(force=True)
    OperationDefinition.model_validate(definition)
    assert definition["url"] == told["definition"]
    assert (definition["code"], definition["system"]) == ("de-identify", True)
    names = {(p["use"], p["name"]) for p in definition["parameter"]}
    assert {("in", "policy"), ("in", "identifiableData"), ("out", "de-identifiedData")} <= names
    missing = client.get("/fhir/OperationDefinition/x", headers=callers.ehr)
    assert_error_shape(missing, 404, fhir=True)


def test_nothing_of_a_request_is_logged(ask: Ask, logged, capfd) -> None:
    read = logged
    ask(collection(person("a"), pressure("a")))
    ask(pressure("a", implicitRules=MARKER))
    ask(b"{" + MARKER.encode())
    said = capfd.readouterr()
    assert MARKER not in str(read()) + said.out + said.err
