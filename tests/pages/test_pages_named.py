"""The summary with a name and dates: whose, what is in it, and that nothing of it stays here."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
import requests
from fhir.resources.R4B.bundle import Bundle
from pages_site import FULL, PERSON, Site
from test_pages_own import send, text_of

from service.auth import Role
from service.config.sections import Server
from service.patient.named import Named, NoNameError
from service.stores.audit import AuditFilter, AuditStore
from twin_engine.document.lineage import source_ids

Json = dict[str, Any]
DATED = {
    "Observation": "effectiveDateTime",
    "MedicationRequest": "authoredOn",
    "Condition": "onsetDateTime",
}


@pytest.fixture(scope="module")
def summary(site: Site) -> Json:
    """As the page hands it out."""
    answer = send(site.patient(FULL), "/me/take", "/me/take", form="named")
    assert answer.headers["Content-Disposition"].endswith('"summary-with-name.json"')
    assert answer.headers["Cache-Control"] == "no-store"
    found: Json = orjson.loads(answer.data)
    return found


def base_of(site: Site) -> str:
    return site.service.runtime.config.servers["sandbox"].base_url


def asked(site: Site, path: str) -> Json:
    found: Json = requests.get(f"{base_of(site)}/{path}", timeout=120).json()
    return found


def of(bundle: Json, kind: str) -> Iterator[Json]:
    resources = (entry["resource"] for entry in bundle["entry"])
    return (resource for resource in resources if resource["resourceType"] == kind)


def test_it_says_who_the_patient_is_and_what_it_is_for(site: Site, summary: Json) -> None:
    Bundle.model_validate(summary)
    (told,), source = of(summary, "Patient"), asked(site, f"Patient/{FULL}")
    for name in ("name", "birthDate", "gender", "telecom"):
        assert told.get(name) == source.get(name)
    assert told["address"][0]["city"] == source["address"][0]["city"]
    assert told["identifier"][0]["value"] == source["identifier"][0]["value"]
    assert "_birthDate" not in told
    (composition,) = of(summary, "Composition")
    assert composition["title"].endswith("for the patient's own hands")
    assert (composition["confidentiality"], composition["date"]) == ("R", summary["timestamp"])
    assert [label["code"] for label in summary["meta"]["security"]] == ["R"]
    assert b"PSEUDED" not in orjson.dumps(summary)


@pytest.mark.parametrize("kind", DATED)
def test_its_dates_are_those_of_the_record(site: Site, summary: Json, kind: str) -> None:
    element = DATED[kind]
    found = asked(site, f"{kind}?patient={FULL}&_count=500")
    true = {one["resource"].get(element, "")[:10] for one in found["entry"]}
    told = {one[element] for one in of(summary, kind) if element in one}
    assert told, "nothing to compare"
    assert told <= true
    assert b"relativeDateTime" not in orjson.dumps(summary)


def test_nothing_in_it_leads_to_the_twin(site: Site, summary: Json) -> None:
    twin = site.twins[FULL]
    document, text = site.service.document(twin), orjson.dumps(summary).decode()
    client = site.patient(FULL)
    other = send(client, "/me/take", "/me/take", form="summary").get_json(force=True)
    pseudonymous = {entry["fullUrl"] for entry in other["entry"]} | {other["id"]}
    for name in {twin, *source_ids(document), *pseudonymous}:
        assert name not in text
    urls = {entry["fullUrl"] for entry in summary["entry"]}
    assert set(re.findall(r'"reference":"([^"]+)"', text)) <= urls


def test_nothing_of_it_stays_here_and_that_it_was_made_does(site: Site, summary: Json) -> None:
    (patient,) = of(summary, "Patient")
    family = patient["name"][0]["family"].encode()
    home = site.service.runtime.config.home
    for file in home.rglob("*"):
        assert not file.is_file() or family not in file.read_bytes(), file.name
    audit = AuditStore(site.service.runtime.database)
    found = audit.search(AuditFilter(action="twin.download-named", object=site.twins[FULL]))
    assert {one.role for one in found} == {"patient"}
    assert family.decode() not in repr(found)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.PATIENT])
def test_nobody_else_is_given_it(site: Site, role: Role) -> None:
    client = site.client(role)
    token = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/").text)
    form = {"csrf_token": token[1] if token else "", "form": "named"}
    assert client.post("/me/take", data=form).status_code == 403


# -- when it can't be made -------------------------------------------------------------------------


def test_a_clinic_that_is_not_known_here_is_said(acting: Site) -> None:
    answer = send(acting.patient(PERSON), "/me/take", "/me/take", form="named")
    assert answer.status_code == 409
    assert "is not known here any more" in text_of(answer.text)
    events = AuditStore(acting.service.runtime.database)
    assert events.count(AuditFilter(action="twin.download-named")) == 0


@pytest.mark.parametrize(
    ("url", "patient", "why"),
    [
        ("http://127.0.0.1:9", FULL, "no_answer"),
        (None, "nobody-there", "no_answer"),
        (None, None, "erased"),
    ],
)
def test_a_clinic_that_does_not_answer_and_an_erased_patient_are_said(
    site: Site, monkeypatch: pytest.MonkeyPatch, url: str | None, patient: str | None, why: str
) -> None:
    """The same installation, with another way back."""
    runtime = site.service.runtime
    server = replace(runtime.config.servers["sandbox"], base_url=url or base_of(site))
    config = replace(runtime.config, servers={"sandbox": server})
    found = next(Named(runtime)._behind(site.twins[FULL]))
    record = replace(found, base=server.base_url, patient=f"Patient/{patient}")
    behind = iter([record] if patient else [])
    monkeypatch.setattr(Named, "_behind", lambda *_: behind)
    assert isinstance(server, Server)
    with pytest.raises(NoNameError, match=why):
        Named(replace(runtime, config=config)).summary(site.twins[FULL])


# -- the same installation, whose patient says no to care ------------------------------------------


def test_results_are_read_over_fhir_while_care_is_allowed(site: Site) -> None:
    patient, clinician, twin = site.patient(FULL), site.client(Role.EHR), site.twins[FULL]

    def search(query: str = "") -> Json:
        found: Json = clinician.get(f"/fhir/RiskAssessment?_count=1000{query}").get_json()
        return found

    everybody, mine = search(), search(f"&patient={twin}")
    (first, *_) = of(mine, "RiskAssessment")
    send(patient, "/me/consent", purpose="care", answer="no")
    try:
        assert search(f"&patient={twin}")["total"] == 0
        assert search()["total"] == everybody["total"] - mine["total"]
        refused = clinician.get(f"/fhir/RiskAssessment/{first['id']}")
        assert refused.status_code == 403
        assert refused.get_json()["resourceType"] == "OperationOutcome"
        assert clinician.get("/fhir/Device").get_json()["total"] > 0
    finally:
        send(patient, "/me/consent", purpose="care", answer="yes")
    assert search()["total"] == everybody["total"]
    assert clinician.get(f"/fhir/RiskAssessment/{first['id']}").status_code == 200
