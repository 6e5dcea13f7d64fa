"""Recalibration: a model's probabilities moved to what came to pass where it is used.

The smallest change that the data ask for: none, the intercept, intercept and slope; or a monotone
curve. What results is a new version of the model under its own label, `1.0.0+local.1`; the
published version stays as it is. Nothing of a person stays in a curve: an isotonic one is fitted on
groups of people and kept at fixed probabilities.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from twin_engine.equations.expression import FloatArray
from twin_engine.models.canonical import digest
from twin_engine.models.contract import Columns, Model, Target
from twin_engine.models.validation import (
    ENOUGH_EVENTS,
    LEAST_PEOPLE,
    SEED,
    fitted,
    in_the_large,
    log_odds,
    risk_of,
)
from twin_engine.models.vectors import Vector

METHODS = ("auto", "intercept", "logistic", "isotonic")
FOLDS = 10
# 95 % points of chi-squared with one and two degrees of freedom.
ONE_STEP, TWO_STEPS = 3.841458820694124, 5.991464547107979
GRID = np.linspace(-7.0, 7.0, 41)  # log-odds at which an isotonic curve is kept
LOCAL = "+local."


class RecalibrationError(ValueError):
    """There is nothing to change, or too little to change it by; the message says which."""


@dataclass(frozen=True)
class Curve:
    """From a published probability to a local one; it never turns the order of people round."""

    method: str
    intercept: float = 0.0
    slope: float = 1.0
    knots: tuple[tuple[float, float], ...] = ()  # of an isotonic one

    def applied(self, predicted: FloatArray) -> FloatArray:
        if self.method == "isotonic":
            x, y = np.array(self.knots).T
            return np.asarray(np.interp(predicted, x, y))
        return risk_of(self.intercept + self.slope * log_odds(predicted))

    def as_plain(self) -> dict[str, Any]:
        if self.method == "isotonic":
            return {"method": self.method, "knots": [list(pair) for pair in self.knots]}
        return {"method": self.method, "intercept": self.intercept, "slope": self.slope}

    @staticmethod
    def of(plain: Mapping[str, Any]) -> "Curve":
        knots = tuple((float(x), float(y)) for x, y in plain.get("knots", ()))
        return Curve(plain["method"], plain.get("intercept", 0.0), plain.get("slope", 1.0), knots)


# -- fitting -----------------------------------------------------------------------------------


def fit(predicted: FloatArray, observed: FloatArray, method: str = "auto") -> Curve:
    """The curve of a method; `auto` makes the smallest change that the data ask for."""
    events = float(observed.sum())
    if min(events, len(observed) - events) < ENOUGH_EVENTS:
        raise RecalibrationError(
            f"fewer than {ENOUGH_EVENTS} events, or people without one: too few to recalibrate by"
        )
    if np.ptp(predicted) == 0:
        raise RecalibrationError("everybody is predicted alike: there is nothing to recalibrate")
    chosen = smallest_change(predicted, observed) if method == "auto" else method
    match chosen:
        case "none":
            raise RecalibrationError(
                "the data ask for no change (closed test at 5 %); name a method to make one anyway"
            )
        case "intercept":
            return Curve("intercept", in_the_large(predicted, observed))
        case "logistic":
            return Curve("logistic", *_rising(*fitted(predicted, observed)))
        case "isotonic":
            return _isotonic(predicted, observed)
    raise RecalibrationError(f"no method {method!r}; there are: {', '.join(METHODS)}")


def _rising(intercept: float, slope: float) -> tuple[float, float]:
    if slope <= 0:
        raise RecalibrationError(
            "higher predictions go with fewer events here: no recalibration can mend that"
        )
    return intercept, slope


def smallest_change(predicted: FloatArray, observed: FloatArray) -> str:
    """Closed testing (Vergouwe 2017): none, intercept or logistic, by likelihood ratios."""
    odds = log_odds(predicted)
    intercept, slope = fitted(predicted, observed)
    none = _likelihood(odds, observed)
    moved = _likelihood(odds + in_the_large(predicted, observed), observed)
    both = _likelihood(intercept + slope * odds, observed)
    if 2 * (both - none) < TWO_STEPS:
        return "none"
    return "intercept" if 2 * (both - moved) < ONE_STEP else "logistic"


def _likelihood(odds: FloatArray, observed: FloatArray) -> float:
    return float(np.sum(observed * odds - np.logaddexp(0.0, odds)))


def _isotonic(predicted: FloatArray, observed: FloatArray) -> Curve:
    """scikit-learn's isotonic regression over groups of people, kept on a fixed grid and away
    from 0 and 1, which nothing but certainty would justify."""
    from sklearn.isotonic import IsotonicRegression  # heavy, and seldom needed

    order = np.argsort(predicted, kind="stable")
    groups = np.array_split(order, max(2, len(order) // max(LEAST_PEOPLE, len(order) // 100)))
    x = np.array([predicted[group].mean() for group in groups])
    y = np.array([observed[group].mean() for group in groups])
    weights = np.array([len(group) for group in groups])
    edge = 0.5 / len(predicted)
    regression = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip")
    regression.fit(x, y, sample_weight=weights)
    grid = risk_of(GRID)
    values = regression.predict(grid)
    return Curve("isotonic", knots=tuple(zip(grid.tolist(), values.tolist(), strict=True)))


def crossed(predicted: FloatArray, observed: FloatArray, method: str) -> FloatArray:
    """Every person recalibrated by a curve that others made: an honest look at what it does."""
    random = np.random.RandomState(SEED)
    fold = random.permutation(len(predicted)) % FOLDS
    found = np.empty(len(predicted))
    for number in range(FOLDS):
        out = fold == number
        curve = _fold_curve(predicted[~out], observed[~out], method)
        found[out] = curve.applied(predicted[out])
    return found


def _fold_curve(predicted: FloatArray, observed: FloatArray, method: str) -> Curve:
    """The method that was chosen on all, without asking again whether there are enough events."""
    match method:
        case "intercept":
            return Curve("intercept", in_the_large(predicted, observed))
        case "logistic":
            return Curve("logistic", *fitted(predicted, observed))
    return _isotonic(predicted, observed)


# -- the version -------------------------------------------------------------------------------


class LocalVersion(Model):
    """A model with some of its probabilities recalibrated; everything else is the model's own."""

    def __init__(self, base: Model, content: Mapping[str, Any]) -> None:
        """`content` is what `twinport models recalibrate` keeps (see `described`)."""
        self.base, self.local = base, content
        self.id, self.kind, self.title = base.id, base.kind, base.title
        self.version = label(content)
        self.inputs, self.outcomes = base.inputs, base.outcomes
        self.variants, self.aliases, self.choices = base.variants, base.aliases, base.choices
        self.exclusions, self.inclusions = base.exclusions, base.inclusions
        self.monotone, self.not_monotone = base.monotone, base.not_monotone
        self.derivations = base.derivations
        self.on_request, self.rows_only = base.on_request, base.rows_only
        self.only_with, self.bands = base.only_with, base.bands
        self.codings, self.ai_kinds = base.codings, base.ai_kinds
        self.requires_all, self.predictor_scale = base.requires_all, base.predictor_scale
        self.shelf_life_days, self.stake = base.shelf_life_days, base.stake
        self.card = _card(base, content)
        self.content = dict(base.content) | {"recalibration": digest(_plain(content))}
        self._curves = [
            (_target(one), one["variant"], Curve.of(one["curve"])) for one in content["curves"]
        ]

    def compute(self, columns: Columns, variant: str, targets: Sequence[Target]) -> FloatArray:
        values = np.array(self.base.compute(columns, variant, targets), dtype=np.float64)
        for target, of_variant, curve in self._curves:
            if target in targets and of_variant in ("", variant):
                index = list(targets).index(target)
                values[index] = curve.applied(values[index])
        return values

    def predictor(self, columns: Columns, variant: str, targets: Sequence[Target]) -> FloatArray:
        """Contributions stay those of the published equation."""
        return self.base.predictor(columns, variant, targets)

    def vectors(self) -> Sequence[Vector]:
        """The published equation's reference values, each seen through the curve of its outcome."""
        return [self._local(vector) for vector in self.base.vectors()]

    def _local(self, vector: Vector) -> Vector:
        """What the source says, moved; its last digit counts for more where the curve is steep."""
        expected, tolerance = dict(vector.expected), vector.tolerance
        for target, of_variant, curve in self._curves:
            said = expected.get(target)
            if isinstance(said, float) and of_variant in ("", self._variant_of(vector)):
                digit = np.array([-1, 0, 1]) * vector.tolerance
                low, local, high = curve.applied(said + digit).tolist()
                expected[target] = local
                tolerance = max(tolerance, high - local, local - low)
        return replace(vector, expected=expected, tolerance=tolerance)

    def _variant_of(self, vector: Vector) -> str:
        if vector.variant is not None:
            return vector.variant
        columns = {name: np.array([value]) for name, value in vector.inputs.items()}
        order: list[str] = list(self.variants)
        return order[int(self.choose(self.usable(self.prepare(columns)))[0])]

    def derive(self, columns: dict[str, FloatArray]) -> dict[str, FloatArray]:
        return self.base.derive(columns)

    def needs(self, variant: str, target: Target) -> frozenset[str]:
        return self.base.needs(variant, target)

    def category(
        self, target: Target, value: float, row: Mapping[str, float]
    ) -> tuple[str, str] | None:
        return self.base.category(target, value, row)


def label(content: Mapping[str, Any]) -> str:
    """The version of a local version: the one it was made of, and its number."""
    return f"{content['base']}{LOCAL}{content['number']}"


def _target(one: Mapping[str, Any]) -> Target:
    return Target(one["outcome"], one["horizonYears"])


def _plain(content: Mapping[str, Any]) -> dict[str, Any]:
    """What the numbers follow from, without who made it and when."""
    return {name: content[name] for name in ("model", "base", "number", "curves")}


def _card(base: Model, content: Mapping[str, Any]) -> dict[str, Any]:
    told = "; ".join(map(_told, content["curves"]))
    name = label(content)
    return dict(base.card) | {
        "summary": f"LOCAL VERSION {name}, recalibrated on this installation's own outcomes: "
        f"{told}. {base.card['summary']}",
        "local_validity": f"Recalibrated here: {told}. {_evidence(content['curves'])}",
        "update_process": f"Made here on {content['made']} of version {content['base']}. It runs "
        f"only while a person has it switched on; who, when and why is kept. "
        f"{base.card['update_process']}",
        "history": [f"{name}: recalibrated here ({told}).", *_listed(base.card["history"])],
    }


def _told(one: Mapping[str, Any]) -> str:
    years = f", {one['horizonYears']} years" if one["horizonYears"] is not None else ""
    variant = f", variant {one['variant']}" if one["variant"] else ""
    return f"{one['outcome']}{years}{variant} ({one['curve']['method']})"


def _evidence(curves: Sequence[Mapping[str, Any]]) -> str:
    return " ".join(
        f"{one['outcome']}: {one['people']} people, {one['events']} events; observed over expected "
        f"{one['before']['observedOverExpected']['value']:.2f} before and "
        f"{one['after']['observedOverExpected']['value']:.2f} after (cross-validated), slope "
        f"{one['before']['calibration']['slope']['value']:.2f} and "
        f"{one['after']['calibration']['slope']['value']:.2f}."
        for one in curves
    )


def _listed(field: Any) -> list[str]:
    return list(field) if isinstance(field, list | tuple) else [str(field)]


def described(
    base: Model,
    number: int,
    made: str,
    target: Target,
    variant: str,
    curve: Curve,
    people: Mapping[str, Any],
) -> dict[str, Any]:
    """What is kept of a recalibration: plain data, and nothing of a person. `people`: how many,
    how many events, and the validation before and after (cross-validated)."""
    return {
        "model": base.id,
        "base": base.version,
        "number": number,
        "made": made,
        "curves": [
            {
                "outcome": target.outcome,
                "horizonYears": target.horizon,
                "variant": variant,
                "curve": curve.as_plain(),
                **people,
            }
        ],
    }
