"""Discovery, call, feedback: what a CDS client that follows the specification gets."""

import re
from typing import Any

import pytest
from cds_client import PATIENT, PUBLIC, Ehr, nothing_empty

from service.cds.data import Access, gather, record_of
from service.cds.prefetch import Key
from service.fhir.servers import from_url
from service.pipeline.runtime import Runtime
from service.stores.audit import AuditStore
from service.stores.cds import CdsStore
from service.stores.twins import TwinStore

Json = dict[str, Any]


@pytest.fixture(scope="module")
def service(ehr: Ehr) -> Json:
    return ehr.discovered("patient-view")


@pytest.fixture
def cards(ehr: Ehr, service: Json) -> list[Json]:
    answer = ehr.call(service)
    assert answer.status_code == 200, answer.get_json()
    found: list[Json] = answer.get_json()["cards"]
    return found


# -- discovery ---------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", ["patient-view", "order-select"])
def test_discovery_says_what_the_specification_asks_for(ehr: Ehr, hook: str) -> None:
    service = ehr.discovered(hook)
    assert service["description"]
    assert nothing_empty(service)
    assert re.fullmatch(r"[a-z-]+", service["id"])


def test_templates_stay_within_what_every_client_can_fill(service: Json) -> None:
    """Reads and searches by reference and token; tokens of the context; no spaces in braces."""
    for template in service["prefetch"].values():
        assert re.fullmatch(r"[A-Z][A-Za-z]+[/?][^ ]+", template)
        assert set(re.findall(r"{{(.*?)}}", template)) == {"context.patientId"}
        assert not set(re.findall(r"[?&](\w+)=", template)) - {"patient", "code"}


def test_templates_name_the_inputs_of_the_models(service: Json) -> None:
    for code in ("8480-6", "2160-0", "72166-2", "85354-9"):  # pressure, creatinine, smoking, panel
        assert f"|{code}" in service["prefetch"]["observations"]


# -- cards -------------------------------------------------------------------------------------


def test_each_answer_is_one_card(cards: list[Json]) -> None:
    titles = [card["source"]["topic"]["code"] for card in cards]
    assert "prevent" in titles
    assert len(set(titles)) == len(titles)


def test_a_card_is_as_the_specification_has_it(cards: list[Json]) -> None:
    assert nothing_empty({"cards": cards})
    for card in cards:
        assert 0 < len(card["summary"]) < 140
        assert card["indicator"] == "info"
        assert card["source"]["label"]
        assert all(reason["display"] for reason in card["overrideReasons"])
        assert [link["type"] for link in card["links"]] == ["absolute"]
        assert card["links"][0]["url"].startswith(f"{PUBLIC}/clinic/twins/")
        assert not card.keys() - {
            "uuid", "summary", "detail", "indicator", "source", "overrideReasons", "links",
        }  # fmt: skip


def test_a_number_has_its_horizon_its_freshness_and_its_end(cards: list[Json]) -> None:
    card = next(c for c in cards if c["source"]["topic"]["code"] == "prevent")
    assert re.search(r"\d years: [\d.]+ %", card["summary"])
    assert re.search(r"data up to \d{4}-\d\d-\d\d", card["summary"])
    assert re.search(r"\*\*Data\*\* from \d{4}-\d\d-\d\d to \d{4}-\d\d-\d\d", card["detail"])
    assert re.search(r"\*\*Valid until\*\* \d{4}-\d\d-\d\d", card["detail"])
    assert "not reviewed by a clinician" in card["detail"]


def test_nothing_is_written_and_no_identity_is_in_the_answer(
    ehr: Ehr, cards: list[Json], runtime: Runtime
) -> None:
    assert {request.method for request in ehr.sandbox.requests} == {"GET"}
    assert ehr.sandbox.count("RiskAssessment") == 0
    assert PATIENT not in str(cards)
    uses = AuditStore(runtime.database).recent()
    assert {event.action for event in uses} == {"deidentify", "cds-hook"}
    assert PATIENT not in str(uses)


def test_the_same_data_twice_are_the_same_twin(ehr: Ehr, service: Json, runtime: Runtime) -> None:
    links = {c["links"][0]["url"] for _ in range(2) for c in ehr.call(service).get_json()["cards"]}
    assert len(links) == 1
    assert TwinStore(runtime.database).versions(links.pop().rsplit("/", 1)[1])[-1].version == 1


def test_no_card_where_there_is_nothing_to_say(ehr: Ehr, service: Json) -> None:
    """All is there, and holds nothing that a model could use."""
    request = ehr.request(service)
    empty = dict.fromkeys(request["prefetch"])
    answer = ehr.call(service, prefetch={**empty, "patient": request["prefetch"]["patient"]})
    assert (answer.status_code, answer.get_json()) == (200, {"cards": []})


# -- data --------------------------------------------------------------------------------------

OUTCOME = {
    "resourceType": "OperationOutcome",
    "issue": [{"severity": "error", "code": "timeout", "diagnostics": "Jane Roe"}],
}
PAGED = {"relation": "next", "url": "https://elsewhere.example.org/page2"}
BROKEN = {
    "absent": ...,
    "outcome": OUTCOME,
    "outcome-in-bundle": {
        "resourceType": "Bundle", "type": "searchset", "entry": [{"resource": OUTCOME}],
    },
    "a string": "123",
}  # fmt: skip


def broken(ehr: Ehr, service: Json, name: str, value: Any) -> Json:
    prefetch = {**ehr.request(service)["prefetch"], name: value}
    return {k: v for k, v in prefetch.items() if v is not ...}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize(
    "name", ["patient", "observations", "conditions", "medications", "statements"]
)
def test_missing_data_without_a_way_to_it_is_412(
    ehr: Ehr, service: Json, name: str, kind: str
) -> None:
    answer = ehr.call(service, prefetch=broken(ehr, service, name, BROKEN[kind]))
    assert answer.status_code == 412
    problem = answer.get_json()
    assert answer.mimetype == "application/problem+json"
    assert problem["errors"]
    assert "Jane" not in answer.text


@pytest.mark.parametrize("kind", BROKEN)
def test_missing_data_is_fetched_from_the_configured_server(
    ehr: Ehr, service: Json, kind: str
) -> None:
    whole = [card["summary"] for card in ehr.call(service).get_json()["cards"]]
    prefetch = broken(ehr, service, "observations", BROKEN[kind])
    answer = ehr.call(service, prefetch=prefetch, **authorized(ehr))
    assert [card["summary"] for card in answer.get_json()["cards"]] == whole


def test_without_any_prefetch_everything_is_fetched(ehr: Ehr, service: Json) -> None:
    answer = ehr.call(service, prefetch=..., **authorized(ehr))
    assert answer.status_code == 200
    assert answer.get_json()["cards"]


def test_what_was_fetched_is_told_without_a_value_and_what_was_sent_was_not_asked_for(
    ehr: Ehr,
) -> None:
    wanted = (Key("patient", "Patient"), Key("o", "Observation", (("code", "http://x|1"),)))
    sent = {"patient": ehr.sandbox.store.read("Patient", "demo-008")}
    access = Access(from_url(ehr.sandbox.base_url))
    asked = []
    for prefetch in ({}, sent):
        answers = gather(wanted, {"prefetch": prefetch}, "demo-008", access)
        slices = record_of(answers, "demo-008", ehr.sandbox.base_url).completeness["slices"]
        asked.append({s["type"]: s["asked"] for s in slices if s["asked"]})
    observations = {"Observation": ["Observation?patient&code"]}
    assert asked == [{"Patient": ["Patient/{id}"]} | observations, observations]


def authorized(ehr: Ehr, server: str = "") -> Json:
    token = {
        "access_token": "opaque-3b1f",
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "patient/*.read",
        "subject": "twinport",
    }
    return {"fhirServer": server or ehr.sandbox.base_url, "fhirAuthorization": token}


@pytest.mark.parametrize(
    "server",
    [
        "https://elsewhere.example.org/fhir",
        "http://169.254.169.254/latest",
        "{base}.example.org",
        "{base}/../x",
        "http://user@127.0.0.1/fhir",
    ],
)
def test_a_server_nobody_configured_is_never_asked(ehr: Ehr, service: Json, server: str) -> None:
    before = len(ehr.sandbox.requests)
    given = authorized(ehr, server.format(base=ehr.sandbox.base_url))
    assert ehr.call(service, prefetch={}, **given).status_code == 412
    assert len(ehr.sandbox.requests) == before + len(service["prefetch"])  # the EHR's own


def test_paged_prefetch_is_read_whole_or_counts_as_a_part(ehr: Ehr, service: Json) -> None:
    """The first page alone gives other answers; the rest is asked for at the EHR's own server,
    never where the link points."""
    whole = summaries(ehr.call(service))
    sent = ehr.request(service)["prefetch"]["observations"]
    first = {**sent, "entry": sent["entry"][:1], "link": [PAGED]}
    prefetch = broken(ehr, service, "observations", first)
    assert summaries(ehr.call(service, prefetch=prefetch)) != whole
    assert summaries(ehr.call(service, prefetch=prefetch, **authorized(ehr))) == whole


def summaries(answer: Any) -> list[str]:
    assert answer.status_code == 200
    return [card["summary"] for card in answer.get_json()["cards"]]


def test_another_patient_than_the_one_on_the_screen_is_412(ehr: Ehr, service: Json) -> None:
    other = {"resourceType": "Patient", "id": "demo-003", "gender": "male"}
    answer = ehr.call(service, prefetch=broken(ehr, service, "patient", other))
    assert answer.status_code == 412
    assert "demo-003" not in answer.text


# -- malformed requests ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"hook": "order-sign"}, "/hook"),
        ({"hookInstance": "1"}, "/hookInstance"),
        ({"context": {"userId": "Practitioner/1"}}, "/context/patientId"),
        ({"context": {"patientId": "p", "userId": 7}}, "/context/userId"),
        ({"context": {"patientId": "../x", "userId": "Practitioner/1"}}, "/context/patientId"),
        ({"fhirAuthorization": {"access_token": "x"}}, "/fhirServer"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(
    ehr: Ehr, service: Json, changed: Json, pointer: str
) -> None:
    answer = ehr.call(service, **changed)
    assert answer.status_code == 400
    assert pointer in [fault["pointer"] for fault in answer.get_json()["errors"]]


def test_unknown_services_and_bodies(ehr: Ehr, service: Json) -> None:
    assert ehr.post("/cds-services/nope", {}).status_code == 404
    assert ehr.post(f"/cds-services/{service['id']}", [1]).status_code == 400


def test_unknown_context_fields_are_ignored(ehr: Ehr, service: Json) -> None:
    context = {**ehr.request(service)["context"], "somethingNew": {"a": [1]}}
    assert ehr.call(service, context=context).status_code == 200


# -- feedback ----------------------------------------------------------------------------------


def override(shown: Json, **changed: Any) -> Json:
    reason = {name: shown["overrideReasons"][0][name] for name in ("system", "code")}
    item = {
        "card": shown["uuid"],
        "outcome": "overridden",
        "overrideReason": {"reason": reason, "userComment": "Mrs Roe, statin since May"},
        "outcomeTimestamp": "2026-06-02T08:01:12Z",
    }
    return {**item, **changed}


def test_feedback_is_kept_once_and_without_words(
    ehr: Ehr, service: Json, cards: list[Json], runtime: Runtime
) -> None:
    before = CdsStore(runtime.database).outcomes()
    item = override(cards[0])
    for _ in range(2):
        assert ehr.feedback(service, item).status_code == 200
    (added,) = (CdsStore(runtime.database).outcomes() - before).items()
    model = cards[0]["source"]["topic"]["code"]
    assert added == ((model, "overridden", "already-considered"), 1)
    database = runtime.database.engine.url.database
    assert database is not None
    with open(database, "rb") as file:
        assert b"statin since May" not in file.read()


def test_a_foreign_reason_is_kept_as_other(
    ehr: Ehr, service: Json, cards: list[Json], runtime: Runtime
) -> None:
    reason = {"system": "https://ehr.example.org/reasons", "code": "roe-jane"}
    ehr.feedback(service, override(cards[0], overrideReason={"reason": reason}))
    model = cards[0]["source"]["topic"]["code"]
    assert (model, "overridden", "other") in CdsStore(runtime.database).outcomes()


def test_feedback_on_a_card_nobody_was_handed_is_taken_and_not_kept(
    ehr: Ehr, service: Json, cards: list[Json], runtime: Runtime
) -> None:
    before = CdsStore(runtime.database).outcomes()
    unknown = override(cards[0], card="1d0a8c1e-2f55-4a86-9f0c-6a6f2f9f6d01")
    assert ehr.feedback(service, unknown).status_code == 200
    assert CdsStore(runtime.database).outcomes() == before


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"card": "x"}, "/feedback/0/card"),
        ({"outcome": "ignored"}, "/feedback/0/outcome"),
        ({"outcome": "accepted"}, "/feedback/0/acceptedSuggestions"),
        ({"outcomeTimestamp": "yesterday"}, "/feedback/0/outcomeTimestamp"),
        ({"overrideReason": "no"}, "/feedback/0/overrideReason"),
    ],
)
def test_malformed_feedback(
    ehr: Ehr, service: Json, cards: list[Json], changed: Json, pointer: str
) -> None:
    answer = ehr.feedback(service, override(cards[0], **changed))
    assert answer.status_code == 400
    assert pointer in [fault["pointer"] for fault in answer.get_json()["errors"]]
