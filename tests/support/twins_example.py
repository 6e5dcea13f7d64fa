"""The worked example of the documentation: version 2 of a twin, with an assessment.

`PYTHONPATH=tests python -m support.twins_example > twin_engine/document/example.json`
"""

import sys
from typing import Any

import orjson
from support.twins import complete, everything, header, pseudonym

from mappings.vocabulary.facts import Mapped
from twin_engine.document import build, source_ids, with_assessments


def example() -> dict[str, Any]:
    now = everything()
    parent = build(_before(now), header(now=790), complete())
    made = build(now, header(), _answered(), parent)
    return with_assessments(made, [_assessment(source_ids(made))])


def _before(now: Mapped) -> Mapped:
    """Half a year earlier: fewer readings, one value since corrected, one source since deleted."""
    kept = [fact for fact in now.measurements if fact.time < 790]
    corrected = [
        fact._replace(value=210.0) if fact.concept == "total-cholesterol" else fact for fact in kept
    ]
    gone = now.coded[0]._replace(time=700, source=pseudonym("gone"))
    return now._replace(
        measurements=tuple(corrected), coded=(gone,), encounters=(), set_aside=(), conflicts=()
    )


def _answered() -> dict[str, Any]:
    made = complete(MedicationStatement="unknown")
    counts = {"queries": 1, "refused": 0, "pages": 1, "matches": 8, "duplicates": 0}
    more = {
        "Observation": counts
        | {"dropped": {"entered-in-error": 1}, "outcomes": 0}
        | {"truncated": False, "serverTotal": 8}
        | {"asked": ["Observation?patient&_count"]},
        "MedicationStatement": {"queries": 1, "refused": 1, "reason": "not-supported"}
        | {"asked": ["MedicationStatement?patient&_include=MedicationStatement:medication&_count"]},
    }
    return made | {"slices": [row | more.get(row["type"], {}) for row in made["slices"]]}


def _assessment(ids: list[str]) -> dict[str, Any]:
    def used(name: str, value: float | bool | str, *sources: str, **more: Any) -> dict[str, Any]:
        found = {"src": [ids.index(pseudonym(source)) for source in sources]} if sources else {}
        return {"input": name, "value": value} | found | more

    outcome = {"outcome": "total-cvd", "horizonYears": 10}
    return {
        "model": {
            "id": "prevent",
            "version": "1.0.0",
            "variant": "base",
            "card": "sha256:" + "0" * 64,
        },
        "at": 812,
        "answer": "partial",
        "inputs": [
            used("age", 54, unit="a", how="subject"),
            used("systolic-bp", 148, "bp-1", unit="mm[Hg]", t=801, how="measured"),
            used("smoking", False, "smoking", t=805, how="coded"),
            used("diabetes", False, how="declared-absent"),
        ],
        "snapshot": "sha256:" + "0" * 64,
        "results": [
            outcome
            | {
                "value": 0.0812,
                "unit": "1",
                "interval": {
                    "low": 0.066,
                    "high": 0.099,
                    "level": 0.95,
                    "kind": "if-measured-again",
                },
                "category": {"scheme": "prevent-2024", "code": "intermediate"},
                "contributions": [{"input": "systolic-bp", "share": 0.41}],
                "width": [{"input": "systolic-bp", "share": 0.7}],
            }
        ],
        "refusals": [
            {
                "outcome": "heart-failure",
                "horizonYears": 10,
                "reason": "missing-input",
                "input": "body-mass-index",
            }
        ],
        "missing": ["body-mass-index"],
        "helps": "body-mass-index",
    }


if __name__ == "__main__":
    pretty = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    sys.stdout.buffer.write(orjson.dumps(example(), option=pretty))
