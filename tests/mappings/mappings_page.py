"""Writes docs/mapping-rules.md from the spec cases: `python tests/mappings/mappings_page.py`."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import yaml

from mappings.vocabulary import rules, type_rules

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "mapping-rules.md"
SPEC = Path(__file__).parent / "spec"

TITLES = {
    "observation-values": "Values and units",
    "observation-components": "Components and panels",
    "observation-conflicts": "Duplicates, conflicts, death and birth",
    "smoking": "Smoking",
    "conditions": "Conditions",
    "medications": "Medicines",
    "genomics": "Pharmacogenes",
    "imaging": "Imaging",
    "other-types": "Patients, procedures, encounters, allergies, vaccines, family",
}
HEAD = """# The mapping rules, case by case

What goes in and what comes out, made from the test cases themselves
(`python tests/mappings/mappings_page.py`): every build runs each of them, forwards and backwards.
What goes in is behind de-identification: times are offsets, ids are pseudonyms, there is no text.
Of what comes out only the fields that the case is about are shown.

## What becomes of each type

Every resource of these types that comes is a fact, is set aside or counted under a rule, was
dropped or refused with a reason (`completeness.slices`), or is counted in `completeness.notRead`
(where several patients share a file, `twinport coverage` counts these for the file).

| type | part of the twin | |
|---|---|---|
{types}
## Why a value is set aside

"""


def render() -> str:
    parts = [HEAD.format(types="".join(_types())), *_reasons()]
    for name, listed in cases().items():
        parts.append(f"\n## {TITLES[name]}\n")
        for case in listed:
            parts += _case(case)
    return "".join(parts)


@cache
def cases() -> dict[str, list[dict[str, Any]]]:
    """The cases of each file, in the order of the page."""
    files = sorted(SPEC.glob("*.yaml"), key=lambda p: list(TITLES).index(p.stem))
    return {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in files}


def _types() -> Iterator[str]:
    for rule in type_rules().values():
        parts = ", ".join(f"`{part}`" for part in rule.becomes) or "none"
        yield f"| {rule.type} | {parts} | {rule.sentence} |\n"


def _reasons() -> Iterator[str]:
    yield "| rule | means |\n|---|---|\n"
    for rule in rules().values():
        if rule.kind == "set-aside":
            yield f"| `{rule.id}` | {rule.sentence} |\n"


def _case(case: dict[str, Any]) -> Iterator[str]:
    yield f"\n### {case['name'][0].upper()}{case['name'][1:]}\n\n```json\n"
    for record in case["records"]:
        yield orjson.dumps(record).decode() + "\n"
    yield "```\n\n"
    if not case["facts"]:
        yield "gives nothing.\n"
        return
    yield "gives\n\n```json\n"
    for kind, facts in case["facts"].items():
        for fact in facts if isinstance(facts, list) else [facts]:
            yield f'{{"{kind}": {orjson.dumps(fact).decode()}}}\n'
    yield "```\n"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
