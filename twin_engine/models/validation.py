"""How well a model's probabilities hold where it is used: against what came to pass.

Discrimination, calibration, Brier score and net benefit, over all and by group, each with a
bootstrap interval. Few events say little: below `ENOUGH_EVENTS` only observed over expected is
given, and a group below `LEAST_PEOPLE` or `LEAST_EVENTS` is named and not judged.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin_engine.equations.expression import FloatArray

LEAST_PEOPLE = 11  # k: a smaller cell could point at a person
LEAST_EVENTS = 20  # own choice: fewer events of a group are not enough to judge it
ENOUGH_EVENTS = 100  # Collins 2016 (PMC4738418): fewer are too few to judge a model
RESAMPLES = 500
SEED = 20240311
Z95 = 1.959963984540054
SMALL = f"(fewer than {LEAST_PEOPLE} people)"
EDGE = 1e-12  # a probability of 0 or 1 has no log-odds
TENTHS = 10

Report = dict[str, Any]


def validate(
    predicted: FloatArray,
    observed: FloatArray,
    *,
    thresholds: Sequence[float] = (),
    groups: Mapping[str, Sequence[str]] | None = None,
) -> Report:
    """`observed` is 0 or 1 per person; `groups` names a label per person for each grouping."""
    report = _judged(predicted, observed, thresholds)
    if "calibration" in report:
        report["tenths"] = _tenths(predicted, observed)
        report["decisionCurve"] = _decision_curve(predicted, observed)
        report["histogram"] = _histogram(predicted)
        report["groups"] = {
            name: dict(_by_label(predicted, observed, np.array(labels), thresholds))
            for name, labels in (groups or {}).items()
        }
    return report


def _by_label(
    predicted: FloatArray,
    observed: FloatArray,
    labels: NDArray[np.str_],
    thresholds: Sequence[float],
) -> Iterator[tuple[str, Report]]:
    for label in sorted(set(labels.tolist())):
        here = labels == label
        people, events = int(here.sum()), int(observed[here].sum())
        if people < LEAST_PEOPLE:
            yield SMALL, {"verdict": "too-few-people"}  # not even the label, nor how many
        elif min(events, people - events) < LEAST_EVENTS or np.ptp(predicted[here]) == 0:
            yield label, {"people": people, "verdict": "not-enough-to-judge"}
        else:
            yield label, _statistics(predicted[here], observed[here], thresholds)


def _judged(predicted: FloatArray, observed: FloatArray, thresholds: Sequence[float]) -> Report:
    people, events = len(observed), int(observed.sum())
    if people < LEAST_PEOPLE:
        return {"verdict": "too-few-people"}
    if np.ptp(predicted) == 0:
        return {"people": people, "verdict": "everybody-predicted-alike"}
    if min(events, people - events) < ENOUGH_EVENTS:
        few: Report = {"people": people, "verdict": "too-few-events-to-judge"}
        if events >= LEAST_PEOPLE:
            few |= {"events": events, "observedOverExpected": _over(predicted, observed)}
        return few
    return _statistics(predicted, observed, thresholds)


def _statistics(predicted: FloatArray, observed: FloatArray, thresholds: Sequence[float]) -> Report:
    measured = _with_intervals(predicted, observed, thresholds)
    return {
        "people": len(observed),
        "events": int(observed.sum()),
        "verdict": "judged",
        "observedOverExpected": _over(predicted, observed),
        "cStatistic": measured[0],
        "calibration": {"inTheLarge": measured[1], "slope": measured[2]},
        "brier": measured[3],
        "scaledBrier": measured[4],
        "netBenefit": [
            {
                "threshold": at,
                "model": found,
                "treatAll": treat_all(float(observed.mean()), at),
            }
            for at, found in zip(thresholds, measured[5:], strict=True)
        ],
    }


# -- statistics --------------------------------------------------------------------------------


def c_statistic(predicted: FloatArray, observed: FloatArray) -> float:
    """The share of pairs, one with and one without the event, in the right order; a tie is half."""
    _, place, counts = np.unique(predicted, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    events = observed.sum()
    pairs = events * (len(observed) - events)
    return float((ranks[observed == 1].sum() - events * (events + 1) / 2) / pairs)


def brier(predicted: FloatArray, observed: FloatArray) -> float:
    return float(np.mean((predicted - observed) ** 2))


def scaled_brier(predicted: FloatArray, observed: FloatArray) -> float:
    share = float(observed.mean())
    return 1 - brier(predicted, observed) / (share * (1 - share))


def net_benefit(predicted: FloatArray, observed: FloatArray, threshold: float) -> float:
    """True positives less false positives, these weighed by the odds of the threshold."""
    positive = predicted >= threshold
    true = float(np.sum(positive & (observed == 1))) / len(observed)
    false = float(np.sum(positive & (observed == 0))) / len(observed)
    return true - false * threshold / (1 - threshold)


def treat_all(share: float, threshold: float) -> float:
    return share - (1 - share) * threshold / (1 - threshold)


def in_the_large(predicted: FloatArray, observed: FloatArray) -> float:
    """The shift of the log-odds that makes expected equal observed; 0 where they are."""
    shift, odds = 0.0, log_odds(predicted)
    for _ in range(50):
        risk = risk_of(odds + shift)
        step = float(np.sum(observed - risk) / np.sum(risk * (1 - risk)))
        shift += step
        if abs(step) < EDGE:
            break
    return shift


def fitted(predicted: FloatArray, observed: FloatArray) -> tuple[float, float]:
    """Intercept and slope of the observed on the predicted log-odds; slope 1 is right."""
    design = np.column_stack([np.ones(len(predicted)), log_odds(predicted)])
    share = float(observed.mean())
    weights = np.array([np.log(share / (1 - share)), 0.0])  # Newton's method may overshoot from 1
    for _ in range(50):
        risk = risk_of(design @ weights)
        information = design.T @ (design * (risk * (1 - risk))[:, None])
        step = np.linalg.pinv(information) @ (design.T @ (observed - risk))
        weights = weights + step
        if np.abs(step).max() < EDGE:
            break
    return float(weights[0]), float(weights[1])


def risk_of(odds: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * odds)))


def log_odds(predicted: FloatArray) -> FloatArray:
    inside = np.clip(predicted, EDGE, 1 - EDGE)
    return np.asarray(np.log(inside / (1 - inside)))


def _over(predicted: FloatArray, observed: FloatArray) -> Report:
    """Observed over expected with its interval on the logarithm (Riley 2021)."""
    ratio = float(observed.sum() / predicted.sum())
    spread = Z95 * float(np.sqrt((1 - observed.mean()) / observed.sum()))
    return {
        "value": ratio,
        "low": ratio * float(np.exp(-spread)),
        "high": ratio * float(np.exp(spread)),
    }


def _with_intervals(
    predicted: FloatArray, observed: FloatArray, thresholds: Sequence[float]
) -> list[Report]:
    """The same people drawn again and again, with the same draws for every statistic."""
    random, people = np.random.RandomState(SEED), len(observed)
    drawn_values = []
    for _ in range(RESAMPLES):
        drawn = random.randint(0, people, people)
        if 0 < observed[drawn].sum() < people:
            drawn_values.append(_values(predicted[drawn], observed[drawn], thresholds))
    ends = np.quantile(np.array(drawn_values), [0.025, 0.975], axis=0)
    own = _values(predicted, observed, thresholds)
    return [
        {"value": value, "low": float(low), "high": float(high)}
        for value, low, high in zip(own, *ends, strict=True)
    ]


def _values(
    predicted: FloatArray, observed: FloatArray, thresholds: Sequence[float]
) -> list[float]:
    return [
        c_statistic(predicted, observed),
        in_the_large(predicted, observed),
        fitted(predicted, observed)[1],
        brier(predicted, observed),
        scaled_brier(predicted, observed),
        *(net_benefit(predicted, observed, at) for at in thresholds),
    ]


def _tenths(predicted: FloatArray, observed: FloatArray) -> list[Report]:
    """Mean predicted beside observed share in tenths of the predicted risk."""
    order = np.argsort(predicted, kind="stable")
    return [
        {
            "people": len(part),
            "predicted": float(predicted[part].mean()),
            "observed": float(observed[part].mean()),
            **_wilson(float(observed[part].sum()), len(part)),
        }
        for part in np.array_split(order, TENTHS)
        if len(part) >= LEAST_PEOPLE
    ]


def _wilson(events: float, people: int) -> Report:
    """Wilson's 95 % interval of a share: holds at 0 and 1, where the simple one does not."""
    share, square = events / people, Z95**2
    middle = (share + square / (2 * people)) / (1 + square / people)
    half = (
        Z95
        / (1 + square / people)
        * float(np.sqrt(share * (1 - share) / people + square / (4 * people**2)))
    )
    return {"low": max(0.0, middle - half), "high": min(1.0, middle + half)}


def _decision_curve(predicted: FloatArray, observed: FloatArray) -> list[Report]:
    """Net benefit in steps of one percent, as far as anybody is predicted at all, to a half."""
    last = min(0.5, float(np.quantile(predicted, 0.99)))
    share = float(observed.mean())
    return [
        {
            "threshold": at,
            "model": net_benefit(predicted, observed, at),
            "treatAll": treat_all(share, at),
        }
        for at in (step / 100 for step in range(1, max(2, int(last * 100) + 1)))
    ]


def _histogram(predicted: FloatArray) -> list[Report]:
    """How many are predicted at each twentieth of the range; a small cell is not counted."""
    top = float(np.quantile(predicted, 0.99))
    counts, edges = np.histogram(np.minimum(predicted, top), bins=20, range=(0.0, top))
    return [
        {"from": float(low), "to": float(high), "people": int(n) if n >= LEAST_PEOPLE else None}
        for n, low, high in zip(counts, edges[:-1], edges[1:], strict=True)
    ]
