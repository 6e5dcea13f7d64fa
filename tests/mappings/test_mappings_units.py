"""Units: every row parses, round-trips, and agrees with an independent implementation."""

import csv
import logging
import math
from functools import cache
from importlib import resources
from typing import Any

import pint
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ucumvert import PintUcumRegistry

from mappings import vocabulary
from mappings.vocabulary import LARGEST_DOSE, SMALLEST_DOSE, dose, tables
from mappings.vocabulary.units import TABLES

ROWS = list(
    csv.DictReader(resources.files(tables).joinpath("units.csv").read_text("utf-8").splitlines())
)
DOSES = list(
    csv.DictReader(
        resources.files(tables).joinpath("dose_units.csv").read_text("utf-8").splitlines()
    )
)
CONVERTING = [row for row in ROWS if row["kind"] not in ("synonym", "refuse")]
PLAIN = [row for row in CONVERTING if row["kind"] == "ucum"]
MOLAR = [row for row in CONVERTING if row["kind"] == "molar"]
PAIRS = sorted((name, unit) for name, table in TABLES.items() for unit in table)
USABLE = [(name, unit) for name, unit in PAIRS if not TABLES[name][unit].refused]


@cache
def registry() -> Any:
    logging.disable(logging.WARNING)  # pint tells of every redefinition it makes for UCUM
    try:
        return PintUcumRegistry()
    finally:
        logging.disable(logging.NOTSET)


def named(row: dict[str, str]) -> str:
    return f"{row['concept']} {row['unit']}"


def parsed(unit: str) -> Any:
    return registry().from_ucum(unit)


@pytest.mark.parametrize("unit", sorted({row["ucum"] for row in CONVERTING if not row["mark"]}))
def test_ucum_units_parse(unit: str) -> None:
    assert parsed(unit) is not None


def test_the_marked_units_are_few_and_known() -> None:
    marked = {row["unit"] for row in CONVERTING if row["mark"] == "unparsed"}
    annotations = {unit for unit in marked if unit.startswith("{")}
    assert marked - annotations == {"[pH]", "k[arb'U]/L"}


def test_spellings_that_are_ucum_for_something_else_are_marked() -> None:
    """K/uL is kelvin per microlitre in UCUM; only the concept makes it thousands."""
    marked = {row["unit"] for row in ROWS if row["mark"] == "homograph"}
    assert {"K/uL", "C", "F", "pH", "kU/L"} <= marked


@pytest.mark.parametrize("row", PLAIN, ids=named)
def test_plain_conversions_agree_with_pint(row: dict[str, str]) -> None:
    general = row["concept"] == "any"
    target = row["ucum"] if general else vocabulary.concept(row["concept"]).unit
    ours = float(row["factor"])
    assert not general or (ours, float(row["offset"])) == (1.0, 0.0)
    if target.startswith("{") or row["unit"].startswith("{"):
        return  # a bare annotation is the number one: nothing to compare
    theirs = (parsed(row["unit"]) / parsed(target)).to("dimensionless").magnitude
    if row["unit"] == "[Cal]":
        theirs *= 1000  # ucumvert 0.3 reads the nutrition Calorie as the small calorie
    # 5e-6: UCUM defines m[Hg] as 133.3220 kPa, pint more finely
    assert ours == pytest.approx(theirs, rel=5e-6)


@pytest.mark.parametrize("row", [r for r in DOSES if r["system"] == "ucum" and r["unit"]],
                         ids=lambda row: row["code"])  # fmt: skip
def test_units_of_doses_agree_with_pint(row: dict[str, str]) -> None:
    code = "ug" if row["code"] == "mcg" else row["code"]  # a text: UCUM has no c for micro
    theirs = (parsed(code) / parsed(row["unit"])).to("dimensionless").magnitude
    assert float(row["factor"]) == pytest.approx(theirs, rel=1e-12)


@given(
    st.sampled_from([row for row in DOSES if row["unit"]]),
    st.floats(1e-4, 1e4),
)
def test_a_dose_comes_back_from_what_is_written_of_it(row: dict[str, str], value: float) -> None:
    found = dose({"value": value, "system": row["system"], "code": row["code"]})
    if found is None:
        assert not SMALLEST_DOSE <= value * float(row["factor"]) <= LARGEST_DOSE
        return
    assert found.value == pytest.approx(value * float(row["factor"]), rel=5.1e-4)
    system, code = vocabulary.dose_code(found.unit)
    assert dose({"value": found.value, "system": vocabulary.uri(system), "code": code}) == found


@pytest.mark.parametrize("row", MOLAR, ids=named)
def test_molar_conversions_follow_from_the_cited_mass(row: dict[str, str]) -> None:
    assert row["molar_mass_source"]
    grams_per_mole = float(row["molar_mass"])
    source = parsed(row["unit"])
    target = parsed(vocabulary.concept(row["concept"]).unit)
    mass = grams_per_mole * parsed("g/mol")
    quantity = 1 * source
    moles_come_in = (mole_grams := quantity * mass).check(target.units.dimensionality)
    theirs = (mole_grams if moles_come_in else quantity / mass).to(target.units).magnitude
    assert float(row["factor"]) == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize(
    ("concept", "unit", "value", "expected"),
    [
        # conventional factors of the literature, to the precision they are quoted with
        ("total-cholesterol", "mmol/L", 5.0, 5.0 * 38.67),
        ("triglycerides", "mmol/L", 2.0, 2.0 * 88.57),
        ("creatinine", "umol/L", 442.0, 5.0),
        ("glucose", "mmol/L", 10.0, 180.0),
        ("bilirubin-total", "umol/L", 171.0, 10.0),
        ("calcium-total", "mmol/L", 2.5, 2.5 * 4.008),
        ("phosphate", "mmol/L", 2.0, 2.0 * 3.097),
        ("urine-albumin-creatinine-ratio", "mg/mmol", 10.0, 88.4),
        ("uric-acid", "umol/L", 594.8, 10.0),
        ("hba1c", "mmol/mol", 48.0, 0.09148 * 48 + 2.152),
        ("body-temperature", "[degF]", 98.6, 37.0),
        ("body-weight", "[lb_av]", 150.0, 150 * 0.45359237),
        ("body-height", "[in_i]", 70.0, 177.8),
        ("cystatin-c", "mg/dL", 0.09, 0.9),
        ("albumin", "g/L", 41.0, 4.1),
        ("platelets", "/uL", 250000.0, 250.0),
    ],
)
def test_known_conversions(concept: str, unit: str, value: float, expected: float) -> None:
    converted = vocabulary.convert(concept, value, unit, "", "http://unitsofmeasure.org")
    assert isinstance(converted, vocabulary.Converted)
    half = 0.5 * 10 ** -vocabulary.decimals(concept)
    assert converted.value == pytest.approx(expected, rel=2e-3, abs=half * 1.01)
    assert converted.unit == unit


@given(st.sampled_from(USABLE), st.floats(0.001, 1e5))
def test_conversions_round_trip(pair: tuple[str, str], value: float) -> None:
    rule = TABLES[pair[0]][pair[1]]
    there = value * rule.factor + rule.offset
    assert (there - rule.offset) / rule.factor == pytest.approx(value, rel=1e-6, abs=1e-9)


@given(st.sampled_from(USABLE), st.floats(0.01, 1e4), st.floats(1.01, 10))
def test_conversions_keep_the_order_of_values(
    pair: tuple[str, str], value: float, more: float
) -> None:
    """A comparator means the same before and after."""
    rule = TABLES[pair[0]][pair[1]]
    assert value * rule.factor < value * more * rule.factor


@given(st.sampled_from(USABLE), st.floats(0.01, 1e4))
def test_a_value_is_rounded_once_to_clinical_precision(pair: tuple[str, str], value: float) -> None:
    concept, unit = pair
    converted = vocabulary.convert(concept, value, unit, "", "")
    assert isinstance(converted, vocabulary.Converted)
    assert converted.value == round(converted.value, vocabulary.decimals(concept))
    assert math.isfinite(converted.value)


@given(st.sampled_from([c.id for c in vocabulary.concepts()]), st.text(max_size=12))
def test_an_unknown_unit_is_never_converted(concept: str, unit: str) -> None:
    if unit in TABLES[concept]:
        return
    refused = vocabulary.convert(concept, 5.0, unit, "", "")
    assert refused == vocabulary.Refused("unit-unknown" if unit else "unit-missing")


def test_a_code_of_another_system_than_ucum_is_not_a_unit() -> None:
    snomed = "http://snomed.info/sct"
    assert vocabulary.convert("body-weight", 80, "kg", "", snomed) == ("unit-missing",)
    assert vocabulary.convert("body-weight", 80, "258683005", "kg", snomed) == (80.0, "")


def test_the_text_helps_out_an_unknown_code_only() -> None:
    ucum = "http://unitsofmeasure.org"
    assert vocabulary.convert("body-weight", 80, "kilos", "kg", ucum) == (80.0, "")
    assert vocabulary.convert("body-weight", 80, "kg", "kilos", ucum) == (80.0, "")
    assert vocabulary.convert("body-weight", 80, "kg", "lb", ucum) == ("unit-conflict",)


def test_pint_is_the_independent_one() -> None:
    assert issubclass(PintUcumRegistry, pint.UnitRegistry)


def test_units_for_people_are_not_ucum() -> None:
    assert vocabulary.unit_label("mm[Hg]") == "mmHg"
    assert vocabulary.unit_label("mg/dL") == "mg/dL"
    for concept in vocabulary.concepts():
        assert not set("[]{}*") & set(vocabulary.unit_label(concept.unit)), concept.id
