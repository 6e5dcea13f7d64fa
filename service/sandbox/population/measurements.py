"""Observations: vital signs, laboratory results, smoking; in the units this patient's lab uses."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from service.sandbox.population.body import creatinine_from_egfr
from service.sandbox.population.chart import EHR, Chart, Resource, narrative, reference, stamp
from service.sandbox.population.identity import any_doctor
from service.sandbox.population.tables import concept, observations

UCUM = "http://unitsofmeasure.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"


def rounded(value: float, decimals: int) -> int | float:
    """The value with as many digits as a laboratory would print."""
    fixed = round(Decimal(repr(value)), decimals)
    return int(fixed) if decimals == 0 else float(fixed)


def quantity(value: float, unit: str, decimals: int) -> Resource:
    return {"value": rounded(value, decimals), "unit": unit, "system": UCUM, "code": unit}


def code_of(key: str, code: str | None = None) -> Resource:
    row = observations()[key]
    coding = {"system": "http://loinc.org", "code": code or row["code"], "display": row["label"]}
    return {"coding": [coding], "text": row["label"]}


def add_observation(
    chart: Chart, key: str, at: datetime, encounter: Resource | None, **value: Any
) -> Resource:
    """An Observation of this kind at this moment; `value` holds value[x] and what else it needs."""
    row = observations()[key]
    body: Resource = {
        "status": "final",
        "category": [{"coding": [{"system": CATEGORY, "code": row["category"]}]}],
        "code": code_of(key),
        "subject": chart.subject,
        **({"encounter": reference(encounter)} if encounter else {}),
        "effectiveDateTime": stamp(at),
        "issued": at.isoformat(timespec="milliseconds"),
        **value,
    }
    if row["category"] == "laboratory":
        accession = f"{at:%y%m%d}-{chart.rng.randrange(10_000, 99_999)}"
        body["identifier"] = [{"system": f"{EHR}/accession", "value": accession}]
        body["performer"] = [
            {"reference": "Organization/example-hospital", "display": "Example General Hospital"}
        ]
    elif chart.rng.random() < 0.3:
        body["performer"] = [any_doctor(chart)]
    return chart.add("Observation", at, body)


def add_number(
    chart: Chart, key: str, value: float, at: datetime, encounter: Resource | None
) -> Resource:
    """A numeric result, in SI units where this patient's laboratory reports them."""
    row = observations()[key]
    if chart.spec.get("units") == "si" and row["si_code"]:
        shown = quantity(value / float(row["si_divisor"]), row["si_unit"], int(row["si_decimals"]))
        return add_observation(
            chart, key, at, encounter, code=code_of(key, row["si_code"]), valueQuantity=shown
        )
    shown = quantity(value, row["unit"], int(row["decimals"]))
    return add_observation(chart, key, at, encounter, valueQuantity=shown)


# -- vital signs -----------------------------------------------------------------------------------


def add_vital_signs(chart: Chart, t: float, at: datetime, encounter: Resource) -> None:
    body = chart.body
    height, weight = body.height(t), body.weight(t)
    if chart.body.age_now < 18 or t < -chart.body.record + 1 or chart.rng.random() < 0.35:
        add_number(chart, "body-height", height, at, encounter)
    add_number(chart, "body-weight", weight, at, encounter)
    if body.age(t) >= 2:
        add_number(chart, "body-mass-index", weight / (height / 100) ** 2, at, encounter)
    else:
        add_number(chart, "head-circumference", body.head(t), at, encounter)
    add_blood_pressure(chart, t, at, encounter)
    add_number(chart, "heart-rate", body.heart_rate(t), at, encounter)
    breaths = 14 + 26 * (body.age(t) < 1) + 6 * (1 <= body.age(t) < 10) + chart.rng.randrange(0, 3)
    add_number(chart, "respiratory-rate", breaths, at, encounter)
    add_number(chart, "body-temperature", 36.7 + chart.rng.uniform(-0.3, 0.3), at, encounter)
    add_number(chart, "oxygen-saturation", body.saturation(t), at, encounter)


def add_blood_pressure(chart: Chart, t: float, at: datetime, encounter: Resource) -> Resource:
    systolic, diastolic = chart.body.pressure(t)
    key = "bp-panel-old" if chart.wants("old-bp-panel") else "bp-panel"
    parts = [
        {"code": code_of("systolic-bp"), "valueQuantity": quantity(systolic, "mm[Hg]", 0)},
        {"code": code_of("diastolic-bp"), "valueQuantity": quantity(diastolic, "mm[Hg]", 0)},
    ]
    extra: Resource = {}
    if chart.rng.random() < 0.25:
        extra["note"] = [
            {"text": f"Taken seated, left arm. {chart.full_name} had rested for five minutes."}
        ]
    if chart.rng.random() < 0.25:
        extra["device"] = {
            "reference": f"Device/{chart.id}-dev001",
            "display": "Home blood pressure monitor",
        }
    return add_observation(chart, key, at, encounter, component=parts, **extra)


# -- laboratory ------------------------------------------------------------------------------------


def add_laboratory(chart: Chart, t: float, at: datetime, encounter: Resource) -> None:
    results = [*_metabolic(chart, t, at, encounter), *_blood_count(chart, t, at, encounter)]
    if not chart.omits("lipids") and chart.body.age_now >= 12:
        results += _lipids(chart, t, at, encounter)
    if chart.body.has("hypothyroidism", t):
        tsh = 2.4 + chart.rng.uniform(-1.1, 1.6)
        results.append(add_number(chart, "tsh", tsh, at, encounter))
    _add_report(chart, at, encounter, results)


def _metabolic(chart: Chart, t: float, at: datetime, encounter: Resource) -> list[Resource]:
    body = chart.body
    a1c = body.hba1c(t)
    found = [add_number(chart, "glucose", body.glucose(a1c), at, encounter)]
    found.append(add_number(chart, "potassium", 4.2 + chart.rng.uniform(-0.5, 0.5), at, encounter))
    if chart.wants("ifcc-hba1c"):
        # NGSP master equation: NGSP % = 0.09148 x IFCC mmol/mol + 2.152.
        found.append(add_number(chart, "hba1c-ifcc", (a1c - 2.152) / 0.09148, at, encounter))
    else:
        found.append(add_number(chart, "hba1c", a1c, at, encounter))
    if not chart.omits("kidney"):
        found += _kidney(chart, t, at, encounter)
    return found


def _kidney(chart: Chart, t: float, at: datetime, encounter: Resource) -> list[Resource]:
    body = chart.body
    if body.age(t) < 18:
        level = 0.25 + 0.035 * body.age(t) + chart.rng.uniform(-0.03, 0.03)
        return [add_number(chart, "creatinine", level, at, encounter)]
    egfr = body.egfr(t)
    level = creatinine(chart, egfr, t)
    found = [add_number(chart, "creatinine", level, at, encounter)]
    if chart.rng.random() < 0.4:
        found.append(add_number(chart, "egfr-ckdepi-2021", egfr, at, encounter))
    found.append(
        add_number(chart, "urine-albumin-creatinine-ratio", body.albuminuria(t), at, encounter)
    )
    return found


def creatinine(chart: Chart, egfr: float, t: float) -> float:
    return creatinine_from_egfr(egfr, chart.body.age(t), chart.body.female)


def _blood_count(chart: Chart, t: float, at: datetime, encounter: Resource) -> list[Resource]:
    suffix = "-unspecified" if chart.wants("k-per-ul") else ""
    haemoglobin = chart.body.haemoglobin(t, chart.body.egfr(t))
    return [
        add_number(chart, "haemoglobin", haemoglobin, at, encounter),
        add_number(chart, "haematocrit", haemoglobin * 3.0, at, encounter),
        add_number(chart, f"leukocytes{suffix}", 6.8 + chart.rng.uniform(-1.8, 1.8), at, encounter),
        add_number(chart, f"platelets{suffix}", 245 + chart.rng.uniform(-55, 55), at, encounter),
    ]


def _lipids(chart: Chart, t: float, at: datetime, encounter: Resource) -> list[Resource]:
    parts = [
        add_number(chart, key, value, at, encounter) for key, value in chart.body.lipids(t).items()
    ]
    if not chart.wants("lipid-panel"):
        return parts
    members = [reference(part) for part in parts]
    return [*parts, add_observation(chart, "lipid-panel", at, encounter, hasMember=members)]


def _add_report(chart: Chart, at: datetime, encounter: Resource, results: list[Resource]) -> None:
    text = f"Laboratory report for {chart.full_name} ({chart.mrn}), {at:%d %B %Y}"
    category = {"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "LAB"}
    chart.add("DiagnosticReport", at, {
        "text": narrative(text),
        "identifier": [chart.number("reports", "R", 8)],
        "status": "final",
        "category": [{"coding": [category]}],
        "code": {"text": "Laboratory report"},
        "subject": chart.subject,
        "encounter": reference(encounter),
        "effectiveDateTime": stamp(at),
        "issued": at.isoformat(timespec="milliseconds"),
        "performer": [any_doctor(chart)],
        "result": [reference(result) for result in results],
    })  # fmt: skip


# -- social history --------------------------------------------------------------------------------


def add_smoking(chart: Chart, t: float, at: datetime, encounter: Resource) -> None:
    spells = [(key, -float(start)) for key, start in chart.spec.get("smoking", [])]
    known = [key for key, start in spells if start <= t + 0.02]
    if known:
        add_observation(
            chart, "smoking-status", at, encounter, valueCodeableConcept=concept(known[-1])
        )


def add_pregnancy(chart: Chart, t: float, at: datetime, encounter: Resource) -> None:
    weeks = chart.body.weeks_pregnant(t)
    if weeks > 5:
        add_observation(
            chart, "pregnancy-status", at, encounter, valueCodeableConcept=concept("pregnant")
        )
        add_number(chart, "gestational-age", weeks, at, encounter)
