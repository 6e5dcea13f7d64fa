"""SMART scopes: what a grant covers, and the older way of saying it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.config.sections import ServerAuth
from service.fhir.scopes import as_v1, missing, parse


@pytest.mark.parametrize(
    ("asked", "granted", "lacking"),
    [
        (["system/*.rs"], ["system/*.rs"], []),
        (["system/Observation.rs"], ["system/*.read"], []),
        (["system/Observation.rs"], ["system/*.*"], []),
        (["system/*.rs"], ["system/Observation.rs"], ["system/*.rs"]),
        (["system/Device.crus"], ["system/Device.rs"], ["system/Device.cu"]),
        (["system/Device.crus"], ["system/Device.read", "system/Device.write"], []),
        (["system/Device.rs"], ["user/Device.rs"], ["system/Device.rs"]),
        (
            ["system/Observation.rs"],
            ["system/Observation.rs?category=laboratory"],
            ["system/Observation.rs"],
        ),
        (["system/Observation.rs"], [], ["system/Observation.rs"]),
        (["openid", "launch/patient"], [], []),
    ],
)
def test_what_is_not_granted(asked: list[str], granted: list[str], lacking: list[str]) -> None:
    assert missing(asked, granted) == lacking


def test_the_default_scopes_in_the_words_of_version_1() -> None:
    assert as_v1(ServerAuth().scopes) == [
        "system/*.read",
        "system/RiskAssessment.read",
        "system/RiskAssessment.write",
        "system/Device.read",
        "system/Device.write",
        "system/Provenance.read",
        "system/Provenance.write",
    ]


@given(
    st.lists(
        st.builds(
            "system/{}.{}".format,
            st.sampled_from(["*", "Observation", "Device"]),
            st.sampled_from(["r", "rs", "cud", "cruds", "read", "write", "*"]),
        )
    )
)
def test_version_1_covers_what_it_stands_for(asked: list[str]) -> None:
    assert missing(asked, as_v1(asked)) == []
    assert missing(asked, asked) == []


@given(st.text(max_size=60))
def test_anything_may_come_from_a_server(text: str) -> None:
    parse(text)
    missing([text], [text])
