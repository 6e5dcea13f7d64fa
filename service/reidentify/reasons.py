"""Why somebody may be re-identified: codes of HL7's v3 ActReason, purposes of use."""

import csv
from collections.abc import Mapping
from importlib.resources import files


def _load() -> Mapping[str, str]:
    text = files("service.reidentify").joinpath("reasons.csv").read_text(encoding="utf-8")
    return {row["code"]: row["text"] for row in csv.DictReader(text.splitlines())}


REASONS: Mapping[str, str] = _load()
