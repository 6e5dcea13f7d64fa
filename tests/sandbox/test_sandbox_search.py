"""Search, paging and the CapabilityStatement, over real HTTP."""

import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from fhir.resources.R4B import get_fhir_model_class
from hypothesis import given
from hypothesis import strategies as st

from service.sandbox.dates import matches, parse_interval
from service.sandbox.persona import Settings
from service.sandbox.search import include_values, parameter_table, sort_names, walk
from service.sandbox.testing import RunningSandbox, population, running_sandbox


def search(
    http: requests.Session, held: RunningSandbox, path: str, **params: Any
) -> dict[str, Any]:
    answer = http.get(f"{held.base_url}/{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def matched(bundle: dict[str, Any], mode: str = "match") -> list[dict[str, Any]]:
    return [e["resource"] for e in bundle.get("entry", []) if e["search"]["mode"] == mode]


def link(bundle: dict[str, Any], relation: str) -> str | None:
    return next((item["url"] for item in bundle["link"] if item["relation"] == relation), None)


def pages(http: requests.Session, bundle: dict[str, Any]) -> Iterator[dict[str, Any]]:
    while True:
        yield bundle
        url = link(bundle, "next")
        if url is None:
            return
        bundle = http.get(url).json()


def refused(answer: requests.Response, status: int, code: str) -> None:
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("application/fhir+json")
    outcome = answer.json()
    assert outcome["resourceType"] == "OperationOutcome"
    assert outcome["issue"][0]["code"] == code
    get_fhir_model_class("OperationOutcome").model_validate(outcome)


# -- finding ---------------------------------------------------------------------------------------


def test_a_patient_is_found_by_identifier_with_and_without_system(held, http) -> None:
    person = held.store.read("Patient", "demo-001")
    mrn = person["identifier"][0]
    for token in (mrn["value"], f"{mrn['system']}|{mrn['value']}"):
        assert [r["id"] for r in matched(search(http, held, "Patient", identifier=token))] == [
            "demo-001"
        ]
    assert (
        search(http, held, "Patient", identifier=f"https://other.example.org|{mrn['value']}")[
            "total"
        ]
        == 0
    )


@pytest.mark.parametrize("reference", ["demo-003", "Patient/demo-003", "{base}/Patient/demo-003"])
def test_patient_and_subject_take_every_form_of_reference(held, http, reference) -> None:
    reference = reference.format(base=held.base_url)
    expected = len(held.store.of_patient("Condition", "demo-003"))
    for name in ("patient", "subject"):
        found = search(http, held, "Condition", **{name: reference})
        assert found["total"] == expected > 0
        assert {r["subject"]["reference"] for r in matched(found)} == {"Patient/demo-003"}


def test_commas_mean_or_and_repeats_mean_and(held, http) -> None:
    loinc = "http://loinc.org|"
    both = search(
        http,
        held,
        "Observation",
        patient="demo-001",
        code=f"{loinc}2093-3,{loinc}2085-9",
        _count=200,
    )
    assert {r["code"]["coding"][0]["code"] for r in matched(both)} == {"2093-3", "2085-9"}
    neither = search(http, held, "Observation", patient="demo-001", code=["2093-3", "2085-9"])
    assert neither["total"] == 0
    assert "entry" not in neither


def test_category_status_and_date_narrow_a_search(held, http) -> None:
    found = search(
        http, held, "Observation", patient="demo-001", category="vital-signs", status="final",
        date=["ge2020-01-01", "lt2022-01-01"], _count=1000,
    )  # fmt: skip
    dates = [r["effectiveDateTime"][:4] for r in matched(found)]
    assert set(dates) == {"2020", "2021"}
    everything = search(
        http, held, "Observation", patient="demo-001", category="vital-signs", _count=1000
    )
    assert 0 < found["total"] < everything["total"]


def test_entered_in_error_can_be_found_by_its_status(held, http) -> None:
    found = search(http, held, "Observation", patient="demo-024", status="entered-in-error")
    assert [r["status"] for r in matched(found)] == ["entered-in-error"]


def test_a_period_without_end_matches_from_its_start_on(held, http) -> None:
    found = search(http, held, "Observation", patient="demo-025", code="718-7", date="ge2090")
    assert found["total"] == 1


def test_sorting_by_date_in_both_directions(held, http) -> None:
    asked = {"patient": "demo-005", "code": "8867-4"}
    found = [search(http, held, "Observation", **asked, _sort=s) for s in ("date", "-date")]
    up, down = ([r["effectiveDateTime"] for r in matched(bundle)] for bundle in found)
    assert up == sorted(up)
    assert down == up[::-1]


def test_include_brings_the_medication_once_and_outside_the_total(held, http) -> None:
    found = search(
        http, held, "MedicationRequest", patient="demo-001", _include="MedicationRequest:medication"
    )
    assert found["total"] == len(matched(found)) == 3
    assert [r["resourceType"] for r in matched(found, "include")] == ["Medication"]


def test_post_search_gives_the_same_as_get(held, http) -> None:
    form = {"patient": "demo-001", "code": "8867-4", "_count": "5"}
    posted = http.post(f"{held.base_url}/Observation/_search", data=form).json()
    got = search(http, held, "Observation", **form)
    assert matched(posted) == matched(got)
    assert link(posted, "self") == link(got, "self")
    assert http.get(link(posted, "next")).status_code == 200


def test_count_zero_and_summary_count_give_only_the_total(held, http) -> None:
    for extra in ({"_count": "0"}, {"_summary": "count"}):
        found = search(http, held, "Observation", patient="demo-001", **extra)
        assert found["total"] > 100
        assert "entry" not in found
        assert link(found, "next") is None


# -- the self link, and what is not understood -----------------------------------------------------


def test_the_self_link_tells_what_was_understood(held, http) -> None:
    found = search(
        http, held, "Observation", patient="demo-001", colour="blue", _count=5000, _sort="-date"
    )
    said = dict(parse_qsl(urlsplit(link(found, "self")).query))
    assert said == {"patient": "demo-001", "_count": "1000", "_sort": "-date"}
    note = matched(found, "outcome")[0]
    assert note["issue"][0]["severity"] == "warning"
    assert "blue" not in str(note)


def test_strict_handling_refuses_unknown_parameters(held, http) -> None:
    url = f"{held.base_url}/Observation?patient=demo-001&colour=blue"
    refused(http.get(url, headers={"Prefer": "handling=strict"}), 400, "not-supported")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("date=yesterday", "value"),
        ("date=ge2020-13-01", "value"),
        ("_count=many", "value"),
        ("_count=-1", "value"),
        ("_sort=colour", "not-supported"),
        ("code:not=8867-4", "not-supported"),
    ],
)
def test_bad_values_are_refused_without_repeating_them(held, http, query, code) -> None:
    answer = http.get(f"{held.base_url}/Observation?patient=demo-001&{query}")
    refused(answer, 400, code)
    assert query.split("=")[1] not in answer.text or code == "not-supported"


# -- paging ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 7, 50, 1000])
def test_the_pages_are_the_whole_set_once(held, http, count) -> None:
    small = {"patient": "demo-015"}
    params = small if count == 1 else {"patient": "demo-001", "_sort": "-date"}
    seen = []
    for page in pages(http, search(http, held, "Observation", **params, _count=count)):
        assert len(matched(page)) <= count
        seen += [r["id"] for r in matched(page)]
    expected = held.store.of_patient("Observation", params["patient"])
    assert len(seen) == len(set(seen)) == len(expected)


def test_next_is_opaque_and_holds_nothing_of_the_question(held, http) -> None:
    url = link(search(http, held, "Observation", patient="demo-001", _count=5), "next")
    assert "demo-001" not in url
    assert dict(parse_qsl(urlsplit(url).query)).keys() == {"_page"}


def test_a_page_walk_is_not_disturbed_by_writes(fresh, http) -> None:
    first = search(http, fresh, "Observation", patient="demo-001", _count=100, _sort="-date")
    body = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": "Patient/demo-001"},
        "effectiveDateTime": "2030-01-01",
    }
    assert http.post(f"{fresh.base_url}/Observation", json=body).status_code == 201
    seen = [r["id"] for page in pages(http, first) for r in matched(page)]
    assert len(seen) == len(set(seen)) == first["total"]


def test_an_expired_or_unknown_page_is_gone(held, http) -> None:
    url = link(search(http, held, "Observation", patient="demo-001", _count=5), "next")
    held.inside.pages.expire_all()
    refused(http.get(url), 410, "not-found")
    refused(http.get(f"{held.base_url}?_page=made-up"), 410, "not-found")


def test_pages_expire_by_themselves(http) -> None:
    settings = Settings(page_lifetime_seconds=0.0)
    with running_sandbox(population()[:1], settings=settings) as sandbox:
        url = link(search(http, sandbox, "Observation", patient="demo-001", _count=5), "next")
        refused(http.get(url), 410, "not-found")


def test_everything_is_the_compartment_and_what_it_points_to(held, http) -> None:
    answer = http.get(f"{held.base_url}/Patient/demo-001/$everything", params={"_count": 100})
    found = [r for page in pages(http, answer.json()) for r in matched(page)]
    kinds = {r["resourceType"] for r in found}
    assert found[0]["resourceType"] == "Patient"
    assert {"Observation", "Condition", "Encounter", "Practitioner", "Medication"} <= kinds
    others = {r["id"] for r in found if r["resourceType"] == "Patient"}
    assert others == {"demo-001"}
    assert len(found) == len({(r["resourceType"], r["id"]) for r in found})


# -- the CapabilityStatement is true ---------------------------------------------------------------


@pytest.fixture(scope="module")
def statement(held) -> dict[str, Any]:
    answer = requests.get(f"{held.base_url}/metadata")
    assert answer.status_code == 200
    get_fhir_model_class("CapabilityStatement").model_validate(answer.json())
    return answer.json()


def declared(statement: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for resource in statement["rest"][0]["resource"]:
        for parameter in resource["searchParam"]:
            yield resource["type"], parameter["name"], parameter["type"]


def spelled(leaf: Any, typ: str) -> str | None:
    """A stored leaf as one would ask for it."""
    if typ == "reference":
        return leaf.get("reference")
    if typ == "date":
        return leaf[:10] if isinstance(leaf, str) else f"ge{leaf['start'][:10]}"
    coding = leaf.get("coding", [leaf])[0] if isinstance(leaf, dict) else {"code": leaf}
    return coding.get("code") or coding.get("value")


def example_value(held: RunningSandbox, kind: str, name: str, typ: str) -> str | None:
    """A value that at least one stored resource has for this parameter."""
    paths = parameter_table()[kind][name].paths
    leaves = (leaf for r in held.store.all(kind) for path in paths for leaf in walk(r, path))
    return next((text for leaf in leaves if (text := spelled(leaf, typ))), None)


RISK = {
    "resourceType": "RiskAssessment", "status": "preliminary", "occurrenceDateTime": "2026-05-01",
    "identifier": [{"system": "https://t.example.org", "value": "1"}],
    "subject": {"reference": "Patient/demo-001"}, "method": {"coding": [{"code": "m"}]},
    "performer": {"reference": "Device/demo-001-dev001"},
    "encounter": {"reference": "Encounter/demo-001-enc001"},
}  # fmt: skip
PROVENANCE = {
    "resourceType": "Provenance", "target": [{"reference": "Patient/demo-001"}],
    "recorded": "2026-05-01T00:00:00Z", "agent": [{"who": {"reference": "Device/demo-001-dev001"}}],
}  # fmt: skip


# Elements that may be searched for but that nobody in the population has.
_NUMBER = [{"system": "https://t.example.org", "value": "7"}]
_KIND = {"coding": [{"system": "https://t.example.org", "code": "k"}]}
_ABOUT = {"subject": {"reference": "Patient/demo-001"}}
RARE = [
    {"resourceType": kind, "id": "rare", "identifier": _NUMBER, "category": [_KIND], **more}
    for kind, more in {
        "Endpoint": {}, "Condition": {}, "Procedure": {"category": _KIND}, "AllergyIntolerance": {},
        "FamilyMemberHistory": {}, "Immunization": {},
        "Device": {"type": _KIND}, "DiagnosticReport": {"code": _KIND},
        "DocumentReference": {"type": _KIND}, "Communication": {**_ABOUT, "status": "completed"},
        "Flag": {**_ABOUT, "period": {"start": "2026-06-01"}},
    }.items()
]  # fmt: skip


def test_every_declared_parameter_finds_some_and_excludes_others(held, statement, http) -> None:
    for body in (RISK, PROVENANCE):
        assert http.post(f"{held.base_url}/{body['resourceType']}", json=body).status_code == 201
    held.store.load(RARE)
    unproven = []
    for kind, name, typ in declared(statement):
        value = example_value(held, kind, name, typ)
        if value is None:
            unproven.append(f"{kind}.{name}")
            continue
        found = search(http, held, kind, **{name: value}, _summary="count")
        assert found["total"] > 0, (kind, name)
        assert name in dict(parse_qsl(urlsplit(link(found, "self")).query))
        nothing = {"token": "no-such-code", "reference": "Patient/no-one", "date": "1801-01-01"}[
            typ
        ]
        assert search(http, held, kind, **{name: nothing}, _summary="count")["total"] == 0, (
            kind,
            name,
        )
    assert unproven == []


UNDECLARED = (
    "name",
    "colour",
    "_content",
    "_text",
    "_has",
    "_list",
    "_profile",
    "_tag",
    "_revinclude",
)


def test_no_undeclared_parameter_has_an_effect(held, statement, http) -> None:
    for resource in statement["rest"][0]["resource"]:
        kind = resource["type"]
        for name in UNDECLARED:
            found = search(http, held, kind, **{name: "x"}, _summary="count")
            assert found["total"] == held.count(kind)
            assert name not in dict(parse_qsl(urlsplit(link(found, "self")).query))


def test_sorts_and_includes_work_as_the_tables_say(held, statement, http) -> None:
    for resource in statement["rest"][0]["resource"]:
        kind = resource["type"]
        assert resource.get("searchInclude", []) == include_values(kind)
        for name in sort_names(kind):
            for sort in (name, f"-{name}"):
                assert search(http, held, kind, _sort=sort, _count=1)["resourceType"] == "Bundle"


def test_every_declared_interaction_answers_and_no_other_does(held, statement, http) -> None:
    codes = {i["code"] for r in statement["rest"][0]["resource"] for i in r["interaction"]}
    assert codes == {"read", "vread", "search-type", "create", "update"}
    assert http.get(f"{held.base_url}/Patient/demo-001/_history/1").status_code == 200
    for method, path in (
        ("DELETE", "Patient/demo-001"),
        ("PATCH", "Patient/demo-001"),
        ("DELETE", "Patient"),
    ):
        answer = http.request(method, f"{held.base_url}/{path}")
        refused(answer, 405, "not-supported")
        assert answer.headers["Allow"]
    for path in ("Patient/demo-001/_history", "Patient/_history", "_history", "Patient/$export"):
        assert http.get(f"{held.base_url}/{path}").status_code in (400, 404), path


def test_switched_off_features_are_neither_declared_nor_served(http) -> None:
    settings = Settings(transactions=False, everything=False, conditional_create=False)
    with running_sandbox(population()[:1], settings=settings) as sandbox:
        statement = http.get(f"{sandbox.base_url}/metadata").json()["rest"][0]
        assert "interaction" not in statement
        assert not any(r["conditionalCreate"] for r in statement["resource"])
        listed = [o["name"] for r in statement["resource"] for o in r.get("operation", ())]
        assert "everything" not in listed
        refused(http.get(f"{sandbox.base_url}/Patient/demo-001/$everything"), 404, "not-supported")
        refused(
            http.post(sandbox.base_url, json={"resourceType": "Bundle", "type": "batch"}),
            400,
            "not-supported",
        )
        answer = http.post(
            f"{sandbox.base_url}/RiskAssessment", json=RISK,
            headers={"If-None-Exist": "identifier=a"},
        )  # fmt: skip
        refused(answer, 412, "not-supported")


# -- many readers ----------------------------------------------------------------------------------


def test_readers_in_parallel_all_get_the_whole_set(held) -> None:
    sizes: list[int] = []

    def walk_all() -> None:
        with requests.Session() as session:
            first = search(session, held, "Observation", patient="demo-004", _count=40)
            sizes.append(sum(len(matched(page)) for page in pages(session, first)))

    threads = [threading.Thread(target=walk_all) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(sizes) == {len(held.store.of_patient("Observation", "demo-004"))}
    assert len(sizes) == 6


# -- dates -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "asked", "found", "expected"),
    [
        ("eq", "2020", "2020-05-03", True),
        ("eq", "2020-05-03", "2020", False),
        ("ne", "2020", "2021-01-01", True),
        ("gt", "2020", "2020-12-31", False),
        ("gt", "2020-06", "2020", True),
        ("ge", "2020", "2020-01-01", True),
        ("lt", "2020", "2019-12-31T23:59:59Z", True),
        ("le", "2020-01-01", "2020-01-01T23:00:00Z", True),
        ("sa", "2020", "2021-01-01", True),
        ("sa", "2020", "2020-06-01", False),
        ("eb", "2020", "2019-12-31", True),
        ("ap", "2020-06", "2020-06-15", True),
        ("eq", "2020-01-01", "2020-01-01T23:30:00-05:00", False),
    ],
)
def test_date_prefixes_compare_intervals(prefix, asked, found, expected) -> None:
    assert matches(prefix, parse_interval(asked), parse_interval(found)) is expected


@given(st.datetimes(timezones=st.timezones()), st.sampled_from([4, 7, 10, 19]))
def test_an_interval_starts_before_it_ends(moment, length) -> None:
    text = moment.isoformat()[:length] + ("Z" if length == 19 else "")
    if moment.year < 9999 and moment.year > 1:
        span = parse_interval(text)
        assert span.lo < span.hi


@given(st.text(max_size=12))
def test_any_other_text_is_a_value_error_and_nothing_else(text) -> None:
    try:
        span = parse_interval(text)
    except ValueError:
        return
    assert span.lo < span.hi
