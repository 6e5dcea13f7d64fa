"""A small twin to vary, and what the tests of this folder share."""

from collections.abc import Mapping
from typing import Any

from twin_engine.state import State

SLICES = ("Observation", "Condition", "MedicationRequest", "MedicationStatement")
SOURCES = 20
ONE_SLICE = {
    "queries": 1, "refused": 0, "pages": 1, "matches": 1,
    "duplicates": 0, "dropped": {}, "outcomes": 0, "truncated": False,
}  # fmt: skip


def pseudonym(number: int) -> str:
    return f"{number:02d}" + "A" * 20


def signal(unit: str, *readings: tuple[int, float, int], **sparse: Any) -> dict[str, Any]:
    """Readings are (time, value, source)."""
    times, values, sources = zip(*readings, strict=True)
    return {"unit": unit, "t": [*times], "v": [*values], "src": [*sources], **sparse}


def condition(group: str, src: int = 15, **more: Any) -> dict[str, Any]:
    known = {
        "system": "snomed",
        "code": "53741008",
        "clinical": "active",
        "verification": "confirmed",
    }
    return {"group": group, **known, "src": src, **more}


def medication(*classes: str, src: int = 16) -> dict[str, Any]:
    return {"classes": [*classes], "status": "active", "kind": "request", "src": src}


def signals() -> dict[str, Any]:
    return {
        "systolic-bp": signal("mm[Hg]", (801, 148, 0), (810, 142, 1)),
        "total-cholesterol": signal("mg/dL", (700, 210, 2)),
        "hdl-cholesterol": signal("mg/dL", (700, 48, 3)),
        "creatinine": signal("mg/dL", (690, 0.8, 4)),
        "body-mass-index": signal("kg/m2", (700, 31.0, 5)),
    }


def document(
    *,
    subject: Mapping[str, Any] | None = None,
    change: Mapping[str, Any] | None = None,
    without: tuple[str, ...] = (),
    incomplete: tuple[str, ...] = (),
    smoking: str = "never",
    **parts: Any,
) -> dict[str, Any]:
    """A 54-year-old woman with everything PREVENT needs; `change` replaces signals."""
    kept = {
        name: one for name, one in (signals() | dict(change or {})).items() if name not in without
    }
    coded = {"smoking-status": {"t": [805], "code": [smoking], "src": [7]}} if smoking else {}
    verdicts = {kind: "partial" if kind in incomplete else "complete" for kind in SLICES}
    empty: dict[str, Any] = {
        name: []
        for name in (
            "conditions", "imaging", "medications", "procedures",
            "encounters", "allergies", "family", "genomics", "assessments",
        )
    }  # fmt: skip
    person = {"sex": "female", "age": 54, "ageTopCoded": False, "deceased": False}
    return {
        "twin": {
            "id": pseudonym(99), "schema": 1, "version": 1, "parent": None,
            "policy": {"id": "safe-harbor", "version": 1, "digest": "sha256:" + "0" * 64},
            "software": "0.1.0", "timeUnit": "d", "now": 812, "asOf": "run",
            "identity": "pseudonymous",
        },
        "subject": person | dict(subject or {}),
        "sources": [{"type": "Observation", "ids": [pseudonym(i) for i in range(SOURCES)]}],
        "signals": kept,
        "coded": coded,
        "completeness": {
            "basis": "server",
            "slices": [{"type": k, "verdict": v, **ONE_SLICE} for k, v in verdicts.items()],
        },
        "quality": {"conversions": [], "setAside": [], "conflicts": [], "unmapped": []},
        **empty,
        **parts,
    }  # fmt: skip


def state(**variations: Any) -> State:
    return State.from_document(document(**variations))
