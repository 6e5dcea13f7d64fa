"""Twins as tables: nothing lost, nothing invented; read back by engines nobody here wrote."""

import csv
import io
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.twins import everything, facts, pseudonym, twin

from mappings.vocabulary.facts import (
    AllergyFact,
    ConditionFact,
    ImmunizationFact,
    Measurement,
    MedicationFact,
    ProcedureFact,
    SetAside,
    SubjectFact,
)
from service.cli.export import as_csv
from twin_engine.document.docs import example
from twin_engine.document.lineage import ENTRIES
from twin_engine.tables import (
    LONG,
    OmopError,
    columns,
    long_rows,
    omop_tables,
    wide_rows,
)
from twin_engine.tables.omop import Row

A, B = pseudonym("a"), pseudonym("b")
WOMAN = SubjectFact("female", pseudonym("p"), 54)
NOW = 812


# -- flat ------------------------------------------------------------------------------------------


def inside(study: dict[str, Any]) -> int:
    """Series, parameters (both ends of a range) and measurements of a study."""
    told = [p for s in study["series"] for p in s.get("parameters", {}).values()]
    ends = sum(len(p.get("v") or p.get("words") or [p["given"]]) for p in told)
    return len(study["series"]) + ends + len(study["measurements"])


def test_every_fact_has_its_row() -> None:
    document = example()
    counted = sum(len(c["t"]) for part in ("signals", "coded") for c in document[part].values())
    counted += sum(len(document[part]) for part in ENTRIES) + len(document["quality"]["setAside"])
    counted += sum(map(inside, document["imaging"]))
    rows = list(long_rows([document]))
    assert len(rows) == counted
    assert {row.source for row in rows} <= {i for s in document["sources"] for i in s["ids"]}


def test_a_reading_with_all_that_is_known_of_it() -> None:
    reading = Measurement(
        "total-cholesterol", 800, 201.0, A, "month", "<", "amended", "derived", "mmol/L"
    )
    (row,) = long_rows([twin(facts(measurements=[reading]))])
    assert (row.kind, row.concept, row.label) == (
        "signal",
        "total-cholesterol",
        "Total cholesterol",
    )
    assert (row.system, row.code, row.unit) == ("loinc", "2093-3", "mg/dL")
    assert (row.t, row.days_before_now, row.precision) == (800, 12, "month")
    assert (row.value, row.comparator, row.came_in) == (201, "<", "mmol/L")
    assert (row.status, row.origin) == ("amended", "derived")
    assert (row.source, row.source_type) == (A, "Observation")


def test_a_study_has_rows_for_its_series_its_acquisition_and_its_measurements() -> None:
    document = twin(everything())
    found = [row for row in long_rows([document]) if row.kind not in ("signal", "coded")]
    of = {kind: [row for row in found if row.kind == kind] for kind in {r.kind for r in found}}
    assert [(r.system, r.code, r.t) for r in of["imaging"]] == [("dcm", "CT", 640)]
    assert [(r.label, r.value, r.unit) for r in of["series"]] == [("Thorax", 120, "{image}")]
    told = {(r.concept, r.value, r.unit, r.answer) for r in of["acquisition"]}
    assert told == {
        ("contrast", None, None, "false"),
        ("patient-position", None, None, "HFS"),
        ("slice-thickness", 1.25, "mm", None),
        ("tube-current", 120, "mA", None),
        ("tube-current", 310, "mA", None),
    }
    (measured,) = of["measured-on"]
    assert (measured.concept, measured.label) == ("tumour-size", "Lung")
    assert (measured.source, measured.answer) == (pseudonym("nodule"), pseudonym("ct"))


def test_a_value_set_aside_has_a_rule_and_no_value() -> None:
    aside = SetAside("heart-rate", "implausible", A, 5)
    (row,) = long_rows([twin(facts(set_aside=[aside]))])
    assert (row.kind, row.rule, row.value, row.t) == ("set-aside", "implausible", None, 5)


def test_wide_has_one_row_per_moment_and_a_column_with_its_unit() -> None:
    document = twin(
        facts(
            measurements=[
                Measurement("creatinine", 5, 1.0, A),
                Measurement("creatinine", 5, 2.0, B),
                Measurement("heart-rate", 5, 60.0, A),
                Measurement("heart-rate", 9, 70.0, A),
                Measurement("heart-rate", 10, 70.0, A, comparator=">"),
                Measurement("heart-rate", 11, 70.0, A, status="preliminary"),
            ]
        )
    )
    names, rows = wide_rows([document])
    assert names[5:] == ("creatinine (mg/dL)", "heart-rate (/min)")
    assert [(r["t"], r.get(names[5]), r.get(names[6])) for r in rows] == [
        (5, 1.5, 60),
        (9, None, 70),
    ]


def test_several_twins_share_one_table() -> None:
    other = twin(facts(measurements=[Measurement("ferritin", 1, 5.0, A)]), twin=pseudonym("other"))
    names, rows = wide_rows([example(), other])
    assert len({row["twin"] for row in rows}) == 2
    assert set().union(*rows) == set(names)


def test_duckdb_reads_the_long_table_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_bytes(as_csv(LONG, (row._asdict() for row in long_rows([example()]))))
    read = duckdb.read_csv(str(path), header=True)
    types = dict(zip(read.columns, map(str, read.types), strict=True))
    assert read.columns == list(LONG)
    assert (types["value"], types["t"], types["source"]) == ("DOUBLE", "BIGINT", "VARCHAR")
    expected = [row.value for row in long_rows([example()]) if row.value is not None]
    assert [v for (v,) in read.filter("value is not null").select("value").fetchall()] == expected


# -- OMOP ------------------------------------------------------------------------------------------


def loaded(folder: Path, *documents: Any) -> duckdb.DuckDBPyConnection:
    """The tables as OMOP's definition types them, filled from our files; NOT NULL is enforced."""
    database = duckdb.connect()
    for name, rows in omop_tables(documents).tables.items():
        listed = columns()[name]
        body = ", ".join(f"{c.name} {c.type}{' NOT NULL' if c.required else ''}" for c in listed)
        database.execute(f"CREATE TABLE {name} ({body})")
        path = folder / f"{name}.csv"
        path.write_bytes(as_csv([c.name for c in listed], rows))
        database.execute(f"COPY {name} FROM '{path}' (HEADER)")
    return database


def one(table_name: str, *documents: Any) -> Row:
    (row,) = omop_tables(documents).tables[table_name]
    return {name: cell for name, cell in row.items() if cell is not None}


def test_omops_own_types_take_every_row(tmp_path: Path) -> None:
    database = loaded(tmp_path, example(), twin(everything(), twin=pseudonym("other")))
    counts = {
        name: database.execute(f"SELECT count(*) FROM {name}").fetchone() for name in columns()
    }
    assert counts["person"] == (2,)
    assert all(n > 0 for (n,) in counts.values())  # type: ignore[misc]
    people = database.execute("SELECT DISTINCT person_id FROM measurement").fetchall()
    assert sorted(people) == [(1,), (2,)]


def test_a_person_is_born_on_the_surrogate_clock() -> None:
    person = one("person", twin(facts(WOMAN)))
    assert person["year_of_birth"] == 1972 - 54  # day 812 after 1970-01-01 lies in 1972
    assert (person["gender_concept_id"], person["race_concept_id"]) == (8532, 0)
    assert person["person_source_value"] == pseudonym("twin")


def test_a_person_without_an_age_is_refused() -> None:
    with pytest.raises(OmopError, match="no age"):
        omop_tables([twin()])


def test_a_measurement_names_its_code_and_unit_and_no_guessed_concept() -> None:
    row = one(
        "measurement", twin(facts(WOMAN, measurements=[Measurement("creatinine", 31, 0.9, A)]))
    )
    assert str(row["measurement_date"]) == "1970-02-01"
    assert "measurement_datetime" not in row
    assert (row["measurement_concept_id"], row["measurement_type_concept_id"]) == (0, 32817)
    assert (row["measurement_source_value"], row["unit_source_value"]) == ("LOINC:2160-0", "mg/dL")
    assert row["value_as_number"] == 0.9


def test_minutes_become_times_of_the_surrogate_day() -> None:
    document = twin(
        facts(WOMAN, measurements=[Measurement("heart-rate", 1500, 60.0, A, "minute")]),
        time_unit="min",
        now=2000,
    )
    assert str(one("measurement", document)["measurement_datetime"]) == "1970-01-02 01:00:00"


def test_a_censored_value_is_no_number() -> None:
    censored = Measurement("ldl-cholesterol", 1, 10.0, A, comparator="<")
    row = one("measurement", twin(facts(WOMAN, measurements=[censored])))
    assert "value_as_number" not in row
    assert row["value_source_value"] == "<10"


def test_a_diagnosis_in_two_groups_occurs_once() -> None:
    two = [
        ConditionFact(group, "snomed", "44054006", "active", "confirmed", A, onset=1, abatement=4)
        for group in ("diabetes-any", "diabetes-type-2")
    ]
    row = one("condition_occurrence", twin(facts(WOMAN, conditions=two)))
    assert row["condition_source_value"] == "SNOMED:44054006"
    assert str(row["condition_end_date"]) == "1970-01-05"


def test_a_drug_without_an_end_ends_where_it_starts_and_says_so() -> None:
    drug = MedicationFact(("statin",), ("simvastatin",), "", "", "stopped", A, start=3)
    row = one("drug_exposure", twin(facts(WOMAN, medications=[drug])))
    assert row["drug_exposure_end_date"] == row["drug_exposure_start_date"]
    assert "verbatim_end_date" not in row
    assert (row["drug_source_value"], row["stop_reason"]) == ("simvastatin", "stopped")


def test_what_omop_cannot_say_is_left_out_and_counted() -> None:
    document = twin(
        facts(
            WOMAN,
            measurements=[Measurement("heart-rate", 1, 60.0, A, status="preliminary")],
            conditions=[
                ConditionFact("asthma", "snomed", "195967001", "active", "provisional", A, 1),
                ConditionFact("asthma", "snomed", "195967001", "active", "confirmed", B),
            ],
            medications=[MedicationFact((), (), "rxnorm", "36567", "not-taken", A, start=1)],
            procedures=[ProcedureFact("dialysis", "snomed", "302497006", "not-done", A, 1)],
            allergies=[AllergyFact("snomed", "300913006", "active", "", A)],
        )
    )
    made = omop_tables([document])
    assert {name: len(rows) for name, rows in made.tables.items() if rows} == {"person": 1}
    assert made.left_out == {
        "preliminary or of unknown status": 1,
        "suspected, not done or not taken": 3,
        "without a date": 2,
    }


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(-60_000, 60_000), st.integers(40, 200)), max_size=20))
def test_distances_in_time_survive(pairs: list[tuple[int, int]]) -> None:
    readings = [Measurement("heart-rate", t, float(v), A) for t, v in pairs]
    made = omop_tables([twin(facts(WOMAN, measurements=readings))]).tables["measurement"]
    days = sorted(row["measurement_date"].toordinal() for row in made)
    assert [day - days[0] for day in days] == [
        t - min(t for t, _ in pairs) for t, _ in sorted(pairs)
    ]


def test_a_time_that_no_date_can_hold_is_refused() -> None:
    far = Measurement("heart-rate", -4_000_000, 60.0, A)
    with pytest.raises(OmopError, match="outside"):
        omop_tables([twin(facts(WOMAN, measurements=[far]))])


def test_files_are_what_the_csv_standard_says() -> None:
    data = as_csv(["a", "b"], [{"a": 'say "x", y', "b": None}, {"a": 1.5}])
    assert data == b'a,b\r\n"say ""x"", y",\r\n1.5,\r\n'
    assert list(csv.reader(io.StringIO(data.decode())))[1] == ['say "x", y', ""]


def test_a_dose_of_a_vaccine_is_an_exposure_of_one_day_under_its_code() -> None:
    doses = [
        ImmunizationFact(("influenza",), "cvx", "140", "completed", A, 640),
        ImmunizationFact(("zoster",), "cvx", "187", "not-done", B, 650),
    ]
    made = omop_tables([twin(facts(WOMAN, immunizations=doses))])
    (row,) = made.tables["drug_exposure"]
    assert row["drug_source_value"] == "CVX:140"
    assert row["drug_exposure_start_date"] == row["drug_exposure_end_date"]
    assert made.left_out == {"suspected, not done or not taken": 1}
