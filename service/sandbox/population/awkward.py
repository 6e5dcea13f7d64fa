"""What makes real records awkward, one function per oddity, each used by name in patients.toml.

Names that change how measurements are written (old-bp-panel, ifcc-hba1c, k-per-ul, lipid-panel,
contained-medication) are read where those are written; here are those that add or bend resources.
"""

from collections.abc import Callable
from datetime import timedelta

from service.sandbox.population import measurements as measure
from service.sandbox.population.chart import EHR, Chart, Resource, stamp
from service.sandbox.population.record import add_encounter, status
from service.sandbox.population.tables import concept

WRITTEN_ELSEWHERE = {
    "old-bp-panel": "Blood pressure under the old panel code 55284-4.",
    "ifcc-hba1c": "HbA1c in mmol/mol under its own code.",
    "k-per-ul": "Blood counts in `K/uL`, which in UCUM would be kelvin.",
    "lipid-panel": "Lipids once more as a panel with hasMember.",
    "contained-medication": "The drug as a contained Medication.",
}


def _last(chart: Chart, key: str, skip: int = 0) -> Resource:
    """The newest but `skip` Observation of this kind."""
    code = measure.code_of(key)["coding"][0]["code"]
    found = [r for r in chart.resources if r["resourceType"] == "Observation"
             and r["code"]["coding"][0]["code"] == code]  # fmt: skip
    return found[-1 - skip]


# -- units and values ------------------------------------------------------------------------------


def text_unit(chart: Chart) -> None:
    """`mg/dl` as text, no system, no code: a known spelling that may be read."""
    quantity = _last(chart, "creatinine")["valueQuantity"]
    quantity.pop("system")
    quantity.pop("code")
    quantity["unit"] = "mg/dl"


def no_unit(chart: Chart) -> None:
    """A number alone must not be guessed at."""
    observation = _last(chart, "glucose", skip=1)
    observation["valueQuantity"] = {"value": observation["valueQuantity"]["value"]}


def censored(chart: Chart) -> None:
    """Below the detection limit: `<5` is not 5."""
    quantity = _last(chart, "urine-albumin-creatinine-ratio")["valueQuantity"]
    quantity |= {"value": 5, "comparator": "<"}


def loose_bp(chart: Chart) -> None:
    """Systolic and diastolic as two Observations without a panel."""
    at = chart.moment(-0.03)
    measure.add_number(chart, "systolic-bp", 133, at, None)
    measure.add_number(chart, "diastolic-bp", 84, at, None)


def text_bp(chart: Chart) -> None:
    """A pressure as a sentence: not to be parsed silently."""
    measure.add_observation(
        chart, "bp-panel", chart.moment(-0.02), None, valueString="132/84 sitting"
    )


# -- statements that must not count ----------------------------------------------------------------


def refuted_infarction(chart: Chart) -> None:
    """An infarction that was ruled out."""
    at = chart.moment(-2.2)
    chart.add("Condition", at, {
        "verificationStatus": status("condition-ver-status", "refuted"),
        "code": concept("myocardial-infarction"),
        "subject": chart.subject,
        "recordedDate": stamp(at),
        "note": [{"text": f"Troponin negative, {chart.given} sent home."}],
    })  # fmt: skip


def entered_in_error(chart: Chart) -> None:
    """A result withdrawn as entered in error."""
    at = chart.moment(-0.04)
    value = measure.quantity(14.9, "%", 1)
    measure.add_observation(
        chart, "hba1c", at, None, valueQuantity=value, status="entered-in-error"
    )


def two_values(chart: Chart) -> None:
    """The same analyte twice at one instant with different numbers."""
    first = _last(chart, "creatinine")
    again = {
        key: value for key, value in first.items() if key not in ("id", "meta", "resourceType")
    }
    doubled = dict(first["valueQuantity"])
    doubled["value"] = round(doubled["value"] * 1.6, 2)
    again["valueQuantity"] = doubled
    chart.add("Observation", chart.moment(-0.05), again)


def implausible(chart: Chart) -> None:
    """Grams typed as kilograms."""
    measure.add_number(chart, "body-weight", 66_400, chart.moment(-0.04), None)


def modifier_extension(chart: Chart) -> None:
    """An unknown modifier can turn the meaning round: the resource may not be used."""
    observation = measure.add_observation(
        chart, "hba1c", chart.moment(-0.03), None, valueQuantity=measure.quantity(7.7, "%", 1)
    )
    observation["modifierExtension"] = [{"url": f"{EHR}/not-this-patient", "valueBoolean": True}]


def absent_value(chart: Chart) -> None:
    """No value, but the reason why."""
    reason = {
        "coding": [
            {"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "error"}
        ]
    }
    measure.add_observation(
        chart, "ldl-cholesterol", chart.moment(-0.03), None, dataAbsentReason=reason
    )


def cancelled(chart: Chart) -> None:
    """A test that was ordered and never done."""
    measure.add_observation(chart, "potassium", chart.moment(-0.03), None, status="cancelled")


def preliminary(chart: Chart) -> None:
    """A first reading that the laboratory has not released yet."""
    value = measure.quantity(6.4, "mmol/L", 1)
    at = chart.moment(-0.02)
    measure.add_observation(chart, "potassium", at, None, valueQuantity=value, status="preliminary")


def do_not_give(chart: Chart) -> None:
    """An order NOT to give a statin (`doNotPerform`): read carelessly, a statin."""
    at = chart.moment(-0.9)
    chart.add("MedicationRequest", at, {
        "status": "active",
        "intent": "order",
        "doNotPerform": True,
        "medicationCodeableConcept": concept("simvastatin"),
        "subject": chart.subject,
        "authoredOn": stamp(at),
        "note": [{"text": f"{chart.given} had muscle pain on it."}],
    })  # fmt: skip


# -- dates -----------------------------------------------------------------------------------------


def birth_year_only(chart: Chart) -> None:
    patient = chart.resources[0]
    patient["birthDate"] = patient["birthDate"][:4]
    patient.pop("_birthDate")


def partial_dates(chart: Chart) -> None:
    """Onsets as a year and as a year and month, and an onset in words."""
    conditions = [r for r in chart.resources if r["resourceType"] == "Condition"]
    conditions[0]["onsetDateTime"] = conditions[0]["onsetDateTime"][:4]
    conditions[1]["onsetDateTime"] = conditions[1]["onsetDateTime"][:7]
    at = chart.moment(-1.4)
    chart.add("Condition", at, {
        "clinicalStatus": status("condition-clinical", "active"),
        "verificationStatus": status("condition-ver-status", "confirmed"),
        "code": concept("osteoarthritis-knee"),
        "subject": chart.subject,
        "onsetString": f"since {chart.given} was a boy in Dakar",
        "recordedDate": at.date().isoformat(),
    })  # fmt: skip


def no_zone(chart: Chart) -> None:
    """A dateTime with time but no zone: forbidden by R4, met in the wild."""
    observation = _last(chart, "creatinine")
    observation["effectiveDateTime"] = observation["effectiveDateTime"][:19]
    chart.mark_awkward(observation, "effectiveDateTime has a time but no zone")


def open_period(chart: Chart) -> None:
    """A result valid from a moment on: a Period without end."""
    observation = _last(chart, "haemoglobin")
    observation["effectivePeriod"] = {"start": observation.pop("effectiveDateTime")}


def after_death(chart: Chart) -> None:
    """Filed after the death: a late result and the certificate's visit."""
    t = -float(chart.spec["died"]) + 8 / 365
    at = chart.moment(t)
    encounter = add_encounter(chart, at, "visit-follow-up")
    measure.add_number(chart, "creatinine", 2.1, at + timedelta(minutes=5), encounter)


ODDITIES: dict[str, Callable[[Chart], None]] = {
    "text-unit": text_unit,
    "no-unit": no_unit,
    "censored": censored,
    "loose-bp": loose_bp,
    "text-bp": text_bp,
    "refuted-infarction": refuted_infarction,
    "entered-in-error": entered_in_error,
    "two-values": two_values,
    "implausible": implausible,
    "modifier-extension": modifier_extension,
    "absent-value": absent_value,
    "cancelled": cancelled,
    "preliminary": preliminary,
    "do-not-give": do_not_give,
    "birth-year-only": birth_year_only,
    "partial-dates": partial_dates,
    "no-zone": no_zone,
    "open-period": open_period,
    "after-death": after_death,
}


def add_oddities(chart: Chart) -> None:
    for name in chart.spec.get("awkward", []):
        if name not in WRITTEN_ELSEWHERE:
            ODDITIES[name](chart)
