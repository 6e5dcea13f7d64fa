"""Thresholds of disclosure risk, as data."""

import csv
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Threshold:
    id: str
    risk: float | None
    k: int
    use: str
    source: str


def _load() -> tuple[Threshold, ...]:
    text = (files(__name__) / "thresholds.csv").read_text(encoding="utf-8")
    return tuple(
        Threshold(
            row["id"], float(row["risk"]) if row["risk"] else None, int(row["k"]), row["use"],
            row["source"],
        )
        for row in csv.DictReader(text.splitlines())
    )  # fmt: skip


THRESHOLDS = _load()
