"""What a twin tells of the questions: their form, and nothing of whom they were about."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.twins import complete, twin

from service.bulk.order import Order
from service.fhir.forms import EVERYTHING, read_form, search_form
from service.fhir.kinds import KINDS
from service.fhir.paging import Params
from twin_engine.document.schema import MOST_ASKED, SchemaError, check, is_question

PATIENT = ("patient", "Patient/4711")


def telling(*forms: str) -> dict[str, Any]:
    """A twin whose Observations were asked for so."""
    made = complete()
    rows = [
        r | ({"asked": list(forms)} if r["type"] == "Observation" else {}) for r in made["slices"]
    ]
    return twin(completeness=made | {"slices": rows})


@pytest.mark.parametrize(
    ("kind", "params", "post", "expected"),
    [
        ("Observation", (PATIENT, ("_count", "50")), False, "Observation?patient&_count"),
        ("Observation", (PATIENT,), True, "POST Observation/_search?patient"),
        (
            "Observation",
            (PATIENT, ("category", "laboratory")),
            False,
            "Observation?patient&category=laboratory",
        ),
        ("Observation", (PATIENT, ("category", "hiv")), False, "Observation?patient&category"),
        ("Condition", (PATIENT, ("category", "exam")), False, "Condition?patient&category"),
        (
            "Condition",
            (PATIENT, ("_lastUpdated", "gt2026-01-02")),
            False,
            "Condition?patient&_lastUpdated",
        ),
        ("Condition", (PATIENT, ("_summary", "count")), False, "Condition?patient&_summary=count"),
        (
            "MedicationRequest",
            (PATIENT, ("_include", "MedicationRequest:medication")),
            False,
            "MedicationRequest?patient&_include=MedicationRequest:medication",
        ),
    ],
)
def test_values_are_told_only_where_our_plan_sets_them(
    kind: str, params: Params, post: bool, expected: str
) -> None:
    assert search_form(kind, params, post=post) == expected


@given(st.sampled_from(sorted(KINDS)), st.text())
def test_no_value_gets_in_that_is_not_listed(kind: str, value: str) -> None:
    form = search_form(kind, (("patient", value), ("_lastUpdated", value), ("_count", value)))
    assert form == f"{kind}?patient&_lastUpdated&_count"


def every_form() -> list[str]:
    """Whatever our plan can ask for, in its longest form."""
    forms = [
        EVERYTHING,
        *(read_form(k) for k in ("Endpoint", "Medication", "Observation", "Patient")),
    ]
    for level in ("system", "patient", "group"):
        forms.append(Order(level).form)
        forms.append(Order(level, "g-1", ("Patient",), "2026-01-02T00:00:00Z", True).form)
    for kind in KINDS.values():
        parameter, values = kind.split or ("", ("",))
        more = [("_include", value) for value in kind.include]
        for value in values:
            narrower = [(parameter, value)] if parameter else []
            params = (PATIENT, *narrower, ("_lastUpdated", "x"), *more, ("_count", "1"))
            forms += [search_form(kind.name, params, post=post) for post in (False, True)]
        forms.append(search_form(kind.name, (PATIENT, ("_summary", "count"))))
    return forms


def test_a_twin_can_hold_every_form_that_our_plan_has() -> None:
    forms = every_form()
    for start in range(0, len(forms), MOST_ASKED):
        telling(*forms[start : start + MOST_ASKED])
    assert "Group/{id}/$export?_type&_since&allowPartialManifests" in forms


@pytest.mark.parametrize(
    "form",
    [
        "Observation?patient=Patient/4711",
        "Observation?patient&_lastUpdated=gt2026-01-02",
        "Observation?category=hiv",
        "Observation/4711",
        "Observation?patient&patient" * 2,
        "Observation?" + "&".join(["patient"] * 9),
        "Observation?patient&_count\n",
        "Practitioner?patient",
        "https://ehr.example.org/fhir/Observation?patient",
        "",
    ],
)
def test_nothing_else_fits(form: str) -> None:
    with pytest.raises(SchemaError, match="asked"):
        telling(form)


def test_nor_more_of_them_nor_one_twice() -> None:
    many = [f"{kind}?patient&_count" + "&code" * n for kind in KINDS for n in range(6)]
    telling(*many[:MOST_ASKED])
    for forms in (many[: MOST_ASKED + 1], ["Observation"] * 2):
        with pytest.raises(SchemaError, match="asked"):
            telling(*forms)


def test_a_twin_from_before_is_still_one() -> None:
    document = telling()
    assert not any("asked" in part for part in document["completeness"]["slices"])
    check(document)


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("Observation?patient&_count", True),
        ("studies/{study}/series", True),
        ("Observation?patient=Series", False),
        ("Series", False),
        ("studies/{study}/series\n", False),
    ],
)
def test_only_what_is_made_of_our_words_is_kept_from_the_search(text: str, ours: bool) -> None:
    """A family may be called Series, and the gate must not take our question for their name."""
    assert is_question(text) is ours
