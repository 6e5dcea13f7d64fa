"""What the views make of real twins: numbers first, refusals in full, nothing left out."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from pages_site import AWKWARD, DIED, FULL, PARTIAL, REFUSED, STALE, Site
from support.twins import facts, pseudonym, twin

from mappings.to_fhir.twin_bundle import ips_bundle
from mappings.vocabulary.facts import ImmunizationFact, Measurement
from service.pages import (
    assessed,
    clinic,
    explained,
    lacking,
    model_cards,
    plainly,
    record,
    signals,
)
from service.patient.named import named
from service.web.ports import Expiry
from twin_engine.document import source_ids
from twin_engine.explain import explain, kinds
from twin_engine.now import value_now
from twin_engine.state import State

Documents = Callable[[str], Mapping[str, Any]]


@pytest.fixture(scope="module")
def cards(site: Site) -> Mapping[str, Any]:
    with site.app.app_context():
        return model_cards.cards(site.service.document(twin) for twin in site.twins.values())


def shown(site: Site, document: Mapping[str, Any]) -> list[assessed.Assessment]:
    with site.app.app_context():
        return assessed.assessments(document, model_cards.cards([document]))


def by_id(found: list[assessed.Assessment], name: str) -> assessed.Assessment:
    return next(item for item in found if item.id == name)


@pytest.mark.parametrize("patient", [FULL, PARTIAL, REFUSED, STALE, DIED, AWKWARD])
def test_every_answer_and_every_refusal_is_shown(site: Site, document: Documents, patient) -> None:
    twin = document(patient)
    for item in twin["assessments"]:
        view = by_id(shown(site, twin), item["model"]["id"])
        assert sum(len(h.results) for h in view.horizons) == len(item["results"])
        reasons = {(r["reason"], r.get("input")) for r in item["refusals"]}
        assert len(view.refusals) == len(reasons)


def test_two_time_spans_are_never_mixed(site: Site, document: Documents) -> None:
    prevent = by_id(shown(site, document(FULL)), "prevent")
    assert [h.title for h in prevent.horizons] == ["Within 10 years", "Within 30 years"]
    assert all(len(h.results) == 3 for h in prevent.horizons)


def test_a_number_stands_with_its_range_and_its_band(site: Site, document: Documents) -> None:
    result = by_id(shown(site, document(FULL)), "prevent").horizons[0].results[0]
    assert result.unit == "%"
    assert result.value.isdigit()
    low, high = result.range.removesuffix(" % if measured again").split(" to ")
    assert float(low) <= float(result.value) <= float(high)
    assert "AHA/ACC" in result.band
    assert "7.5 %" in result.band


def test_an_unknown_input_that_moves_the_result_says_so(site: Site, document: Documents) -> None:
    for horizon in by_id(shown(site, document(FULL)), "prevent").horizons:
        for result in horizon.results:
            notes = {c.title: c.note for c in result.contributions}
            assert notes.get("Social deprivation index", "not known").startswith("not known")
            assert notes.get("Systolic blood pressure", "") == ""


def test_contributions_beyond_the_first_are_added_up() -> None:
    shares = [{"input": "age", "share": s} for s in (0.3, -0.2, 0.2, 0.1, 0.1, 0.05, 0.03, -0.02)]
    found = list(assessed._contributions(shares, {"age"}))
    assert len(found) == assessed.SHOWN + 1
    assert (found[-1].title, found[-1].share) == ("2 others together", "+1 %")
    assert found[1].direction == "lowers"


def test_a_stale_input_is_shown_with_its_age_and_the_limit(site: Site, document: Documents) -> None:
    prevent = by_id(shown(site, document(STALE)), "prevent")
    old = [row for row in prevent.inputs if row.use.startswith("too old")]
    assert old
    assert all(row.when.endswith("before") and "accepted" in row.use for row in old)


def test_a_missing_input_is_not_given_a_value(site: Site, document: Documents) -> None:
    prevent = by_id(shown(site, document(PARTIAL)), "prevent")
    rows = {row.title: row for row in prevent.inputs}
    assert rows["Total cholesterol"].value == "not in the record"
    assert not rows["Total cholesterol"].used
    assert prevent.helps


def test_the_headline_is_a_number_or_the_reason(document: Documents, cards) -> None:
    text, refused = clinic.headline(document(FULL), cards)
    assert text.startswith("Total cardiovascular disease in 10 years: ")
    assert not refused
    text, refused = clinic.headline(document(DIED), cards)
    assert (text, refused) == ("The person has died.", True)


def rows(document: Mapping[str, Any]) -> dict[str, signals.Signal]:
    return {s.id: s for section in signals.sections(document) for s in section.signals}


@pytest.mark.parametrize("patient", [FULL, AWKWARD, DIED])
def test_every_reading_is_in_the_strip_of_its_signal(document: Documents, patient: str) -> None:
    twin = document(patient)
    found = rows(twin)
    assert found.keys() == twin["signals"].keys()
    for concept, columns in twin["signals"].items():
        assert found[concept].count == len(columns["t"])
        assert found[concept].strip.count('class="mark') == len(columns["t"])


def test_every_value_set_aside_is_counted_once(document: Documents) -> None:
    twin = document(AWKWARD)
    beside = sum(
        int(remark.partition(" set aside")[0])
        for signal in rows(twin).values()
        for remark in signal.remarks
        if remark.endswith("set aside")
    )
    apart = sum(item.count for _, _, item in signals.unsigned_set_aside(twin))
    assert beside + apart == len(twin["quality"]["setAside"]) > 0


def test_a_latest_value_that_no_model_may_use_says_why(document: Documents) -> None:
    """A urine ratio below its limit."""
    ratio = rows(document(AWKWARD))["urine-albumin-creatinine-ratio"]
    assert ratio.latest.startswith("<")
    assert any("only known to lie below or above a limit" in remark for remark in ratio.remarks)


def test_a_tag_is_only_what_repetition_does_not_explain(document: Documents) -> None:
    for patient in (FULL, AWKWARD, DIED):
        state = State(document(patient))
        for concept, row in rows(document(patient)).items():
            now = value_now(state, concept)
            judged = now.basis is not None and (now.change or now.trend)
            assert judged or row.moved == ""


# -- where a value comes from ----------------------------------------------------------------------


def explained_of(document: Mapping[str, Any], concept: str) -> explained.Explained:
    return explained.explained(explain(document, concept), document, {})


@pytest.mark.parametrize("patient", [FULL, AWKWARD])
def test_every_fact_leads_to_its_source_unit_conversion_and_slice(
    document: Documents, patient: str
) -> None:
    twin = document(patient)
    ids = source_ids(twin)
    for concept, columns in twin["signals"].items():
        one = explained_of(twin, concept)
        assert len(one.facts) == len(columns["t"]) == one.chart.count('class="mark')
        for fact in one.facts:
            told = dict(fact.lines)
            assert fact.source.pseudonym in ids
            assert {"Unit it came in", "Conversion", "Completeness there"} <= told.keys()


@pytest.mark.parametrize(
    ("unit", "arrived", "conversion"),
    [
        ("mmol/L", "mmol/L", "× 38.6664 gives mg/dL; kept with 0 decimals"),
        ("mg/dl", "mg/dl", "the same unit, written mg/dl; kept with 0 decimals"),
        ("", "mg/dL, as it is kept", "none"),
        ("hands", "another spelling, which was not kept", "done when the record was read"),
    ],
)
def test_a_conversion_is_shown_with_its_factor(unit: str, arrived: str, conversion: str) -> None:
    reading = Measurement("total-cholesterol", 800, 201, pseudonym("a"), unit=unit)
    made = twin(facts(measurements=[reading]))
    (fact,) = explained_of(made, "total-cholesterol").facts
    told = dict(fact.lines)
    assert told["Unit it came in"] == arrived
    assert told["Conversion"].startswith(conversion[:20])
    assert ("Rule from" in told) is (unit in ("mmol/L", "mg/dl"))


def test_censored_and_set_aside_values_are_shown_as_such(document: Documents) -> None:
    twin = document(AWKWARD)
    found = [explained_of(twin, concept) for concept in twin["signals"]]
    censored = [fact for one in found for fact in one.facts if fact.value.startswith(("<", ">"))]
    assert censored
    assert all("below or above a limit" in fact.use for fact in censored)
    crosses = sum(one.chart.count('class="aside"') for one in found)
    assert crosses == sum(len(one.set_aside) for one in found) > 0


@pytest.mark.parametrize("patient", [FULL, PARTIAL, REFUSED, STALE])
def test_every_input_that_rests_on_a_fact_leads_to_it(
    site: Site, document: Documents, patient: str
) -> None:
    """The link of an input goes to a page that has its anchor."""
    twin = document(patient)
    for item in shown(site, twin):
        for row in item.inputs:
            if row.anchor:
                anchors = {
                    fact.source.anchor
                    for kind in kinds(row.concept)
                    for fact in explained.explained(
                        explain(twin, row.concept, kind), twin, {}
                    ).facts
                }
                assert row.anchor in anchors, row.title


def test_what_is_missing_names_the_models_that_asked(site: Site, document: Documents) -> None:
    twin = document(PARTIAL)
    with site.app.app_context():
        found = lacking.lacking(twin, model_cards.cards([twin]))
    missing = {name for item in twin["assessments"] for name in item["missing"]}
    assert len(found) >= len(missing) > 0
    assert [lack.helps for lack in found] == sorted((x.helps for x in found), reverse=True)
    assert all(lack.models for lack in found)


# -- until when ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "past", "until"),
    [
        (Expiry(40, "shelf-life"), "", "current for another 40 days"),
        (Expiry(-3, "shelf-life"), "Past its shelf life by 3 days.", ""),
        (
            Expiry(-1, "input-too-old", "systolic-bp"),
            "No longer current: Systolic blood pressure is older than the model accepts.",
            "",
        ),
        (None, "", ""),
    ],
)
def test_an_assessment_says_when_it_is_no_longer_current(
    document: Documents, end: Expiry | None, past: str, until: str
) -> None:
    item = document(FULL)["assessments"][0]
    view = assessed.assessment(item, document(FULL), {}, end)
    assert (view.past, view.until) == (past, until)


def test_a_run_that_finds_nothing_new_renews_what_is_current(
    site: Site, document: Documents
) -> None:
    twin, about = document(FULL), site.service.versions(site.twins[FULL])[0]
    old = replace(about, created=about.created - timedelta(days=500))
    assert not site.service.expiries(old, twin)["prevent"].past
    never_run = replace(old, pseudonym="Z" * 22)
    assert site.service.expiries(never_run, twin)["prevent"].past


# -- completeness and the record -------------------------------------------------------------------


def sliced(*slices: dict[str, Any]) -> dict[str, Any]:
    return {"completeness": {"basis": "server", "slices": list(slices)}}


def test_completeness_is_one_sentence_with_what_is_missing() -> None:
    whole = {"type": "Observation", "verdict": "complete"}
    lost = {"type": "Condition", "verdict": "partial", "reason": "timed-out"}
    absent = {"type": "MedicationStatement", "verdict": "unknown", "reason": "not-supported"}
    assert record.completeness(sliced(whole)) == (
        True,
        "Everything that was asked for was answered.",
    )
    assert record.completeness(sliced(whole, lost)) == (
        False,
        "Not complete: conditions (the server did not answer in time).",
    )
    ok, text = record.completeness(sliced(whole, absent))
    assert ok
    assert text.endswith("Not offered by the server: medication statements.")


def test_the_questions_are_shown_as_they_were_put() -> None:
    asked = {"type": "Condition", "verdict": "complete", "asked": ["Condition?patient&_count"]}
    older = {"type": "Observation", "verdict": "complete"}
    assert [s.asked for s in record.slices(sliced(asked, older))] == [asked["asked"], ()]


def test_one_entry_of_the_record_is_one_line(document: Documents) -> None:
    twin = document(REFUSED)
    sources = {entry["src"] for entry in twin["conditions"]}
    assert len(record.conditions(twin)) == len(sources) < len(twin["conditions"])


def test_no_date_is_told_to_the_clinician() -> None:
    now = datetime(2031, 3, 9, 12, tzinfo=UTC)
    assert record.since(now - timedelta(hours=1), now) == "today"
    assert record.since(now - timedelta(days=1), now) == "yesterday"
    assert record.since(now - timedelta(days=20), now) == "20 days ago"


# -- the patient's words ---------------------------------------------------------------------------


def frequencies(document: Mapping[str, Any], cards: Mapping[str, Any]) -> list[plainly.Answer]:
    calculators = plainly.calculators(document, cards)
    return [a for c in calculators for b in c.blocks for a in b.answers if a.picture]


def test_natural_frequencies_with_both_sides_and_a_range(document: Documents, cards) -> None:
    answers = frequencies(document(FULL), cards)
    assert len(answers) == 6
    for answer in answers:
        assert answer.sentence.startswith("Think of 100 people with values like yours. About ")
        assert " of them will not." in answer.other_side
        assert "of 100." in answer.range


def test_below_one_percent_the_page_counts_by_the_thousand(document: Documents, cards) -> None:
    twin = dict(document(FULL))
    small = {"outcome": "stroke", "horizonYears": 10, "value": 0.004, "unit": "1"}
    item = dict(twin["assessments"][0], results=[small])
    twin["assessments"] = [*twin["assessments"], item]
    answers = frequencies(twin, cards)
    assert all("of 1000 people" in str(a.picture) for a in answers)
    assert any("About 4 of them" in a.sentence for a in answers)


def test_a_refusal_is_explained_in_everyday_words(document: Documents, cards) -> None:
    refused = [r for c in plainly.calculators(document(REFUSED), cards) for r in c.refused]
    assert refused
    assert not any("{" in r.sentence for r in refused)
    assert any(
        "your record says you have, or had, an illness" in r.sentence.lower() for r in refused
    )


def test_vaccines_come_newest_first_with_their_dose_and_what_was_not_given() -> None:
    given = ImmunizationFact(
        ("hepatitis-b",), "cvx", "45", "completed", pseudonym("b"), 500, dose=2, doses=3
    )
    missed = ImmunizationFact(("influenza",), "cvx", "140", "not-done", pseudonym("f"), 640)
    found = record.vaccines(twin(facts(immunizations=[given, missed])))
    assert [(item.title, item.state, item.active) for item in found] == [
        ("Influenza", "not given", False),
        ("Hepatitis B", "dose 2 of 3", True),
    ]
    assert all(item.when and item.code and item.concept for item in found)


def test_what_the_source_said_besides_stands_with_its_value() -> None:
    told = Measurement(
        "systolic-bp", 801, 148.0, pseudonym("a"),
        flag="H", range=(90.0, 140.0), site="76752008", method="31813000",
    )  # fmt: skip
    (fact,) = explained_of(twin(facts(measurements=[told])), "systolic-bp").facts
    lines = dict(fact.lines)
    assert lines["The source called it"] == "H"
    assert lines["Reference range of the source"] == "90 to 140 mmHg"
    assert lines["How it was measured"] == "oscillometry"
    assert lines["Where on the body"]


def test_a_vaccine_has_its_date_in_the_summary_with_a_name() -> None:
    """Without one it says in words how long ago it was: R4 wants one or the other."""
    given = ImmunizationFact(("influenza",), "cvx", "140", "completed", pseudonym("f"), 640)
    document = twin(facts(immunizations=[given]))
    written = datetime(2031, 2, 3, tzinfo=UTC)
    patient = {"resourceType": "Patient", "id": "p", "birthDate": "1970-01-01"}
    made = named(ips_bundle(document, {}, written), patient, document, written, written)
    (dose,) = (
        entry["resource"]
        for entry in made["entry"]
        if entry["resource"]["resourceType"] == "Immunization"
    )
    assert dose["occurrenceDateTime"] == "2032-11-04"
    assert "occurrenceString" not in dose
    Bundle.model_validate(made)
