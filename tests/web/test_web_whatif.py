"""What if over the API: what is taken, how it is refused, and that nothing sent is repeated."""

from typing import Any

import pytest
from error_shape import assert_error_shape
from web_support import OTHER_TWIN, TWIN

ADDRESS = f"/api/v1/twins/{TWIN}/whatif"


def asked(steady: Any, body: dict[str, Any], headers: Any = None) -> Any:
    return steady.client.post(ADDRESS, json=body, headers=headers or steady.callers.ehr)


def test_numbers_words_and_yes_become_cells_of_a_table(steady: Any) -> None:
    changes = {"systolic-bp": 120.5, "smoking-current": False, "sex": "male", "age": 55}
    answer = asked(steady, {"model": "prevent:base", "changes": changes})
    assert answer.status_code == 422  # the small service knows no variant: only the form is tested
    answer = asked(steady, {"model": "prevent", "changes": changes})
    assert answer.get_json()["changes"] == {
        "systolic-bp": "120.5", "smoking-current": "0", "sex": "male", "age": "55",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "/model"),
        ({"model": "Dr Jane Doe"}, "/model"),
        ({"model": "prevent", "changes": {"sbp": None}}, "/changes/sbp/value"),
        ({"model": "prevent", "changes": {"sbp": [1]}}, "/changes/sbp/value"),
        ({"model": "prevent", "changes": {"sbp": "x" * 33}}, "/changes/sbp/value"),
        ({"model": "prevent", "changes": [1]}, "/changes"),
        ({"model": "prevent", "treatment": "a b"}, "/treatment"),
        ({"model": "prevent", "comment": "for Jane"}, "/comment"),
    ],
)
def test_a_fault_is_named_by_its_path_and_never_repeated(steady: Any, body, where: str) -> None:
    answer = asked(steady, body)
    assert_error_shape(answer, 422, fhir=False, code="invalid")
    assert [fault["pointer"] for fault in answer.get_json(force=True)["errors"]] == [where]
    assert "Jane" not in answer.text


def test_a_patient_asks_about_the_own_twin_alone(steady: Any) -> None:
    body = {"model": "prevent", "treatment": "lower-ldl-1"}
    assert asked(steady, body, steady.callers.patient).status_code == 200
    other = steady.client.post(
        f"/api/v1/twins/{OTHER_TWIN}/whatif", json=body, headers=steady.callers.patient
    )
    assert other.status_code == 404


def test_the_question_is_noted_and_a_refused_one_is_not(client, callers, behind) -> None:
    for body in ({"model": "prevent"}, {"model": "prevent", "treatment": "lower-ldl-1"}):
        client.post(ADDRESS, json=body, headers=callers.ehr)
    assert [action for _, action, _ in behind.noted] == ["whatif"]
