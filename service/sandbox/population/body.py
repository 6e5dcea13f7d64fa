"""How one invented body changes over the years: blood pressure, weight, lipids, sugar, kidneys.

Times are years relative to the anchor day (negative: past). The curves only have to look right to a
clinician and move together; they are no model of disease and nothing predicts from them.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any

from service.sandbox.population.tables import drugs, rows

RAMP_YEARS = 0.2
"""A drug reaches its full effect after some ten weeks."""


@dataclass(frozen=True)
class Course:
    """A drug or condition with its start and end in years relative to the anchor."""

    key: str
    start: float
    end: float | None

    def active(self, t: float) -> bool:
        return self.start <= t and (self.end is None or t < self.end)


def effect(course: Course, t: float) -> float:
    """How much of a drug's effect is there: it builds up over RAMP_YEARS and fades as fast."""
    rising = min(1.0, max(0.0, (t - course.start) / RAMP_YEARS))
    fading = 0.0 if course.end is None else min(1.0, max(0.0, (t - course.end) / RAMP_YEARS))
    return rising * (1.0 - fading)


def courses(items: list[list[Any]]) -> list[Course]:
    return [Course(i[0], -float(i[1]), -float(i[2]) if len(i) > 2 else None) for i in items]


def creatinine_from_egfr(egfr: float, age: float, female: bool) -> float:
    """The serum creatinine in mg/dL at which CKD-EPI 2021 gives this eGFR.

    Inker LA et al., N Engl J Med 2021;385:1737-49: eGFR = 142 min(Scr/k,1)^a max(Scr/k,1)^-1.200
    0.9938^age (x 1.012 for women); k 0.7 / 0.9, a -0.241 / -0.302 for women / men. Solved for Scr.
    """
    kappa, alpha, factor = (0.7, -0.241, 1.012) if female else (0.9, -0.302, 1.0)
    ratio = egfr / (142 * factor * 0.9938**age)
    exponent = alpha if ratio > 1 else -1.200
    return float(kappa * ratio ** (1 / exponent))


class Body:
    def __init__(self, spec: dict[str, Any], rng: Random) -> None:
        self.spec = spec
        self.rng = rng
        self.age_now = float(spec["age"])
        self.record = float(spec["record"])
        self.female = spec["sex"] == "female"
        self.values: dict[str, float] = {k: float(v) for k, v in spec["body"].items()}
        self.drugs = courses(spec.get("drugs", []))
        self.conditions = courses(spec.get("conditions", []))

    def age(self, t: float) -> float:
        return self.age_now + t

    def has(self, key: str, t: float) -> bool:
        return any(c.key == key and c.active(t) for c in self.conditions)

    def _noise(self, sd: float) -> float:
        return max(-2.5, min(2.5, self.rng.gauss(0, 1))) * sd

    def _drug_sum(self, column: str, t: float) -> float:
        return sum(float(drugs()[c.key][column]) * effect(c, t) for c in self.drugs)

    def _drug_product(self, column: str, t: float) -> float:
        factors = [float(drugs()[c.key][column]) ** effect(c, t) for c in self.drugs]
        return float(math.prod(factors))

    def _fraction(self, t: float) -> float:
        """0 at the start of the record, 1 on the anchor day."""
        return 1.0 if self.record <= 0 else min(1.0, max(0.0, 1 + t / self.record))

    # -- size ------------------------------------------------------------------------------------

    def height(self, t: float) -> float:
        if self.age_now < 18:
            return self._growth("cm", t) * self.values["cm"] / self._growth("cm", 0.0)
        shrink = 0.12 * max(0.0, self.age(t) - 60)
        return self.values["cm"] + 0.12 * max(0.0, self.age_now - 60) - shrink

    def weight(self, t: float) -> float:
        if self.age_now < 18:
            scale = self.values["cm"] / self._growth("cm", 0.0)
            return self._growth("kg", t) * scale**2 * (1 + self._noise(0.015))
        bmi = self.values["bmi_was"] + (
            self.values["bmi"] - self.values["bmi_was"]
        ) * self._fraction(t)
        if self.spec.get("pregnant_weeks"):
            bmi = self._pregnant_bmi(t)
        fluid = 2.8 if self.has("heart-failure", t) and self._drug_sum("sbp", t) > -8 else 0.0
        return (bmi * (self.values["cm"] / 100) ** 2 + fluid) * (1 + self._noise(0.012))

    def _pregnant_bmi(self, t: float) -> float:
        weeks = max(0.0, self.weeks_pregnant(t))
        share = weeks / float(self.spec["pregnant_weeks"])
        gain = self.values["bmi"] - self.values["bmi_was"]
        return float(self.values["bmi_was"] + gain * share**1.4)

    def weeks_pregnant(self, t: float) -> float:
        return float(self.spec.get("pregnant_weeks", -1000)) + t * 52.18

    def _growth(self, unit: str, t: float) -> float:
        column = f"{'female' if self.female else 'male'}_{unit}"
        table = [(float(row["age"]), float(row[column])) for row in rows("growth.csv")]
        age = max(0.0, self.age(t))
        for (a0, v0), (a1, v1) in pairwise(table):
            if age <= a1:
                return v0 + (v1 - v0) * (age - a0) / (a1 - a0)
        return table[-1][1]

    def head(self, t: float) -> float:
        """Head circumference in cm of an infant: fast at first, slower later."""
        age = max(0.0, self.age(t))
        return 34.6 + 12.0 * (1 - math.exp(-1.9 * age))

    # -- circulation -----------------------------------------------------------------------------

    def pressure(self, t: float) -> tuple[float, float]:
        base = self.values["sbp"]
        if self.age_now < 18:
            systolic = base - 1.9 * max(0.0, -t) * (base > 90) + self._noise(4)
        else:
            systolic = base + 0.3 * (t + self.record) + self._drug_sum("sbp", t) + self._noise(5)
            systolic -= 14 if self.has("heart-failure", t) else 0
        widening = 0.28 * max(0.0, self.age(t) - 50)
        diastolic = 0.40 * systolic + 29 - widening + self._noise(3)
        if self.age_now < 18:
            diastolic = 0.62 * systolic + self._noise(3)
        return systolic, min(diastolic, systolic - 22)

    def heart_rate(self, t: float) -> float:
        rate = self.values.get("hr", 71) + self._drug_sum("heart_rate", t)
        rate += 9 if self.has("atrial-fibrillation", t) else 0
        rate += 45 * math.exp(-self.age(t) / 3) * (self.age_now < 18) * (self.age_now > 1)
        if self.spec.get("pregnant_weeks") and self.weeks_pregnant(t) < 0:
            rate -= 12
        return rate + self._noise(4)

    def saturation(self, t: float) -> float:
        return min(100.0, self.values.get("spo2", 97.6) + self._noise(0.8))

    # -- blood -----------------------------------------------------------------------------------

    def lipids(self, t: float) -> dict[str, float]:
        factor = self._drug_product("ldl_factor", t)
        ldl = self.values["ldl"] * factor * (1 + self._noise(0.05))
        triglycerides = self.values["tg"] * (0.85 + 0.15 * factor) * (1 + self._noise(0.12))
        hdl = self.values["hdl"] * (1 + self._noise(0.04))
        return {
            "total-cholesterol": ldl + hdl + triglycerides / 5,
            "hdl-cholesterol": hdl,
            "ldl-cholesterol": ldl,
            "triglycerides": triglycerides,
        }

    def hba1c(self, t: float) -> float:
        """Rises until treated, then falls to the treated level and creeps up by a tenth a year."""
        target, diagnosis = self.values["a1c"], self._diabetes_start()
        if diagnosis is None:
            return target - 0.02 * max(0.0, -t) + self._noise(0.08)
        if t < diagnosis:
            before = target - 0.45 * (diagnosis - t) if self.age_now > 18 else 5.2
            return max(5.2, before) + self._noise(0.08)
        floor = 6.6 if self.age_now > 18 else 7.4
        treated = max(floor, target + self._drug_sum("a1c", t))
        return treated + 0.08 * (t - diagnosis) + self._noise(0.2)

    def _diabetes_start(self) -> float | None:
        starts = [c.start for c in self.conditions if c.key.startswith("diabetes")]
        return min(starts) if starts else None

    def glucose(self, a1c: float) -> float:
        """28.7 A1c - 46.7 mg/dL (Nathan, Diabetes Care 2008;31:1473), less when fasting."""
        return 28.7 * a1c - 46.7 - 14 + self._noise(7)

    def egfr(self, t: float) -> float:
        level = self.values["egfr"] - self.values["egfr_fall"] * (t + self.record)
        if self.spec.get("pregnant_weeks") and self.weeks_pregnant(t) < 0:
            level -= 14
        return max(8.0, level + self._noise(2.5))

    def albuminuria(self, t: float) -> float:
        growth = float(self.values.get("acr_growth", 1.0) ** (t + self.record))
        level = self.values["acr"] * growth * self._drug_product("acr_factor", t)
        return level * math.exp(self._noise(0.22))

    def haemoglobin(self, t: float, egfr: float) -> float:
        level = 13.4 if self.female or self.age_now < 12 else 14.9
        level -= 0.05 * max(0.0, 45 - egfr)
        level -= 1.6 if self.spec.get("pregnant_weeks") and self.weeks_pregnant(t) > 12 else 0
        level -= 1.5 if self.has("anaemia", t) else 0
        return level + self._noise(0.3)

    # -- heart failure ---------------------------------------------------------------------------

    def ejection_fraction(self, t: float) -> float:
        start = next((c.start for c in self.conditions if c.key == "heart-failure"), None)
        if start is None:
            return 60 + self._noise(2)
        recovery = min(12.0, 5.0 * (t - start)) if not self.spec.get("died") else -2.0 * (t - start)
        return 31 + recovery + self._noise(1.5)

    def nt_probnp(self, t: float) -> float:
        return 4200 * math.exp(-(self.ejection_fraction(t) - 30) / 9) * math.exp(self._noise(0.1))
