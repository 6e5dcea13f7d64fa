"""Recalibration: curves against scikit-learn, the smallest change, and the version it makes."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models_twins import state
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from twin_engine.document.schema import check
from twin_engine.models.assess import Request, assess, recompute
from twin_engine.models.cards import card, card_digest, markdown
from twin_engine.models.check import findings
from twin_engine.models.contract import Target
from twin_engine.models.recalibrate import (
    Curve,
    LocalVersion,
    RecalibrationError,
    crossed,
    described,
    fit,
    smallest_change,
)
from twin_engine.models.registry import get
from twin_engine.models.validation import validate

RANDOM = np.random.RandomState(3)
RISK = 1 / (1 + np.exp(-RANDOM.normal(-2, 1, 4000)))
ASCVD = Target("ascvd", 10)


def events(risk: Any, seed: int = 4) -> Any:
    return (np.random.RandomState(seed).uniform(size=len(risk)) < risk).astype(float)


def shifted(risk: Any, intercept: float, slope: float) -> Any:
    return 1 / (1 + np.exp(-(intercept + slope * np.log(risk / (1 - risk)))))


RIGHT, MOVED, TURNED = RISK, shifted(RISK, 0.7, 1.0), shifted(RISK, -0.5, 0.6)


# -- curves ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("truth", "change"), [(RIGHT, "none"), (MOVED, "intercept"), (TURNED, "logistic")]
)
def test_the_smallest_change_that_the_data_ask_for(truth: Any, change: str) -> None:
    assert smallest_change(RISK, events(truth)) == change


def test_a_logistic_curve_is_that_of_scikit_learn() -> None:
    observed = events(TURNED)
    odds = np.log(RISK / (1 - RISK))[:, None]
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(odds, observed)
    curve = fit(RISK, observed, "logistic")
    assert curve.applied(RISK) == pytest.approx(reference.predict_proba(odds)[:, 1], abs=1e-4)
    assert (curve.intercept, curve.slope) == pytest.approx((-0.5, 0.6), abs=0.15)


def test_an_intercept_makes_expected_equal_observed() -> None:
    observed = events(MOVED)
    assert fit(RISK, observed, "intercept").applied(RISK).sum() == pytest.approx(observed.sum())


def test_an_isotonic_curve_follows_scikit_learn_on_all_people() -> None:
    """Groups and a grid cost little; what they save is that no person stands in the curve."""
    observed = events(TURNED)
    curve = fit(RISK, observed, "isotonic")
    exact = IsotonicRegression(out_of_bounds="clip").fit(RISK, observed).predict(RISK)
    assert np.mean(np.abs(curve.applied(RISK) - exact)) < 0.02
    kept = {x for x, _ in curve.knots}
    assert kept.isdisjoint(RISK.tolist())
    assert len(kept) == 41
    assert curve.applied(np.array([0.0]))[0] > 0
    assert curve.applied(np.array([1.0]))[0] < 1


@settings(max_examples=12)
@given(st.sampled_from(["intercept", "logistic", "isotonic"]), st.integers(0, 50))
def test_no_curve_turns_the_order_of_people_round(method: str, seed: int) -> None:
    curve = fit(RISK, events(TURNED, seed), method)
    values = curve.applied(np.linspace(0.0001, 0.9999, 500))
    assert (np.diff(values) >= 0).all()
    assert ((values > 0) & (values < 1)).all()
    assert Curve.of(curve.as_plain()) == curve


def test_nothing_is_made_where_nothing_is_needed_or_known() -> None:
    with pytest.raises(RecalibrationError, match="no change"):
        fit(RISK, events(RIGHT))
    with pytest.raises(RecalibrationError, match="fewer than 100 events"):
        fit(RISK[:300], events(RISK[:300]))
    with pytest.raises(RecalibrationError, match="no recalibration can mend"):
        fit(RISK, events(shifted(RISK, -4, -1.0)), "logistic")
    with pytest.raises(RecalibrationError, match="predicted alike"):
        fit(np.full(1000, 0.5), events(np.full(1000, 0.5)))


def test_the_look_afterwards_is_by_curves_that_others_made() -> None:
    before, after = looks()
    assert before["observedOverExpected"]["value"] > 1.3
    assert after["observedOverExpected"]["value"] == pytest.approx(1, abs=0.02)
    assert after["cStatistic"]["value"] == pytest.approx(before["cStatistic"]["value"], abs=0.01)


# -- the version -------------------------------------------------------------------------------


OBSERVED = events(MOVED)


@cache
def looks() -> tuple[Any, Any]:
    """Before and after, cross-validated."""
    few, came = RISK[:1200], OBSERVED[:1200]
    return validate(few, came), validate(crossed(few, came, "logistic"), came)


def content(variant: str = "", model: str = "prevent", of: Target = ASCVD) -> dict[str, Any]:
    before, after = looks()
    people = {
        "people": len(RISK), "events": int(OBSERVED.sum()), "before": before, "after": after,
    }  # fmt: skip
    curve = fit(RISK, OBSERVED, "logistic")
    return described(get(model), 1, "2026-05-04", of, variant, curve, people)


@cache
def local_version() -> LocalVersion:
    return LocalVersion(get("prevent"), content())


def test_it_keeps_the_contract() -> None:
    kidney = content(model="kfre", of=Target("kidney-failure", 5))
    assert findings(LocalVersion(get("kfre"), kidney)) == []


def test_one_outcome_is_moved_and_the_others_stay_as_published() -> None:
    (published,) = assess(state(), ["prevent"])
    (local,) = assess(state(), [Request(local_version())])
    curve = Curve.of(local_version().local["curves"][0]["curve"])
    for one, other in zip(published["results"], local["results"], strict=True):
        moved = (one["outcome"], one["horizonYears"]) == ("ascvd", 10)
        expected = curve.applied(np.array([one["value"]]))[0] if moved else one["value"]
        assert other["value"] == pytest.approx(expected, abs=1e-12)
        assert other["interval"]["low"] <= other["value"] <= other["interval"]["high"]
        assert other["contributions"] == one["contributions"]


def test_the_label_stands_on_every_assessment_and_on_the_card() -> None:
    (local,) = assess(state(), [Request(local_version())])
    assert local["model"]["version"] == f"{get('prevent').version}+local.1"
    assert local["model"]["card"] == card_digest(local_version()) != card_digest(get("prevent"))
    (published,) = assess(state(), ["prevent"])
    assert local["snapshot"] != published["snapshot"]
    check({**state().document, "assessments": [local]})
    page = markdown(local_version())
    assert "LOCAL VERSION" in page
    assert "observed over expected" in page
    assert "recalibration" in card(local_version())["content"]


def test_a_receiver_without_it_is_told_that_it_is_another_version() -> None:
    whole = {**state().document, "assessments": assess(state(), [Request(local_version())])}
    assert [one.outcome for one in recompute(whole)] == ["other-version"]


def test_a_curve_of_one_variant_leaves_the_others_alone() -> None:
    other = LocalVersion(get("prevent"), content(variant="hba1c"))
    (published,) = assess(state(), ["prevent"])
    (same,) = assess(state(), [Request(other)])
    assert [one["value"] for one in same["results"]] == [
        one["value"] for one in published["results"]
    ]
