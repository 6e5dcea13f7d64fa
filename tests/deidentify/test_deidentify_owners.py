"""Whose a resource is: the same, whatever was asked before."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.deidentify.people import Owners

Json = dict[str, Any]

_TO = [
    "Patient/a", "Patient/b", "Patient/a/_history/2", "Group/a", "https://x.org/Patient/a", "", 7,
    True, None, ["Patient/a"], {"reference": "Patient/a"},
]  # fmt: skip
_HOLDER: st.SearchStrategy[Any] = st.one_of(
    st.fixed_dictionaries({"reference": st.sampled_from(_TO)}),
    st.sampled_from([None, "Patient/a", 7, [], [{"reference": "Patient/a"}], {}]),
)
_RESOURCE = st.fixed_dictionaries(
    {},
    optional={
        "resourceType": st.sampled_from(["Patient", "Observation", None, ["Patient"]]),
        "id": st.sampled_from(["a", "b", 7, ""]),
        "subject": _HOLDER,
        "patient": _HOLDER,
    },
)


@given(st.lists(_RESOURCE, max_size=6))
def test_what_was_met_before_changes_no_answer(resources: list[Json]) -> None:
    owners = Owners()
    assert [owners.of(one) for one in resources] == [Owners().of(one) for one in resources]
    assert [owners.of(one) for one in resources] == [Owners().of(one) for one in resources]


@pytest.mark.parametrize(
    ("resource", "owner"),
    [
        ({"subject": {"reference": "Patient/a"}}, "a"),
        ({"subject": {"reference": "Patient/a/_history/2"}}, "a"),
        ({"subject": {"reference": "Group/a"}, "patient": {"reference": "Patient/b"}}, "b"),
        ({"patient": {"reference": "Patient/b"}}, "b"),
        ({"subject": {"reference": "https://x.org/Patient/a"}}, None),
        ({"subject": [{"reference": "Patient/a"}]}, None),
        ({"resourceType": "Patient", "id": "b", "subject": {"reference": "Patient/a"}}, "b"),
        ({"resourceType": "Patient", "id": 7, "subject": {"reference": "Patient/a"}}, None),
    ],
)
def test_whose_a_resource_is(resource: Json, owner: str | None) -> None:
    owners = Owners()
    for one in ({"subject": {"reference": "Patient/a"}}, {"subject": {"reference": "Group/a"}}):
        owners.of(one)
    assert owners.of(resource) == owner
