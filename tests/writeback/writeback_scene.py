"""One assessment, its model's card and its links, as plain data."""

from datetime import UTC, datetime
from typing import Any

from mappings.to_fhir import Links

ASSESSMENT: dict[str, Any] = {
    "model": {"id": "prevent", "version": "1.0.0", "variant": "base", "card": "sha256:00"},
    "at": 812,
    "answer": "given",
    "inputs": [
        {"input": "age", "value": 54, "unit": "a", "how": "subject"},
        {
            "input": "systolic-bp",
            "value": 148,
            "unit": "mm[Hg]",
            "t": 810,
            "src": [0],
            "how": "measured",
        },
        {"input": "bp-treatment", "value": True, "src": [1], "how": "coded"},
    ],
    "snapshot": "sha256:11",
    "results": [
        {
            "outcome": "total-cvd",
            "horizonYears": 10,
            "value": 0.142,
            "unit": "1",
            "interval": {"low": 0.118, "high": 0.171, "level": 0.95, "kind": "if-measured-again"},
            "category": {"scheme": "prevent-2024", "code": "intermediate"},
            "contributions": [],
        }
    ],
    "refusals": [],
    "missing": [],
}
CARD: dict[str, Any] = {
    "id": "prevent",
    "version": "1.0.0",
    "title": "PREVENT",
    "kind": "probability",
    "outcomes": {"total-cvd": {"label": "Total cardiovascular disease"}},
    "intended_use": "Risk of a first cardiovascular event in primary prevention.",
}
LINKS = Links(
    subject="Patient/p-1",
    sources={0: "Observation/bp-1", 1: "Condition/htn"},
    occurrence=datetime(2026, 6, 2, 8, tzinfo=UTC),
    identifier=("urn:twinport:assessment", "5b1d1f4e-0000-4000-8000-000000000001"),
    code_base="https://twinport.example.org",
    software="0.1.0",
)
