"""Policies in words: for the officer who has to answer for them."""

from pathlib import Path

import pytest

from privacy.docs import hipaa
from privacy.errors import PolicyError
from privacy.explain import HIPAA, MEANING, categories, differences, explain, leaves
from privacy.policy import FITS, Verdict, load_policy

SAFE_HARBOR = load_policy("safe-harbor")
ROOT = Path(__file__).parents[2]


def test_a_place_is_explained_with_its_rule_its_reason_and_its_identifier() -> None:
    found = explain(SAFE_HARBOR, "Patient.telecom")
    assert (found.action, found.categories) == ("drop", ("D",))
    assert found.reason == "phone, fax, e-mail"
    assert found.rule == "[elements.Patient] telecom"


def test_an_inherited_rule_is_named_where_it_stands() -> None:
    assert explain(SAFE_HARBOR, "Observation.id").rule == "[elements.Resource] id"
    deep = explain(SAFE_HARBOR, "Observation.component.valueQuantity.value")
    assert (deep.action, deep.rule) == ("number", "[elements.Quantity] value")


def test_below_what_is_dropped_the_dropping_rule_answers() -> None:
    assert explain(SAFE_HARBOR, "Patient.name.family").path == "Patient.name"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("Patient", "give a path"),
        ("Coverage.id", "types in scope"),
        ("Observation.valueQuantty", "did you mean .*valueQuantity"),
        ("Observation.zzz", "no such element below Observation$"),
    ],
)
def test_a_misspelled_path_is_helped(path: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        explain(SAFE_HARBOR, path)


def test_every_verdict_has_words() -> None:
    assert MEANING.keys() == FITS.keys() | {"keep", "drop", "refuse"}


def test_tags_are_read_where_there_are_any() -> None:
    assert categories(Verdict.parse("drop: [G,H] identifiers")) == ("G", "H")
    assert categories(Verdict.parse("drop: no input uses it")) == ()


def test_differences_name_what_is_decided_otherwise_and_nothing_else() -> None:
    found = {
        d.what: (d.before, d.after) for d in differences(SAFE_HARBOR, load_policy("date-shift"))
    }
    assert found.keys() == {
        "unit of time", "time in the ledger", "dates in files", "makes twins", "Patient.address",
    }  # fmt: skip
    assert found["Patient.address"] == ("drop: [B] address", "area")
    assert differences(SAFE_HARBOR, SAFE_HARBOR) == []


def test_every_category_is_in_the_table_with_a_rule_or_a_reason() -> None:
    rows = [
        line for line in hipaa(SAFE_HARBOR).splitlines() if line[:3] in {f"| {x}" for x in HIPAA}
    ]
    assert len(rows) == 18
    assert all(len(row.split("|")[4].strip()) > 10 for row in rows)


def test_the_table_of_identifiers_is_not_stale() -> None:
    page = (ROOT / "docs" / "hipaa.md").read_text(encoding="utf-8")
    assert page == hipaa(SAFE_HARBOR), "run: python -m privacy.docs"


def test_every_place_is_walked() -> None:
    assert sum(1 for _ in leaves(SAFE_HARBOR)) > 2000
