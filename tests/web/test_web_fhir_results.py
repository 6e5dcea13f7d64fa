"""Reading and searching what we made."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from error_shape import assert_error_shape
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from web_selection import select
from web_support import OTHER_TWIN, RESOURCES, TWIN
from werkzeug.datastructures import MultiDict

from service.web.errors import WebError
from service.web.fhir.search import read_search
from service.web.ports import FhirQuery


@pytest.fixture
def client(steady) -> FlaskClient:
    return steady.client


@pytest.fixture
def callers(steady):
    return steady.callers


def search(client: FlaskClient, headers: dict[str, str], query: str) -> dict[str, Any]:
    answer = client.get(f"/fhir/{query}", headers=headers)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    found: dict[str, Any] = answer.get_json(force=True)
    return found


def ids(bundle: dict[str, Any]) -> list[str]:
    entries = bundle.get("entry", [])
    return [e["resource"]["id"] for e in entries if e["search"]["mode"] == "match"]


def test_reading(client: FlaskClient, callers) -> None:
    answer = client.get("/fhir/RiskAssessment/riskassessment-1", headers=callers.ehr)
    assert answer.get_json(force=True) == RESOURCES[0].resource
    assert answer.headers["ETag"] == 'W/"1"'
    assert answer.headers["Last-Modified"] == "Sun, 09 Mar 2031 12:00:00 GMT"
    for name, value in (
        ("If-None-Match", 'W/"1"'),
        ("If-Modified-Since", answer.headers["Last-Modified"]),
    ):
        unchanged = client.get(answer.request.path, headers={**callers.ehr, name: value})
        assert (unchanged.status_code, unchanged.data) == (304, b"")


@pytest.mark.parametrize(
    "path", ["RiskAssessment/none", "Device/riskassessment-1", "Device/a_b", "Device/" + "x" * 65]
)
def test_what_is_not_there(client: FlaskClient, callers, path: str) -> None:
    answer = client.get(f"/fhir/{path}", headers=callers.ehr)
    assert_error_shape(answer, 404, fhir=True, code="not-found")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("RiskAssessment", ["1", "2", "3", "9"]),
        ("RiskAssessment?_id=riskassessment-2", ["2"]),
        ("RiskAssessment?_id=riskassessment-2,riskassessment-9,none", ["2", "9"]),
        (f"RiskAssessment?patient={TWIN}", ["1", "2", "3"]),
        (f"RiskAssessment?subject=Patient/{OTHER_TWIN}", ["9"]),
        (f"RiskAssessment?patient={TWIN},{OTHER_TWIN}&_id=riskassessment-9", ["9"]),
        ("RiskAssessment?identifier=RiskAssessment-3", ["3"]),
        ("RiskAssessment?identifier=urn:test|RiskAssessment-3", ["3"]),
        ("RiskAssessment?identifier=urn:test|", ["1", "2", "3", "9"]),
        ("RiskAssessment?identifier=|RiskAssessment-3", []),
        ("RiskAssessment?identifier=a\\,b", []),
        ("RiskAssessment?_lastUpdated=2031-03-09", ["1", "2", "3", "9"]),
        ("RiskAssessment?_lastUpdated=gt2031-03-09", []),
        ("RiskAssessment?_lastUpdated=ge2031-03&_lastUpdated=lt2031-04", ["1", "2", "3", "9"]),
        ("RiskAssessment?_lastUpdated=eq2031-03-09T12:00:00Z", ["1", "2", "3", "9"]),
        ("RiskAssessment?_lastUpdated=2031-03-09T13:00%2B01:00", ["1", "2", "3", "9"]),
        ("RiskAssessment?_lastUpdated=lt2031-03-09T12:00:00Z", []),
        ("Provenance?target=RiskAssessment/riskassessment-1", ["1"]),
        ("Provenance?target=http://localhost/fhir/RiskAssessment/riskassessment-1", ["1"]),
        ("Provenance?target=RiskAssessment/riskassessment-2", []),
    ],
)
def test_searching(client: FlaskClient, callers, query: str, found: list[str]) -> None:
    bundle = search(client, callers.ehr, query)
    assert [name.rpartition("-")[2] for name in ids(bundle)] == found
    assert bundle["total"] == len(found)
    assert ("entry" in bundle) is bool(found)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("_count=-1", "bad-value"),
        ("_count=x", "bad-value"),
        ("_id=", "bad-value"),
        ("_id=a,,b", "bad-value"),
        ("_id=a&_id=b", "not-supported"),
        (f"patient:identifier={TWIN}", "not-supported"),
        ("_id:missing=true", "not-supported"),
        ("_lastUpdated=yesterday", "bad-value"),
        ("_lastUpdated=2031-02-30", "bad-value"),
        ("_lastUpdated=2031-03-09T12:00:00", "bad-value"),
        ("_lastUpdated=0000", "bad-value"),
        ("_lastUpdated=9999", "bad-value"),
        ("_lastUpdated=ap2031", "not-supported"),
        ("_lastUpdated=ne2031", "not-supported"),
        ("_page=é", "bad-value"),
        ("_page=a", "bad-value"),
    ],
)
def test_searches_that_are_refused(client: FlaskClient, callers, query: str, code: str) -> None:
    answer = client.get(f"/fhir/RiskAssessment?{query}", headers=callers.ehr)
    assert_error_shape(answer, 400, fhir=True, code=code)


def test_paging_walks_the_whole_set_once(client: FlaskClient, callers) -> None:
    headers = callers.ehr
    bundle = search(client, headers, "RiskAssessment?_count=1&_format=json")
    seen, pages = ids(bundle), 1
    while nexts := [link["url"] for link in bundle["link"] if link["relation"] == "next"]:
        assert "_count=1" in nexts[0]
        bundle = client.get(nexts[0], headers=headers).get_json(force=True)
        assert bundle["total"] == 4
        seen, pages = seen + ids(bundle), pages + 1
    assert pages == 4
    assert seen == [f"riskassessment-{n}" for n in (1, 2, 3, 9)]


@pytest.mark.parametrize(("asked", "applied"), [("0", "0"), ("1000", "1000"), ("1001", "1000")])
def test_counts(client: FlaskClient, callers, asked: str, applied: str) -> None:
    bundle = search(client, callers.ehr, f"RiskAssessment?_count={asked}")
    assert bundle["link"][0]["url"].endswith(f"_count={applied}")
    assert len(ids(bundle)) == (0 if asked == "0" else 4)
    assert bundle["total"] == 4


def test_a_parameter_nobody_knows_is_left_out_and_said(client: FlaskClient, callers) -> None:
    bundle = search(client, callers.ehr, "Device?_id=device-1&name=Meier&_sort=date")
    assert bundle["link"][0]["url"] == "http://localhost/fhir/Device?_id=device-1"
    outcome = bundle["entry"][-1]
    assert outcome["search"] == {"mode": "outcome"}
    assert outcome["resource"]["issue"][0]["severity"] == "warning"
    assert "Meier" not in str(bundle)
    strict = {**callers.ehr, "Prefer": "handling=strict"}
    answer = client.get("/fhir/Device?name=Meier", headers=strict)
    assert_error_shape(answer, 400, fhir=True, code="not-supported")


def test_parameters_of_address_and_form_add_up(client: FlaskClient, callers) -> None:
    answer = client.post(
        f"/fhir/RiskAssessment/_search?patient={TWIN}",
        data={"_id": "riskassessment-1,riskassessment-9"},
        headers=callers.ehr,
    )
    assert ids(answer.get_json(force=True)) == ["riskassessment-1"]


def test_entries_are_found_at_their_full_urls(client: FlaskClient, callers) -> None:
    headers = callers.ehr
    for entry in search(client, headers, "RiskAssessment")["entry"]:
        read = client.get(entry["fullUrl"], headers=headers)
        assert read.get_json(force=True) == entry["resource"]


def test_a_patient_has_no_business_here_yet(client: FlaskClient, callers) -> None:
    answer = client.get("/fhir/RiskAssessment", headers=callers.patient)
    assert_error_shape(answer, 403, fhir=True, code="forbidden")


# -- readings of dates -----------------------------------------------------------------------------

moments = st.datetimes(
    min_value=datetime(1900, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)
)


def bounds(app: Flask, text: str) -> FhirQuery:
    with app.test_request_context("/fhir/Device"):
        return read_search("Device", MultiDict([("_lastUpdated", text)])).query


def includes(query: FhirQuery, moment: datetime) -> bool:
    return all(
        (b.start is None or moment >= b.start) and (b.end is None or moment < b.end)
        for b in query.updated
    )


_BARE = Flask("bare")
FORMS = ["%Y", "%Y-%m", "%Y-%m-%d", "%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M:%SZ"]


@given(
    moments, st.sampled_from(["%Y", "%Y-%m", "%Y-%m-%d", "%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M:%SZ"])
)
def test_a_date_covers_every_moment_written_so(moment: datetime, form: str) -> None:
    text = moment.strftime(form)
    assert includes(bounds(_BARE, text), moment)
    assert includes(bounds(_BARE, f"ge{text}"), moment)
    assert includes(bounds(_BARE, f"le{text}"), moment)
    for prefix in ("gt", "lt", "sa", "eb"):
        assert not includes(bounds(_BARE, f"{prefix}{text}"), moment)


@given(moments, moments)
def test_greater_and_not_greater_divide_all_moments(one: datetime, other: datetime) -> None:
    text = one.strftime("%Y-%m-%d")
    greater, not_greater = bounds(_BARE, f"gt{text}"), bounds(_BARE, f"le{text}")
    assert includes(greater, other) is not includes(not_greater, other)


@given(st.text(max_size=30))
def test_no_text_breaks_the_reading(text: str) -> None:
    for name in ("_lastUpdated", "_count", "_page", "_id", "identifier"):
        with _BARE.test_request_context("/fhir/Device"), suppress(WebError):
            read_search("Device", MultiDict([(name, text)]))


@given(st.integers(1, 6))
def test_pages_of_any_size_join_to_the_whole(size: int) -> None:
    seen: list[str] = []
    after = None
    while True:
        page = select(RESOURCES, FhirQuery("RiskAssessment", limit=size, after=after))
        seen += [r.id for r in page.resources]
        if not page.more:
            break
        after = page.resources[-1].id
    assert seen == [f"riskassessment-{n}" for n in (1, 2, 3, 9)]
