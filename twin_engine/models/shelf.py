"""Until when an assessment may be shown as current.

Two things end it, whichever comes first: the shelf life its model declares, and the day on which
one of its inputs is older than the model accepts.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from twin_engine.models.contract import Input, Model

Json: TypeAlias = Mapping[str, Any]
READINGS = frozenset({"measured", "derived", "reported"})
Cause: TypeAlias = Literal["shelf-life", "input-too-old"]


class Expiry(NamedTuple):
    """`days_left` below 0: past. `input` is the one that is, or will be, too old."""

    days_left: int
    cause: Cause
    input: str = ""

    @property
    def past(self) -> bool:
        return self.days_left < 0


def expiry(assessment: Json, model: Model, per_day: int, days_since: int) -> Expiry | None:
    """What ends the assessment first; None where nothing does.

    `per_day`: units of the twin's time in a day. `days_since`: how long ago the record was last
    looked at, which is when the assessment held.
    """
    ends = [*_shelf(model), *_windows(assessment, model, per_day)]
    first = min(ends, key=lambda end: end.days_left, default=None)
    return first and first._replace(days_left=first.days_left - days_since)


def _shelf(model: Model) -> list[Expiry]:
    days = model.shelf_life_days
    return [] if days is None else [Expiry(days, "shelf-life")]


def _windows(assessment: Json, model: Model, per_day: int) -> list[Expiry]:
    found = []
    for used in assessment["inputs"]:
        declared = model.inputs.get(used["input"])
        if declared is not None and declared.window_days is not None and _ages(used, declared):
            age = (assessment["at"] - used["t"]) // per_day
            found.append(Expiry(declared.window_days - age, "input-too-old", used["input"]))
    return found


def _ages(used: Json, declared: Input) -> bool:
    """A reading or an answer grows old; a diagnosis, whose `t` is its start, does not."""
    answered = all("coded" in source for source in declared.sources)
    return "t" in used and (used["how"] in READINGS or answered)
