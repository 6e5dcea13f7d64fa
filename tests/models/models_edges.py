"""What the equations say at both ends of every range, from formulas typed once more.

The formulas below were typed from the publications that each folder names, for this page alone:
nothing here reads the project's coefficients, terms or evaluator. `PYTHONPATH=. python
tests/models/models_edges.py` writes the rows `EDGE-…` of each `vectors.csv`; a test compares.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from math import exp, floor, log, nextafter, sqrt
from pathlib import Path
from typing import NamedTuple

Row = dict[str, str]
Numbers = Callable[[Mapping[str, float | str]], Mapping[str, float]]
SOURCE = "edge"
CITED = (
    "the published formula typed once more in tests/models/models_edges.py, at both ends of each "
    "range; evaluated in double precision."
)
TWIN_ENGINE = Path(__file__).parents[2] / "twin_engine"
BELOW_60, ABOVE_20, BELOW_90 = nextafter(60, 0), nextafter(20, 90), nextafter(90, 0)


class Case(NamedTuple):
    """One row for each end of each range: `base`, with that column at that end."""

    model: str
    variant: str
    base: str
    ends: Mapping[str, tuple[float, float]]
    numbers: Numbers
    tolerance: str = "1e-9"
    also: Mapping[str, str] = {}
    """Column, or column and end → what must go with it: one who smokes has not quit"""


def clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def half_up(value: float) -> float:
    return float(floor(value + 0.5))


# -- laboratory --------------------------------------------------------------------------------


def _fib4(r: Mapping[str, float]) -> Mapping[str, float]:
    return {"score": r["age"] * r["ast"] / (r["platelets"] * sqrt(r["alt"]))}


def _creatinine(r: Mapping[str, float]) -> Mapping[str, float]:
    """Inker 2021; a woman."""
    ratio = r["creatinine"] / 0.7
    part = min(ratio, 1) ** -0.241 * max(ratio, 1) ** -1.200
    return {"egfr": 142 * part * 0.9938 ** r["age"] * 1.012}


def _cystatin(r: Mapping[str, float]) -> Mapping[str, float]:
    """Inker 2012; a woman."""
    ratio = r["cystatin-c"] / 0.8
    part = min(ratio, 1) ** -0.499 * max(ratio, 1) ** -1.328
    return {"egfr": 133 * part * 0.996 ** r["age"] * 0.932}


def _same(r: Mapping[str, float]) -> Mapping[str, float]:
    return {"albuminuria": r["uacr"]}


def _kfre_four(r: Mapping[str, float]) -> Mapping[str, float]:
    """Tangri 2016; a man in North America."""
    x = -0.2201 * (r["age"] / 10 - 7.036) + 0.2467 * (1 - 0.5642)
    x += -0.5567 * (r["egfr"] / 5 - 7.222) + 0.4510 * (log(r["uacr"]) - 5.137)
    return {f"kidney-failure@{y}": 1 - s ** exp(x) for y, s in ((2, 0.9750), (5, 0.9240))}


def _kfre_eight(r: Mapping[str, float]) -> Mapping[str, float]:
    """Tangri 2016; a man in North America."""
    x = -0.1992 * (r["age"] / 10 - 7.036) + 0.1602 * (1 - 0.5642)
    x += -0.4919 * (r["egfr"] / 5 - 7.222) + 0.3364 * (log(r["uacr"]) - 5.137)
    x += -0.3441 * (r["albumin"] - 3.997) + 0.2604 * (r["phosphate"] - 3.916)
    x += -0.07354 * (r["bicarbonate"] - 25.57) - 0.2228 * (r["calcium"] - 9.355)
    return {f"kidney-failure@{y}": 1 - s ** exp(x) for y, s in ((2, 0.9780), (5, 0.9301))}


def _meld3(r: Mapping[str, float]) -> Mapping[str, float]:
    """Kim 2021, and the OPTN form for 12 to 17; a man, or a boy."""
    bilirubin, inr = log(max(r["bilirubin"], 1)), log(max(r["inr"], 1))
    sodium, albumin = 137 - clip(r["sodium"], 125, 137), 3.5 - clip(r["albumin"], 1.5, 3.5)
    creatinine = log(clip(r["creatinine"], 1, 3))
    x = 4.56 * bilirubin + 0.82 * sodium - 0.24 * sodium * bilirubin + 9.09 * inr
    x += 11.14 * creatinine + 1.85 * albumin - 1.83 * albumin * creatinine
    return {"score": clip(half_up(x + (6 if r["age"] >= 18 else 7.33)), 6, 40)}


def _meld_na(r: Mapping[str, float]) -> Mapping[str, float]:
    """OPTN policy 9 of 2016."""
    x = 0.957 * log(clip(r["creatinine"], 1, 4)) + 0.378 * log(max(r["bilirubin"], 1))
    x = half_up(10 * (x + 1.120 * log(max(r["inr"], 1)) + 0.643))
    sodium = 137 - clip(r["sodium"], 125, 137)
    whole = x + (1.32 * sodium - 0.033 * x * sodium if x > 11 else 0)
    return {"score": clip(half_up(whole), 6, 40)}


# -- heart and vessels -------------------------------------------------------------------------


def _pce_2013(r: Mapping[str, float]) -> Mapping[str, float]:
    """Goff 2013; a White man, untreated, who does not smoke, without diabetes."""
    age, tc, hdl = log(r["age"]), log(r["total-cholesterol"]), log(r["hdl-cholesterol"])
    x = 12.344 * age + 11.853 * tc - 2.664 * age * tc - 7.990 * hdl + 1.769 * age * hdl
    x += 1.764 * log(r["systolic-bp"])
    return {"ascvd@10": 1 - 0.9144 ** exp(x - 61.1816)}


def _pce_2018(r: Mapping[str, float]) -> Mapping[str, float]:
    """Yadlowsky 2018; a man who is not Black, untreated, who does not smoke, no diabetes."""
    age, sbp = r["age"], r["systolic-bp"]
    x = -11.679980 + 0.064200 * age - 0.000061 * sbp**2 + 0.038950 * sbp
    x += 0.193307 * r["total-cholesterol"] / r["hdl-cholesterol"] + 0.000025 * age * sbp
    return {"ascvd@10": 1 / (1 + exp(-x))}


def _score2(r: Mapping[str, float]) -> Mapping[str, float]:
    """SCORE2 and SCORE2-OP; a man in a region of low risk who does not smoke."""
    tc, hdl = r["total-cholesterol"] / 38.67 - 6, r["hdl-cholesterol"] / 38.67
    if r["age"] < 70:
        age, sbp, hdl = (r["age"] - 60) / 5, (r["systolic-bp"] - 120) / 20, (hdl - 1.3) / 0.5
        x = 0.3742 * age + 0.2777 * sbp + 0.1458 * tc - 0.2698 * hdl
        x += -0.0255 * age * sbp - 0.0281 * age * tc + 0.0426 * age * hdl
        base, mean, one, two = 0.9605, 0.0, -0.5699, 0.7476
    else:
        age, sbp, hdl = r["age"] - 73, r["systolic-bp"] - 150, hdl - 1.4
        x = 0.0634 * age + 0.0094 * sbp + 0.0850 * tc - 0.3564 * hdl
        x += -0.0005 * age * sbp + 0.0073 * age * tc + 0.0091 * age * hdl
        base, mean, one, two = 0.7576, 0.0929, -0.34, 1.19
    own = 1 - base ** exp(x - mean)
    return {"cvd@10": 1 - exp(-exp(one + two * log(-log(1 - own))))}


def _cha2ds2_vasc(r: Mapping[str, float]) -> Mapping[str, float]:
    """A man with nothing but his age."""
    return {"score": 2.0 if r["age"] >= 75 else float(r["age"] >= 65)}


def _has_bled(r: Mapping[str, float]) -> Mapping[str, float]:
    points = (r["age"] > 65, r["systolic-bp"] > 160, r["alcohol-drinks-per-week"] >= 8)
    return {"score": float(sum(points))}


# -- lungs, cancer -----------------------------------------------------------------------------


def _plcom2012(r: Mapping[str, float]) -> Mapping[str, float]:
    """Without race, as ten Haaf 2020."""
    x = -4.536696 + 0.0778895 * (r["age"] - 62) - 0.0811569 * (r["education"] - 4)
    x += -0.0251066 * (r["bmi"] - 27) + 0.2675539 * r["smoking-current"]
    x += -1.767578 * (10 / r["cigarettes-per-day"] - 0.4021541613)
    x += 0.031949 * (r["years-smoked"] - 27) - 0.0312719 * (r["years-since-quit"] - 10)
    return {"lung-cancer@6": 1 / (1 + exp(-x))}


def _screening(r: Mapping[str, float]) -> Mapping[str, float]:
    """USPSTF 2021; the entry criteria of NELSON."""
    age, quit_, daily, years = (
        r[name] for name in ("age", "years-since-quit", "cigarettes-per-day", "years-smoked")
    )
    uspstf = 50 <= age <= 80 and r["pack-years"] >= 20 and quit_ <= 15
    smoked = (daily >= 15 and years > 25) or (daily >= 10 and years > 30)
    nelson = 50 <= age <= 75 and smoked and quit_ < 10
    return {"uspstf-2021": float(uspstf), "nelson-entry": float(nelson)}


# White women, by five years from 20: incidence of breast cancer and mortality of other causes, each
# for 100,000 women a year (the NCI's BCRA package 2.1.2, lambda1 and lambda2 of group 1).
_CANCER = (1, 7.6, 26.6, 66.1, 126.5, 186.6, 221.1, 272.1, 334.8, 392.3, 417.8, 443.9, 442.1, 410.9)
_OTHER = (
    49.3, 53.1, 62.5, 82.5, 130.7, 218.1, 365.5, 585.2, 943.9, 1502.8, 2383.9, 3883.2, 6682.8,
    14490.8,
)  # fmt: skip


def _gail(r: Mapping[str, float]) -> Mapping[str, float]:
    """Gail 1989, Costantino 1999; a White woman, no answer on hyperplasia."""
    biopsies, relatives = min(r["biopsies"], 2), min(r["first-degree-relatives"], 2)
    menarche = 2 if r["age-at-menarche"] < 12 else int(r["age-at-menarche"] < 14)
    birth = sum(r["age-at-first-birth"] >= age for age in (20, 25, 30))
    x = 0.5292641686 * biopsies + 0.0940103059 * menarche + 0.2186262218 * birth
    x += 0.9583027845 * relatives - 0.1908113865 * birth * relatives
    risk = gone = 0.0
    for band, (cancer, other) in enumerate(zip(_CANCER, _OTHER, strict=True)):
        start, end = max(r["age"], 20 + 5 * band), min(r["age-end"], 25 + 5 * band)
        later = -0.2880424830 * biopsies if band >= 6 else 0.0
        own = cancer / 1e5 * 0.5788413 * exp(x + later)
        both, years = own + other / 1e5, max(end - start, 0.0)
        risk += own / both * (exp(-gone) - exp(-gone - both * years))
        gone += both * years
    return {"breast-cancer": risk}


# -- points ------------------------------------------------------------------------------------


def _points(value: float, *steps: tuple[float, int], above: int) -> int:
    """The points of the first step that the value does not exceed."""
    return next((points for limit, points in steps if value <= limit), above)


def _news2(r: Mapping[str, float]) -> Mapping[str, float]:
    """RCP 2017, first oxygen scale; alert, breathing air."""
    return {
        "score": float(
            _points(r["respiratory-rate"], (8, 3), (11, 1), (20, 0), (24, 2), above=3)
            + _points(r["oxygen-saturation"], (91, 3), (93, 2), (95, 1), above=0)
            + _points(r["systolic-bp"], (90, 3), (100, 2), (110, 1), (219, 0), above=3)
            + _points(r["heart-rate"], (40, 3), (50, 1), (90, 0), (110, 1), (130, 2), above=3)
            + _points(r["body-temperature"], (35, 3), (36, 1), (38, 0), (39, 1), above=2)
        )
    }


def _qsofa(r: Mapping[str, float]) -> Mapping[str, float]:
    return {"score": float((r["respiratory-rate"] >= 22) + (r["systolic-bp"] <= 100))}


def _findrisc(r: Mapping[str, float]) -> Mapping[str, float]:
    """Lindstrom 2003; a man, active, with vegetables, nothing else."""
    age = _points(r["age"], (44, 0), (54, 2), (64, 3), above=4)
    size = _points(r["bmi"], (24.9, 0), (30, 1), above=3)
    waist = _points(r["waist-circumference"], (93, 0), (102, 3), above=4)
    return {"score": float(age + size + waist)}


def _ada(r: Mapping[str, float]) -> Mapping[str, float]:
    """A woman, active, nothing else."""
    age = _points(r["age"], (39, 0), (49, 1), (59, 2), above=3)
    return {"score": float(age + _points(r["bmi"], (24.9, 0), (29.9, 1), (39.9, 2), above=3))}


def _asthma(r: Mapping[str, float]) -> Mapping[str, float]:
    days = (r["daytime-symptom-days-per-week"] > 2, r["reliever-days-per-week"] > 2)
    percent = 100 * r["peak-expiratory-flow"] / r["personal-best-peak-flow"]
    return {"gina-symptom-control": float(sum(days)), "peak-flow": percent, "act": r["act-total"]}


# -- all of them -------------------------------------------------------------------------------

_LIVER = "age=50,bilirubin=2,sodium=130,inr=1.5,creatinine=1.5"
_LIVER_ENDS = {
    "age": (12, 120), "bilirubin": (0.05, 70), "sodium": (80, 225), "inr": (0.5, 50),
    "creatinine": (0.05, 60),
}  # fmt: skip
_LIPIDS = "total-cholesterol=213,hdl-cholesterol=50,systolic-bp=120"
_POOLED = f"sex=male,race=white,age=55,{_LIPIDS},bp-treatment=0,smoking-current=0,diabetes=0"
_POOLED_ENDS = {
    "age": (40, 79), "total-cholesterol": (130, 320), "hdl-cholesterol": (20, 100),
    "systolic-bp": (90, 200),
}  # fmt: skip
_KIDNEY = "age=60,sex=male,region=north-american,egfr=35,uacr=170"

CASES = (
    Case("fib4", "published", "age=50,ast=40,alt=40,platelets=200",
         {"age": (18, 120), "ast": (1, 30000), "alt": (1, 20000), "platelets": (1, 3000)}, _fib4),
    Case("ckd-epi-2021", "creatinine", "sex=female,age=50,creatinine=1",
         {"age": (18, 120), "creatinine": (0.05, 60)}, _creatinine),
    Case("ckd-epi-2021", "cystatin-c", "sex=female,age=50,cystatin-c=1",
         {"cystatin-c": (0.2, 15)}, _cystatin),
    Case("kdigo-albuminuria", "published", "uacr=30", {"uacr": (0.1, 30000)}, _same),
    Case("kfre", "four", _KIDNEY,
         {"age": (18, 120), "egfr": (1, BELOW_60), "uacr": (0.1, 30000)}, _kfre_four),
    Case("kfre", "eight", f"{_KIDNEY},albumin=4,phosphate=4,bicarbonate=25,calcium=9.5",
         {"albumin": (0.3, 8), "phosphate": (0.2, 25), "bicarbonate": (1, 66), "calcium": (2, 25)},
         _kfre_eight),
    Case("meld3", "published", f"sex=male,{_LIVER},albumin=3,dialysis=0",
         _LIVER_ENDS | {"albumin": (0.3, 8)}, _meld3),
    Case("meld-na", "published", f"{_LIVER},dialysis=0", _LIVER_ENDS, _meld_na),
    Case("pce-2013", "guideline", _POOLED, _POOLED_ENDS, _pce_2013),
    Case("pce-2018", "revised", _POOLED, _POOLED_ENDS, _pce_2018),
    Case("score2", "published", f"sex=male,region=low,age=60,smoking-current=0,{_LIPIDS}",
         {"age": (40, 89), "systolic-bp": (60, 250), "total-cholesterol": (77.34, 464.04),
          "hdl-cholesterol": (15.468, 116.01)}, _score2),
    Case("cha2ds2-vasc", "published",
         "age=50,sex=male,heart-failure=0,hypertension=0,diabetes=0,stroke-tia=0,vascular-disease=0",
         {"age": (18, 120)}, _cha2ds2_vasc),
    Case("has-bled", "published",
         "age=50,systolic-bp=120,abnormal-renal=0,abnormal-liver=0,stroke=0,bleeding=0,labile-inr=0,"
         "antiplatelet-or-nsaid=0,alcohol-drinks-per-week=0",
         {"age": (18, 120), "systolic-bp": (60, 300), "alcohol-drinks-per-week": (0, 200)},
         _has_bled),
    Case("plcom2012", "norace",
         "age=62,education=4,bmi=27,copd=0,personal-cancer=0,family-lung-cancer=0,smoking-current=0,"
         "cigarettes-per-day=20,years-smoked=27,years-since-quit=10",
         {"age": (55, 74), "education": (1, 6), "bmi": (10, 80), "cigarettes-per-day": (1, 120),
          "years-smoked": (1, 70), "years-since-quit": (0, 60)}, _plcom2012),
    Case("lung-screening", "published",
         "age=60,smoking-current=0,years-since-quit=5,cigarettes-per-day=20,years-smoked=30,"
         "pack-years=30",
         {"age": (18, 120), "years-since-quit": (0, 100), "cigarettes-per-day": (0, 120),
          "years-smoked": (0, 100), "pack-years": (0, 500)}, _screening),
    Case("bcrat", "",
         "age=65,age-end=70,race=white,biopsies=0,age-at-menarche=12,age-at-first-birth=25,"
         "first-degree-relatives=0",
         {"age": (20, BELOW_90), "age-end": (ABOVE_20, 90), "biopsies": (0, 30),
          "age-at-menarche": (7, 25), "age-at-first-birth": (8, 60),
          "first-degree-relatives": (0, 30)}, _gail, "1e-11",
         {"age": "age-end=90,age-at-first-birth=20", "age-end/low": "age=20,age-at-first-birth=19",
          "age-at-first-birth/low": "age-at-menarche=8"}),
    Case("news2", "published",
         "respiratory-rate=16,oxygen-saturation=97,spo2-scale-2=0,supplemental-oxygen=0,"
         "systolic-bp=120,heart-rate=70,body-temperature=37,consciousness=A",
         {"respiratory-rate": (1, 80), "oxygen-saturation": (40, 100), "systolic-bp": (30, 300),
          "heart-rate": (20, 250), "body-temperature": (25, 45)}, _news2),
    Case("qsofa", "published", "respiratory-rate=16,systolic-bp=120,consciousness=A",
         {"respiratory-rate": (1, 80), "systolic-bp": (30, 300)}, _qsofa),
    Case("findrisc", "published",
         "age=40,sex=male,bmi=22,waist-circumference=85,physically-active=1,vegetables-daily=1,"
         "bp-treatment-ever=0,high-glucose-ever=0,family-diabetes=none",
         {"age": (18, 120), "bmi": (10, 80), "waist-circumference": (40, 200)}, _findrisc),
    Case("ada-diabetes-risk", "published",
         "age=35,sex=female,gestational-diabetes=0,family-diabetes=0,hypertension=0,"
         "physically-active=1,bmi=22", {"age": (18, 120), "bmi": (10, 80)}, _ada),
    Case("asthma-control", "published",
         "daytime-symptom-days-per-week=0,night-waking=0,reliever-days-per-week=0,"
         "activity-limited=0,peak-expiratory-flow=400,personal-best-peak-flow=400,act-total=25",
         {"daytime-symptom-days-per-week": (0, 7), "reliever-days-per-week": (0, 7),
          "peak-expiratory-flow": (0, 1000), "personal-best-peak-flow": (50, 1000),
          "act-total": (5, 25)}, _asthma),
)  # fmt: skip


def rows(model: str) -> Iterator[Row]:
    for case in CASES:
        if case.model == model:
            for column, ends in case.ends.items():
                for side, end in zip(("low", "high"), ends, strict=True):
                    yield _row(case, column, side, end)


def _row(case: Case, column: str, side: str, end: float) -> Row:
    cells = _cells(case.base) | {column: f"{end!r}".removesuffix(".0")}
    cells |= _cells(case.also.get(f"{column}/{side}", case.also.get(column, "")))
    cells |= {column: f"{end!r}".removesuffix(".0")}
    said = case.numbers({name: _number(cell) for name, cell in cells.items()})
    named = {"id": f"EDGE-{column}-{side}", "source": SOURCE}
    named |= {"variant": case.variant} if case.variant else {}
    told = {name: f"{value:.15g}" for name, value in said.items()}
    return named | cells | told | {"tolerance": case.tolerance}


def _cells(text: str) -> Row:
    return dict(part.split("=") for part in text.split(",")) if text else {}


def _number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


def vectors_of(model: str) -> Path:
    here = TWIN_ENGINE / "equations" / model
    return (here if here.is_dir() else TWIN_ENGINE / "models" / model) / "vectors.csv"


def with_edges(model: str, text: str) -> str:
    """The table with these rows in place of those it has."""
    lines = [line for line in text.splitlines() if not line.startswith(("EDGE-", f"# {SOURCE}: "))]
    head = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    out = io.StringIO()
    writer = csv.DictWriter(out, lines[head].split(","), lineterminator="\n", restval="")
    writer.writerows(rows(model))
    return "\n".join([*lines[:head], f"# {SOURCE}: {CITED}", *lines[head:], out.getvalue()])


MODELS = tuple(dict.fromkeys(case.model for case in CASES))

if __name__ == "__main__":
    for name in MODELS:
        file = vectors_of(name)
        file.write_text(with_edges(name, file.read_text(encoding="utf-8")), encoding="utf-8")
