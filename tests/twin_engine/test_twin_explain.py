"""Every value back to where it came from."""

from typing import Any

import orjson
import pytest
from support.twins import complete, everything, facts, pseudonym, twin

from mappings.vocabulary.answers import body_site_labels
from mappings.vocabulary.facts import (
    CodedValue,
    ImmunizationFact,
    Measurement,
    SetAside,
    SubjectFact,
)
from twin_engine.document.docs import example
from twin_engine.explain import Explanation, UnknownConceptError, explain, kinds, names
from twin_engine.models.registry import all_models
from twin_engine.state import Missing, Reading, Usual

A, B = pseudonym("a"), pseudonym("b")
NOW = 812


def readings(*measurements: Measurement, **more: Any) -> Explanation:
    return explain(twin(facts(measurements=measurements, **more)), "total-cholesterol")


def reading(t: int, value: float = 200.0, source: str = A, **more: Any) -> Measurement:
    return Measurement("total-cholesterol", t, value, source, **more)


def test_a_value_names_its_source_its_time_and_its_conversion() -> None:
    (value,) = readings(reading(800, 201, unit="mmol/L")).values
    assert (value.value, value.t, value.days_ago, value.use) == (201, 800, 12, "latest")
    assert (value.source.id, value.source.type, value.source.position) == (A, "Observation", 0)
    rule = value.conversion
    assert rule is not None
    assert (rule.arrived, rule.ucum, rule.offset, rule.decimals) == ("mmol/L", "mmol/L", 0, 0)
    assert rule.factor == pytest.approx(38.67, abs=0.01)
    assert rule.source.startswith("molar mass ")


def test_a_value_that_came_in_our_own_unit_was_not_converted() -> None:
    assert readings(reading(800)).values[0].conversion is None


def test_what_stood_beside_a_value_stands_beside_it_still() -> None:
    told = reading(800)._replace(flag="H", range=(float("-inf"), 200.0), site="76752008")
    (value,) = readings(told).values
    assert (value.flag, value.range) == ("H", {"high": 200})
    assert value.site == body_site_labels()["76752008"]


def test_a_spelling_that_was_not_kept_has_no_rule_to_show() -> None:
    assert readings(reading(800, unit="hands")).values[0].conversion is None


@pytest.mark.parametrize(
    ("measurement", "use"),
    [
        (reading(800), "latest"),
        (reading(800, comparator="<"), "censored"),
        (reading(800, status="preliminary"), "not-final"),
        (reading(NOW + 1), "after-now"),
    ],
)
def test_whether_a_value_is_used_and_why_not(measurement: Measurement, use: str) -> None:
    assert readings(measurement).values[0].use == use


def test_a_value_dated_after_death_is_not_used() -> None:
    dead = SubjectFact("male", pseudonym("p"), 80, deceased=True, deceased_at=700)
    assert readings(reading(710), subject=dead).values[0].use == "after-death"


def test_values_come_newest_first_and_one_moment_is_one_answer() -> None:
    found = readings(reading(700, 180), reading(800, 210), reading(800, 190, B))
    assert [(v.value, v.use) for v in found.values] == [
        (210, "latest"),
        (190, "latest"),
        (180, "earlier"),
    ]
    assert isinstance(found.latest, Reading)
    assert (found.latest.value, found.latest.n) == (200, 2)
    assert isinstance(found.usual, Usual)
    assert found.usual.n == 2


def test_what_was_set_aside_is_told_with_the_sentence_of_its_rule() -> None:
    aside = SetAside("total-cholesterol", "implausible", A, 805)
    found = readings(set_aside=[aside, aside._replace(concept="heart-rate", source=B)])
    (told,) = found.set_aside
    assert (told.source.id, told.days_ago, told.rule) == (A, 7, "implausible")
    assert told.sentence.startswith("The value lies outside what is possible")
    assert isinstance(found.latest, Missing)
    assert found.latest.reason == "set-aside"


def test_the_slices_it_would_have_come_in_are_shown() -> None:
    document = twin(completeness=complete(Observation="partial"))
    found = explain(document, "total-cholesterol")
    assert [(part["type"], part["verdict"]) for part in found.slices] == [
        ("Observation", "partial")
    ]
    assert isinstance(found.latest, Missing)
    assert found.latest.reason == "slice-incomplete"


def test_a_condition_a_medicine_and_a_procedure_are_explained_by_their_entries() -> None:
    document = twin(everything())
    condition = explain(document, "hypertension")
    assert condition.presence is not None
    assert (condition.presence.value, condition.entries[0].standing) == (True, "current")
    assert condition.entries[0].fact["code"] == "38341003"
    assert condition.entries[0].days_ago == 1212
    statin = explain(document, "statin")
    assert (statin.kind, [entry.standing for entry in statin.entries]) == (
        "medication",
        ["current"],
    )
    assert [part["type"] for part in statin.slices] == ["MedicationRequest", "MedicationStatement"]


def test_an_answer_is_a_word() -> None:
    never = CodedValue("smoking-status", 805, "never", A)
    found = explain(twin(facts(coded=[never])), "smoking-status")
    assert [(value.value, value.use, value.origin) for value in found.values] == [
        ("never", "latest", "")
    ]


def test_one_name_may_be_two_things() -> None:
    assert kinds("dialysis") == ("condition", "procedure")
    assert explain(twin(), "dialysis").kind == "condition"
    assert explain(twin(), "dialysis", "procedure").kind == "procedure"


def test_a_name_that_is_not_ours_is_answered_with_names_that_are_near() -> None:
    with pytest.raises(UnknownConceptError, match="did you mean total-cholesterol"):
        kinds("total cholesterl")
    with pytest.raises(UnknownConceptError, match=r"no such concept$"):
        kinds("xyzzy")


def test_models_that_read_it_say_whether_it_is_fresh_enough_and_was_used() -> None:
    models = tuple(all_models().values())
    found = explain(example(), "systolic-bp", models=models)
    readers = {reader.model: reader for reader in found.readers}
    assert readers["prevent"].used
    assert readers["prevent"].fresh
    assert not readers["score2"].used
    old = explain(twin(facts(measurements=[reading(-9000)])), "total-cholesterol", models=models)
    assert {reader.fresh for reader in old.readers if reader.window_days} == {False}


@pytest.mark.parametrize("kind", names())
def test_everything_that_has_a_name_can_be_explained_as_json(kind: Any) -> None:
    document = example()
    for name in names()[kind]:
        found = explain(document, name, kind)
        assert found.label
        made = orjson.loads(orjson.dumps(found.as_dict()))
        assert (made["kind"], made["name"]) == (kind, name)
        assert None not in made.values()


def test_what_a_vaccine_is_against_is_explained_by_its_doses() -> None:
    combined = ImmunizationFact(("diphtheria", "tetanus"), "cvx", "113", "completed", A, 640)
    found = explain(twin(facts(immunizations=[combined])), "tetanus")
    assert (found.kind, found.presence and found.presence.value) == ("immunization", True)
    assert [(e.standing, e.t, e.fact["code"]) for e in found.entries] == [("current", 640, "113")]
    assert [part["type"] for part in found.slices] == ["Immunization"]
