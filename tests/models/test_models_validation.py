"""Local validation: statistics against known values, and what is not said of few people."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from support.shell import Shell

from service.cli.exits import Exit
from service.cli.validate import figures, lines
from service.plots import calibration, decision
from twin_engine.models.validation import (
    SMALL,
    brier,
    c_statistic,
    fitted,
    in_the_large,
    net_benefit,
    treat_all,
    validate,
)

RANDOM = np.random.RandomState(5)
RISK = 1 / (1 + np.exp(-RANDOM.normal(-2, 1, 2000)))
EVENTS = (RANDOM.uniform(size=2000) < RISK).astype(float)


# -- statistics --------------------------------------------------------------------------------


def test_net_benefit_of_a_worked_example() -> None:
    """1000 people, 80 true and 200 false positives at 10 %: 0.08 - 0.2 x 1/9."""
    predicted = np.concatenate([np.full(280, 0.5), np.full(720, 0.01)])
    observed = np.concatenate([np.ones(80), np.zeros(200), np.ones(20), np.zeros(700)])
    assert net_benefit(predicted, observed, 0.1) == pytest.approx(0.05778, abs=5e-6)
    assert treat_all(0.1, 0.1) == pytest.approx(0, abs=1e-15)
    assert treat_all(0.1, 0.05) == pytest.approx(0.05263, abs=5e-6)


def test_slope_and_intercept_are_those_of_logistic_regression() -> None:
    odds = np.log(RISK / (1 - RISK))[:, None]
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(odds, EVENTS)
    intercept, slope = fitted(RISK, EVENTS)
    assert slope == pytest.approx(float(reference.coef_[0, 0]), abs=1e-4)
    assert intercept == pytest.approx(float(reference.intercept_[0]), abs=1e-4)


def test_what_is_right_is_found_right_and_what_is_shifted_is_found_shifted() -> None:
    assert fitted(RISK, EVENTS)[1] == pytest.approx(1, abs=0.15)
    odds = np.log(RISK / (1 - RISK))
    doubled = 1 / (1 + np.exp(-2 * odds))
    assert fitted(doubled, EVENTS)[1] == pytest.approx(fitted(RISK, EVENTS)[1] / 2, abs=1e-9)
    shifted = 1 / (1 + np.exp(-(odds + 1)))
    moved = in_the_large(shifted, EVENTS) - in_the_large(RISK, EVENTS)
    assert moved == pytest.approx(-1, abs=1e-9)


def test_discrimination_is_the_share_of_pairs_in_the_right_order() -> None:
    predicted, observed = np.array([0.1, 0.4, 0.35, 0.8]), np.array([0.0, 0.0, 1.0, 1.0])
    assert c_statistic(predicted, observed) == 0.75
    assert c_statistic(np.array([0.2, 0.2, 0.2]), np.array([0.0, 1.0, 1.0])) == 0.5
    assert c_statistic(RISK, EVENTS) == pytest.approx(roc_auc_score(EVENTS, RISK), abs=1e-12)
    assert brier(predicted, observed) == pytest.approx((0.01 + 0.16 + 0.4225 + 0.04) / 4)


def test_a_report_is_the_same_every_time_and_holds_its_points() -> None:
    one = validate(RISK, EVENTS, thresholds=[0.1])
    assert one == validate(RISK, EVENTS, thresholds=[0.1])
    for name in ("cStatistic", "brier", "scaledBrier", "observedOverExpected"):
        assert one[name]["low"] <= one[name]["value"] <= one[name]["high"]
    assert one["netBenefit"][0]["model"]["value"] > one["netBenefit"][0]["treatAll"]
    assert [tenth["people"] for tenth in one["tenths"]] == [200] * 10


# -- few people --------------------------------------------------------------------------------


def test_a_small_group_is_neither_judged_nor_named() -> None:
    labels = ["north"] * 1900 + ["south"] * 90 + ["Room 7"] * 10
    groups = validate(RISK, EVENTS, groups={"ward": labels})["groups"]["ward"]
    assert groups["north"]["verdict"] == "judged"
    assert groups["south"] == {"people": 90, "verdict": "not-enough-to-judge"}
    assert groups[SMALL] == {"verdict": "too-few-people"}
    assert "Room 7" not in groups


def test_few_events_give_observed_over_expected_and_no_more() -> None:
    few = validate(RISK[:300], EVENTS[:300], groups={"sex": ["female"] * 300})
    assert few["verdict"] == "too-few-events-to-judge"
    assert few.keys() == {"people", "events", "verdict", "observedOverExpected"}
    assert validate(RISK[:10], EVENTS[:10]) == {"verdict": "too-few-people"}


def test_a_prediction_that_is_the_same_for_all_is_not_judged() -> None:
    assert validate(np.full(2000, 0.1), EVENTS)["verdict"] == "everybody-predicted-alike"


# -- the command -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Made-up people for PREVENT, with events drawn from a risk of their own."""
    folder = tmp_path_factory.mktemp("validation")
    random = np.random.RandomState(9)
    rows, outcomes = folder / "rows.csv", folder / "outcomes.csv"
    head = "id,age,sex,total-cholesterol,hdl-cholesterol,systolic-bp,egfr,diabetes,smoking-current"
    with rows.open("w") as file, outcomes.open("w") as events:
        file.write(f"{head},bp-treatment,statin,ward\n")
        events.write("id,event\n")
        for number in range(2000):
            age, systolic = random.uniform(28, 79), random.uniform(100, 190)
            sex = ("female", "male")[number % 2]
            file.write(
                f"p{number},{age:.1f},{sex},200,50,{systolic:.0f},90,0,0,0,0,w{number % 2}\n"
            )
            risk = 1 / (1 + np.exp(9 - 0.06 * age - 0.02 * systolic))
            events.write(f"p{number},{int(random.uniform() < risk)}\n")
    return {"rows": rows, "outcomes": outcomes}


def run(shell: Shell, files: dict[str, Path], *more: object) -> Any:
    return shell(
        "models", "validate", "prevent:base", "--in", files["rows"],
        "--outcomes", files["outcomes"], *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def report(signed: tuple[Shell, Path], files: dict[str, Path]) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TWINPORT_HOME", str(signed[0].home))
        more = ("--outcome", "ascvd", "--threshold", "0.075", "--group", "ward", "--json")
        return run(signed[0], files, *more).json


@pytest.mark.slow
def test_rows_and_outcomes_are_joined_and_judged(report: Any) -> None:
    assert (report["outcome"], report["horizonYears"]) == ("ascvd", 10)
    assert report["rows"] == 2000
    assert report["refused"] > 0, "people under 30 are outside the published range"
    assert report["people"] + report["refused"] == 2000
    assert report["cStatistic"]["value"] > 0.6
    assert set(report["groups"]) == {"sex", "age-band", "ward"}
    assert report["groups"]["age-band"]["70 and over"]["verdict"] == "judged"


@pytest.mark.slow
def test_the_words_hold_no_row_of_a_person(report: Any) -> None:
    told = "\n".join(lines(report))
    assert "calibration slope" in told
    assert "net benefit at 0.075" in told
    assert "p17" not in told


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["prevent", "--outcome", "nothing"], Exit.USAGE),
        (["prevent", "--horizon", "7"], Exit.USAGE),
        (["ckd-epi-2021"], Exit.USAGE),
        (["no-such-model"], Exit.USAGE),
    ],
)
def test_a_wrong_question_is_one_line(
    shell: Shell, files: dict[str, Path], arguments: list[str], code: Exit
) -> None:
    ran = shell(
        "models", "validate", *arguments, "--in", files["rows"], "--outcomes", files["outcomes"]
    )
    assert ran.code == code
    assert ran.error


@pytest.mark.parametrize(
    "text", ["id,event\np1,Zq7\n", "id\np1\n", "id,event\np1,0\np1,1\n", "event\n1\n"]
)
def test_outcomes_that_cannot_be_read_are_refused_without_their_values(
    shell: Shell, files: dict[str, Path], tmp_path: Path, text: str
) -> None:
    wrong = tmp_path / "outcomes.csv"
    wrong.write_text(text)
    ran = run(shell, {**files, "outcomes": wrong})
    assert ran.code == Exit.INPUT
    assert "Zq7" not in ran.error


# -- figures -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_report_is_saved_with_its_figures(
    signed: tuple[Shell, Path],
    files: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TWINPORT_HOME", str(signed[0].home))
    folder = tmp_path / "report"
    ran = run(signed[0], files, "--outcome", "ascvd", "--out", folder)
    assert ran.code == 0
    names = {path.name for path in folder.iterdir()}
    assert names == {"report.html", "report.json", "calibration.svg", "decision.svg"}
    page = folder.joinpath("report.html").read_text()
    for name in ("calibration.svg", "decision.svg"):
        drawn = folder.joinpath(name).read_text()
        root = ElementTree.fromstring(drawn)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.find("{http://www.w3.org/2000/svg}title") is not None
        assert drawn in page
    assert "p17" not in page
    assert "<script" not in page


def test_every_tenth_is_drawn_where_it_lies() -> None:
    report = validate(RISK, EVENTS)
    root = ElementTree.fromstring(calibration(report))
    circles = root.findall("{http://www.w3.org/2000/svg}circle")
    assert len(circles) == len(report["tenths"]) == 10
    across = [float(one.attrib["cx"]) for one in circles]
    down = [float(one.attrib["cy"]) for one in circles]
    assert across == sorted(across)
    assert down[0] > down[-1], "more is observed where more is predicted, and up is less y"
    assert ElementTree.fromstring(decision(report)) is not None


def test_a_share_has_wilson_s_interval() -> None:
    """10 of 100: 0.0552 to 0.1744 (Wilson 1927, as in every textbook)."""
    predicted = np.repeat(np.arange(10) / 20 + 0.01, 100)
    observed = np.tile(np.repeat([1.0, 0.0], [10, 90]), 10)
    tenth = validate(predicted, observed)["tenths"][0]
    assert (tenth["low"], tenth["high"]) == pytest.approx((0.0552, 0.1744), abs=5e-5)


def test_a_small_cell_of_the_histogram_is_not_counted() -> None:
    counted = [one["people"] for one in validate(RISK, EVENTS)["histogram"]]
    assert all(people is None or people >= 11 for people in counted)
    assert None in counted


def test_what_was_not_judged_has_no_figure(tmp_path: Path) -> None:
    assert figures(validate(RISK[:200], EVENTS[:200])) == {}
