"""What came back on cards, for the committee: by model, never of a person, no small numbers."""

from collections import Counter
from typing import Any

from service.review.reliance import told

Json = dict[str, Any]


def heard(outcomes: Counter[tuple[str, str, str]], *, smallest: int) -> list[Json]:
    """(model, outcome, reason) → how often, as one entry for each model."""
    models = sorted({model for model, _, _ in outcomes})
    return [_of_model(model, outcomes, smallest) for model in models]


def _of_model(model: str, outcomes: Counter[tuple[str, str, str]], smallest: int) -> Json:
    mine = {(o, reason): n for (m, o, reason), n in outcomes.items() if m == model}
    total = sum(mine.values())
    if total < smallest:
        return {"model": model, "cards": f"<{smallest}", "enough": False}
    reasons: Counter[str] = Counter()
    for (_, reason), number in mine.items():
        if reason:
            reasons[reason] += number
    return {
        "model": model,
        "cards": total,
        "enough": True,
        "reasons": {reason: told(n, smallest) for reason, n in sorted(reasons.items())},
    }
