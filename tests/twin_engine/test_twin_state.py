"""The state: what a person's value of something is now, and why there is none."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.twins import complete, facts, pseudonym, twin

from mappings.vocabulary.facts import (
    CodedValue,
    ConditionFact,
    FamilyFact,
    GenomicFact,
    ImagingFact,
    ImagingMeasure,
    ImmunizationFact,
    Measurement,
    MedicationFact,
    ProcedureFact,
    SetAside,
    SubjectFact,
)
from twin_engine.document import source_ids
from twin_engine.state import CodedReading, GenotypeReading, Missing, Reading, State, Usual

NOW = 812  # of every twin made here
BP = "systolic-bp"


def bp(days_ago: int, value: float = 140.0, source: str = "bp", **more: Any) -> Measurement:
    return Measurement(BP, NOW - days_ago, value, pseudonym(source), **more)


def state(
    *measurements: Measurement,
    verdict: str = "complete",
    subject: SubjectFact | None = None,
    **kinds: Any,
) -> State:
    mapped = facts(subject, measurements=measurements, **kinds)
    return State.from_document(twin(mapped, complete(Observation=verdict)))


def value(answer: Reading | Missing) -> float | str:
    return answer.value if isinstance(answer, Reading) else answer.reason


# -- latest ----------------------------------------------------------------------------------------


def test_the_newest_reading_is_the_latest_with_where_it_came_from() -> None:
    found = state(bp(400, 150, "old"), bp(11, 142, "new"))
    (new,) = [i for i, s in enumerate(source_ids(found.document)) if s == pseudonym("new")]
    assert found.latest(BP) == Reading(BP, 142, "mm[Hg]", NOW - 11, 11, (new,))


@pytest.mark.parametrize(
    ("days_ago", "within", "answer"),
    [(30, None, 140), (30, 30, 140), (31, 30, "stale"), (0, 0, 140), (1, 0, "stale")],
)
def test_a_reading_goes_stale_after_the_days_a_model_accepts(
    days_ago: int, within: int | None, answer: float | str
) -> None:
    assert value(state(bp(days_ago)).latest(BP, within)) == answer


@pytest.mark.parametrize(
    ("minutes_ago", "age_days", "answer"), [(2 * 1440, 2, 140), (2 * 1440 + 1, 2, "stale")]
)
def test_days_are_days_in_a_twin_that_counts_minutes(
    minutes_ago: int, age_days: int, answer: float | str
) -> None:
    made = twin(facts(measurements=[bp(minutes_ago)]), time_unit="min")
    found = State.from_document(made).latest(BP, within_days=2)
    assert value(found) == answer
    newest = found.newest if isinstance(found, Missing) else found
    assert newest is not None
    assert newest.age_days == age_days


def test_readings_of_the_same_day_have_no_order_and_are_averaged() -> None:
    found = state(bp(3, 150, "a"), bp(3, 140, "b"), bp(9, 100, "c")).latest(BP)
    assert isinstance(found, Reading)
    assert (found.value, found.n, len(found.sources)) == (145, 2, 2)


def test_an_average_of_measured_and_reported_is_derived() -> None:
    found = state(bp(3, 150, "a"), bp(3, 140, "b", origin="reported")).latest(BP)
    assert isinstance(found, Reading)
    assert found.origin == "derived"


def test_a_newest_censored_reading_is_not_passed_over_for_an_older_number() -> None:
    found = state(bp(300, 120), bp(3, 250, comparator=">")).latest(BP)
    assert isinstance(found, Missing)
    assert (found.reason, found.newest and found.newest.value) == ("censored", 250)


def test_a_number_of_the_same_day_outweighs_a_censored_one() -> None:
    assert value(state(bp(3, 250, "a", comparator=">"), bp(3, 254, "b")).latest(BP)) == 254


def test_a_preliminary_reading_is_not_used_but_shown() -> None:
    found = state(bp(3, 190, status="preliminary")).latest(BP)
    assert isinstance(found, Missing)
    assert (found.reason, found.newest and found.newest.status) == ("set-aside", "preliminary")
    older = state(bp(3, 190, status="preliminary"), bp(40, 130, "old"))
    assert value(older.latest(BP)) == 130


@pytest.mark.parametrize("status", ["final", "amended", "corrected"])
def test_a_final_reading_is_used_however_it_came_to_be_final(status: str) -> None:
    assert value(state(bp(3, status=status)).latest(BP)) == 140


def test_a_reading_of_the_future_is_not_known_yet() -> None:
    assert value(state(bp(-1, 190), bp(5, 130, "old")).latest(BP)) == 130


def test_a_reading_after_death_is_not_used() -> None:
    dead = SubjectFact("male", pseudonym("p"), 80, deceased=True, deceased_at=NOW - 20)
    found = state(bp(10, 190), bp(20, 130, "old"), subject=dead)
    assert value(found.latest(BP)) == 130
    assert (found.deceased, found.deceased_at) == (True, NOW - 20)


def test_a_death_known_to_the_month_cannot_judge_a_day() -> None:
    dead = SubjectFact("male", pseudonym("p"), 80, False, True, NOW - 20, "month")
    assert value(state(bp(10, 190), subject=dead).latest(BP)) == 190


ASIDE = {"set_aside": [SetAside(BP, "implausible", pseudonym("aside"), NOW - 5)]}


@pytest.mark.parametrize(
    ("verdict", "measurements", "kinds", "reason"),
    [
        ("complete", [], {}, "never-recorded"),
        ("partial", [], {}, "slice-incomplete"),
        ("unknown", [], {}, "slice-incomplete"),
        ("complete", [bp(400)], {}, "stale"),
        ("partial", [bp(400)], {}, "stale"),
        ("complete", [], ASIDE, "set-aside"),
        ("partial", [bp(400)], ASIDE, "set-aside"),
        ("complete", [bp(5, comparator="<")], ASIDE, "censored"),
    ],
)
def test_the_reason_for_no_value_is_the_most_telling_one(
    verdict: str, measurements: list[Measurement], kinds: dict[str, Any], reason: str
) -> None:
    found = state(*measurements, verdict=verdict, **kinds).latest(BP, within_days=365)
    assert isinstance(found, Missing)
    assert (found.reason, found.verdict) == (reason, verdict)
    assert (found.newest is not None) == bool(measurements)


def test_a_value_set_aside_long_ago_does_not_explain_a_missing_value_now() -> None:
    aside = {"set_aside": [SetAside(BP, "implausible", pseudonym("aside"), NOW - 900)]}
    assert value(state(**aside).latest(BP, within_days=365)) == "never-recorded"


def test_readings_are_newest_first_with_the_censored_and_without_the_preliminary() -> None:
    found = state(bp(9, 120, "a"), bp(3, 250, "b", comparator=">"), bp(1, status="preliminary"))
    assert [(r.age_days, r.comparator) for r in found.readings(BP)] == [(3, ">"), (9, "")]
    assert [r.age_days for r in found.readings(BP, preliminary=True)] == [1, 3, 9]
    assert [r.age_days for r in found.readings(BP, within_days=5)] == [3]
    assert found.readings("heart-rate") == ()


@given(st.lists(st.tuples(st.integers(0, 700), st.integers(60, 200)), min_size=1, max_size=12))
def test_the_latest_is_the_mean_of_the_newest_day(found: list[tuple[int, int]]) -> None:
    made = state(*(bp(ago, number, f"s{i}") for i, (ago, number) in enumerate(found)))
    newest = min(ago for ago, _ in found)
    numbers = [number for ago, number in found if ago == newest]
    assert value(made.latest(BP)) == pytest.approx(sum(numbers) / len(numbers))


# -- usual -----------------------------------------------------------------------------------------


def test_the_usual_level_counts_each_day_once() -> None:
    found = state(
        bp(10, 130, "a"), bp(10, 150, "b"), bp(20, 120, "c"), bp(30, 136, "d"), bp(500, 200, "e")
    ).usual(BP, within_days=90)
    assert isinstance(found, Usual)
    assert (found.value, found.n, found.age_days, len(found.sources)) == (132, 3, 10, 4)
    assert found.sd == pytest.approx(10.583, abs=0.001)  # of 140, 120, 136


def test_one_day_has_a_level_but_no_spread() -> None:
    found = state(bp(10, 130)).usual(BP, 90)
    assert isinstance(found, Usual)
    assert (found.n, found.sd) == (1, None)


def test_censored_readings_take_no_part_in_a_level_but_are_counted() -> None:
    found = state(bp(10, 130), bp(5, 250, "b", comparator=">")).usual(BP, 90)
    assert isinstance(found, Usual)
    assert (found.value, found.censored) == (130, 1)


@pytest.mark.parametrize(
    ("measurements", "reason"),
    [([], "never-recorded"), ([bp(200)], "stale"), ([bp(5, comparator="<")], "censored")],
)
def test_no_level_without_readings(measurements: list[Measurement], reason: str) -> None:
    found = state(*measurements).usual(BP, 90)
    assert isinstance(found, Missing)
    assert found.reason == reason


# -- coded -----------------------------------------------------------------------------------------


def smoking(days_ago: int, code: str, source: str = "s", **more: Any) -> CodedValue:
    return CodedValue("smoking-status", NOW - days_ago, code, pseudonym(source), **more)


@pytest.mark.parametrize(
    ("answers", "within", "expected"),
    [
        ([smoking(400, "current", "a"), smoking(10, "former", "b")], None, "former"),
        ([smoking(400, "current")], 365, "stale"),
        ([], None, "never-recorded"),
        ([smoking(10, "never", "a"), smoking(10, "current", "b")], None, "set-aside"),
        ([smoking(10, "never", "a"), smoking(10, "never", "b")], None, "never"),
        ([smoking(10, "never", status="preliminary")], None, "set-aside"),
        ([smoking(-3, "current", "a"), smoking(10, "never", "b")], None, "never"),
    ],
)
def test_a_coded_answer(answers: list[CodedValue], within: int | None, expected: str) -> None:
    found = state(coded=answers).coded("smoking-status", within)
    assert (found.code if isinstance(found, CodedReading) else found.reason) == expected


# -- presence --------------------------------------------------------------------------------------

VERDICTS = ("complete", "partial", "unknown")


def condition(clinical: str = "active", verification: str = "confirmed", **more: Any) -> Any:
    return ConditionFact(
        "hypertension", "snomed", "38341003", clinical, verification, pseudonym("c"), **more
    )


RESOLVED, SUSPECTED = condition("resolved"), condition("active", "provisional")
REFUTED = condition("active", "refuted")
ACTIVE = condition(onset=-400)


@pytest.mark.parametrize(
    ("entries", "verdict", "expected"),
    [
        # what the record says      how complete   (now, ever, reason)
        ([ACTIVE], "complete", (True, True, "recorded")),
        ([ACTIVE], "partial", (True, True, "recorded")),
        ([ACTIVE], "unknown", (True, True, "recorded")),
        ([RESOLVED], "complete", (False, True, "not-current")),
        ([RESOLVED], "partial", (None, True, "slice-incomplete")),
        ([RESOLVED], "unknown", (None, True, "slice-incomplete")),
        ([], "complete", (False, False, "declared-absent")),
        ([], "partial", (None, None, "slice-incomplete")),
        ([], "unknown", (None, None, "slice-incomplete")),
        ([SUSPECTED], "complete", (None, None, "unconfirmed")),
        ([SUSPECTED], "partial", (None, None, "unconfirmed")),
        ([SUSPECTED, RESOLVED], "complete", (None, True, "unconfirmed")),
        ([SUSPECTED, ACTIVE], "complete", (True, True, "recorded")),
        ([REFUTED], "complete", (False, False, "declared-absent")),
        ([REFUTED], "partial", (None, None, "slice-incomplete")),
        ([condition("remission")], "complete", (False, True, "not-current")),
        ([condition("relapse")], "complete", (True, True, "recorded")),
        ([condition("")], "complete", (True, True, "recorded")),
        ([condition("", "")], "complete", (True, True, "recorded")),
        ([condition("", abatement=NOW)], "complete", (False, True, "not-current")),
        ([condition("active", abatement=NOW - 9)], "complete", (False, True, "not-current")),
        ([condition("active", abatement=NOW + 9)], "complete", (True, True, "recorded")),
        ([condition("active", onset=NOW + 9)], "complete", (False, False, "declared-absent")),
    ],
)
def test_a_condition(entries: list[Any], verdict: str, expected: tuple[Any, ...]) -> None:
    made = twin(facts(conditions=entries), complete(Condition=verdict))
    found = State.from_document(made).condition("hypertension")
    assert found[:3] == expected
    assert bool(found.sources) == (expected[1] is True or expected[2] == "unconfirmed")


def test_a_condition_names_its_current_sources_and_its_earliest_onset() -> None:
    others = [
        condition(onset=-90)._replace(source=pseudonym("later")),
        condition("resolved", onset=-900)._replace(source=pseudonym("past")),
    ]
    made = twin(facts(conditions=[ACTIVE, *others]))
    found = State.from_document(made).condition("hypertension")
    ids = source_ids(made)
    assert {ids[src] for src in found.sources} == {pseudonym("c"), pseudonym("later")}
    assert found.since == -400


def test_several_groups_are_asked_for_at_once() -> None:
    found = State.from_document(twin(facts(conditions=[ACTIVE])))
    assert found.condition("mi", "hypertension").value is True
    assert found.condition("mi").value is False


def medication(status: str = "active", kind: str = "request", **more: Any) -> MedicationFact:
    return MedicationFact(("statin",), (), "rxnorm", "36567", status, pseudonym("m"), kind, **more)


@pytest.mark.parametrize(
    ("fact", "expected"),
    [
        (medication(), (True, True, "recorded")),
        (medication(kind="statement"), (True, True, "recorded")),
        (medication(start=NOW + 1), (False, False, "declared-absent")),
        (medication(end=NOW - 1), (True, True, "recorded")),  # active is the prescriber's word
        (medication("completed", end=NOW + 30), (True, True, "recorded")),
        (medication("completed", end=NOW - 1), (False, True, "not-current")),
        (medication("completed"), (False, True, "not-current")),
        (medication("stopped"), (False, True, "not-current")),
        (medication("stopped", end=NOW), (False, True, "not-current")),
        (medication("on-hold"), (False, True, "not-current")),
        (medication("unknown"), (None, None, "unconfirmed")),
        (medication("draft"), (False, False, "declared-absent")),
        (medication("cancelled"), (False, False, "declared-absent")),
        (medication("intended", "statement"), (False, False, "declared-absent")),
        (medication("not-taken", "statement"), (False, False, "declared-absent")),
    ],
)
def test_a_medication(fact: MedicationFact, expected: tuple[Any, ...]) -> None:
    found = State.from_document(twin(facts(medications=[fact]))).medication("statin")
    assert found[:3] == expected


REFUSED = {"type": "MedicationStatement", "verdict": "unknown", "reason": "refused"}
NOT_OFFERED = REFUSED | {"reason": "not-supported"}


@pytest.mark.parametrize("requests", VERDICTS)
@pytest.mark.parametrize("statements", VERDICTS)
def test_no_medication_needs_both_slices(requests: str, statements: str) -> None:
    answered = complete(MedicationRequest=requests, MedicationStatement=statements)
    found = State.from_document(twin(completeness=answered)).medication("statin")
    both = requests == statements == "complete"
    assert found.value is (False if both else None)
    assert found.reason == ("declared-absent" if both else "slice-incomplete")


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        ([{"type": "MedicationRequest", "verdict": "complete"}, NOT_OFFERED], False),
        ([{"type": "MedicationRequest", "verdict": "complete"}, REFUSED], None),
        ([{"type": "MedicationRequest", "verdict": "partial"}, NOT_OFFERED], None),
        ([NOT_OFFERED | {"type": "MedicationRequest"}, NOT_OFFERED], None),
        ([{"type": "MedicationRequest", "verdict": "complete"}], None),  # the other: never asked
        ([], None),
    ],
)
def test_a_type_the_server_does_not_have_hides_nothing(
    slices: list[dict[str, Any]], expected: bool | None
) -> None:
    made = twin(completeness={"basis": "server", "slices": slices})
    assert State.from_document(made).medication("statin").value is expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("completed", (True, True, "recorded")),
        ("in-progress", (True, True, "recorded")),
        ("not-done", (False, False, "declared-absent")),
        ("preparation", (False, False, "declared-absent")),
        ("stopped", (None, None, "unconfirmed")),
        ("unknown", (None, None, "unconfirmed")),
    ],
)
def test_a_procedure(status: str, expected: tuple[Any, ...]) -> None:
    fact = ProcedureFact("pci", "snomed", "415070008", status, pseudonym("pci"), start=-90)
    found = State.from_document(twin(facts(procedures=[fact]))).procedure("pci")
    assert found[:3] == expected


def test_family_history_by_relationship() -> None:
    mother = FamilyFact("MTH", "diabetes-any", "snomed", "73211009", pseudonym("mother"))
    found = State.from_document(twin(facts(family=[mother])))
    assert found.family("diabetes-any").value is True
    assert found.family("diabetes-any", ["MTH", "FTH"]).value is True
    assert found.family("diabetes-any", ["SIS"]).value is False
    unasked = twin(facts(family=[mother]), complete(FamilyMemberHistory="unknown"))
    assert State.from_document(unasked).family("diabetes-any", ["SIS"]).value is None


# -- completeness and subject ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["complete"], "complete"),
        (["complete", "complete"], "complete"),
        (["complete", "partial"], "partial"),
        (["complete", "unknown"], "unknown"),
        (["unknown", "partial"], "partial"),
        ([], "unknown"),
    ],
)
def test_a_type_is_complete_when_all_its_slices_are(verdicts: list[str], expected: str) -> None:
    slices = [{"type": "Condition", "verdict": verdict} for verdict in verdicts]
    made = twin(completeness={"basis": "server", "slices": slices})
    assert State.from_document(made).completeness("Condition") == expected


def test_the_subject() -> None:
    old = SubjectFact("female", pseudonym("p"), 90, age_top_coded=True)
    found = state(subject=old)
    assert (found.sex, found.age, found.age_top_coded, found.deceased) == (
        "female",
        90,
        True,
        False,
    )
    nobody = state()
    assert (nobody.sex, nobody.age, nobody.age_top_coded) == ("unknown", None, False)
    assert (nobody.now, nobody.time_unit) == (NOW, "d")


# -- what could not be read ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("precision", "days_ago", "answer"),
    [
        ("day", 365, 140),
        ("month", 334, 140),
        ("month", 335, "stale"),
        ("year", 0, "stale"),  # some day of this year, and so perhaps 366 days ago
    ],
)
def test_a_time_known_to_the_month_or_year_is_taken_to_be_as_old_as_it_can_be(
    precision: str, days_ago: int, answer: float | str
) -> None:
    assert value(state(bp(days_ago, precision=precision)).latest(BP, 365)) == answer


UNRESOLVED = MedicationFact((), (), "rxnorm", "999999", "active", pseudonym("unresolved"))


@pytest.mark.parametrize(
    ("fact", "expected"),
    [
        (UNRESOLVED, (None, None, "unreadable")),
        (UNRESOLVED._replace(status="unknown"), (None, None, "unreadable")),
        (UNRESOLVED._replace(status="stopped"), (False, False, "declared-absent")),
        (UNRESOLVED._replace(start=NOW + 1), (False, False, "declared-absent")),
        (UNRESOLVED._replace(ingredients=("simvastatin",)), (False, False, "declared-absent")),
    ],
)
def test_a_current_medicine_nobody_could_resolve_may_be_the_one_asked_for(
    fact: MedicationFact, expected: tuple[Any, ...]
) -> None:
    found = State.from_document(twin(facts(medications=[fact]))).medication("insulin")
    assert found[:3] == expected


@pytest.mark.parametrize(
    ("unmapped", "expected"),
    [
        (("Condition", "", "", 1), "unreadable"),  # text only
        (("Condition", "local", "x-1", 1), "unreadable"),
        (("Condition", "snomed", "444814009", 1), "declared-absent"),  # known to be something else
        (("Observation", "", "", 1), "declared-absent"),
    ],
)
def test_a_diagnosis_without_a_readable_code_may_be_the_one_asked_for(
    unmapped: tuple[str, str, str, int], expected: str
) -> None:
    found = State.from_document(twin(facts(unmapped=[unmapped])))
    assert found.condition("hypertension").reason == expected


def test_a_medicine_without_a_code_is_judged_by_its_status_where_that_is_known() -> None:
    stopped = MedicationFact((), (), "", "", "stopped", pseudonym("stopped"))
    uncoded = ("MedicationRequest", "", "", 1)
    known = State.from_document(twin(facts(medications=[stopped], unmapped=[uncoded])))
    assert known.medication("statin").value is False
    unknown = State.from_document(twin(facts(unmapped=[uncoded])))
    assert unknown.medication("statin").value is None


# -- genes -------------------------------------------------------------------------------------


def gene(source: str, *alleles: str, **more: Any) -> GenomicFact:
    return GenomicFact("CYP2C19", pseudonym(source), alleles, **more)


def genotype(*facts_: GenomicFact, **verdicts: str) -> GenotypeReading | Missing:
    made = twin(facts(genomics=facts_), complete(**verdicts))
    return State.from_document(made).genotype("CYP2C19")


def test_a_genotype_does_not_age_and_may_stand_beside_its_phenotype() -> None:
    found = genotype(
        gene("a", "*1", "*2", time=-9000), gene("b", phenotype="intermediate-metabolizer")
    )
    assert isinstance(found, GenotypeReading)
    assert (found.diplotype, found.phenotype) == (("*1", "*2"), "intermediate-metabolizer")
    assert (found.t, len(found.sources)) == (-9000, 2)


@pytest.mark.parametrize(
    ("given_", "reason"),
    [
        ((), "never-recorded"),
        ((gene("a", "*1", "*2"), gene("b", "*1", "*1")), "set-aside"),
        ((gene("a", phenotype="poor-metabolizer"), gene("b", phenotype="rapid-metabolizer")),
         "set-aside"),
        ((gene("a", "*1", "*2", status="preliminary"),), "set-aside"),
        ((gene("a", "*1", "*2", time=900),), "set-aside"),
    ],
)  # fmt: skip
def test_a_genotype_that_contradicts_itself_or_is_not_final_is_none(
    given_: tuple[GenomicFact, ...], reason: str
) -> None:
    found = genotype(*given_)
    assert isinstance(found, Missing)
    assert found.reason == reason


def test_no_genotype_in_an_incomplete_record_may_be_one_not_seen() -> None:
    found = genotype(Observation="partial")
    assert isinstance(found, Missing)
    assert found.reason == "slice-incomplete"


# -- imaging ---------------------------------------------------------------------------------------


def study(name: str, time: int | None, *measured: str, **more: Any) -> ImagingFact:
    made = tuple(ImagingMeasure("tumour-size", pseudonym(one)) for one in measured)
    fact = ImagingFact(("CT",), (), "available", pseudonym(name), time, measurements=made)
    return fact._replace(**more)


def test_studies_are_newest_first_with_what_was_measured_on_them() -> None:
    sizes = [
        Measurement("tumour-size", 640, 14.0, pseudonym("s1")),
        Measurement("tumour-size", 700, 17.0, pseudonym("s2")),
        Measurement("tumour-size", 700, 2.0, pseudonym("s3"), comparator="<"),
    ]
    found = State(
        twin(
            facts(measurements=sizes, imaging=[study("a", 640, "s1"), study("b", 700, "s2", "s3")])
        )
    ).studies("CT", "MR")
    assert [(s.t, [m.value for m in s.measurements]) for s in found] == [(700, [17]), (640, [14])]
    assert found[0].age_days == 112


@pytest.mark.parametrize(
    "fact",
    [
        study("a", None),
        study("a", 813),
        study("a", 640, status="registered"),
        study("a", 640, status="cancelled"),
        study("a", 640, modalities=("MR",)),
        study("a", 400),
    ],
    ids=["undated", "of the future", "not done yet", "cancelled", "another kind", "too old"],
)
def test_a_study_that_says_nothing_about_now(fact: ImagingFact) -> None:
    assert State(twin(facts(imaging=[fact]))).studies("CT", within_days=300) == ()


# -- vaccines --------------------------------------------------------------------------------------


FLU = ImmunizationFact(("influenza",), "cvx", "140", "completed", pseudonym("flu"), NOW - 100)


@pytest.mark.parametrize(
    ("doses", "verdict", "answer"),
    [
        ([FLU], "complete", (True, "recorded")),
        ([FLU._replace(status="not-done")], "complete", (False, "declared-absent")),
        ([FLU._replace(time=NOW + 1)], "complete", (False, "declared-absent")),
        ([FLU._replace(against=("zoster",))], "partial", (None, "slice-incomplete")),
        ([], "complete", (False, "declared-absent")),
    ],
)
def test_a_vaccine_was_given_or_the_record_is_asked_why_not(
    doses: list[ImmunizationFact], verdict: str, answer: tuple[bool | None, str]
) -> None:
    made = State(twin(facts(immunizations=doses), complete(Immunization=verdict)))
    found = made.immunization("influenza")
    assert (found.value, found.reason) == answer
