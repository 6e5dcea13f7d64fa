"""Why a person decided as they did, in our words, and the decision as it is written."""

import csv
from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple

from mappings.to_fhir import Reviewed
from service.stores.reviews import Decision, Review


class Reason(NamedTuple):
    """Why a person accepted what they had seen otherwise, or did not accept."""

    code: str
    decision: Decision
    label: str
    chart: str


def _read_reasons() -> dict[str, Reason]:
    text = files("service.review").joinpath("reasons.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines(), strict=True)
    return {
        r["code"]: Reason(r["code"], Decision(r["decision"]), r["label"], r["chart"]) for r in rows
    }


REASONS: Mapping[str, Reason] = _read_reasons()


def reviewed_of(review: Review, code_base: str, comment: str = "") -> Reviewed:
    """As it is written: the reason in words of ours, a comment in the person's own."""
    assert review.decision is not None
    assert review.decided is not None
    reason = REASONS.get(review.reason or "")
    return Reviewed(
        id=review.id,
        decision=review.decision.value,
        reviewer=review.reviewer,
        at=review.decided,
        reason=reason.chart if reason else "",
        comment=comment,
        code_base=code_base,
    )
