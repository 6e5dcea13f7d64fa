"""The life of one chart on every persona, as a page to read: what is ours in it after each step.

The pages are `tests/refresh/transcripts/*.txt`; made anew by `pytest … --transcripts`, and then
read before they are committed.
"""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from refresh_clinic import CREATININE, Clinic, Open, chart_of

from service.sandbox.persona import Settings
from service.sandbox.personas import PERSONAS

Json = dict[str, Any]
PAGES = Path(__file__).parent / "transcripts"


class Transcript:
    """Steps, each with what a run said and what the chart holds after it."""

    def __init__(self, clinic: Clinic, lag: float, *asked: str) -> None:
        self._clinic, self._lag, self._asked = clinic, lag, asked
        self.lines: list[str] = []

    def step(self, what: str) -> None:
        time.sleep(self._lag)  # a chart's events are hours apart; what was written is found by then
        summary = self._clinic.run(*self._asked)
        time.sleep(self._lag)
        said = ", ".join(f"{n} {word}" for word, n in sorted(summary["corrected"].items()))
        wrote = summary["counts"]["written"]
        self.lines += [f"## {what}", f"written {wrote}; {said or 'nothing corrected'}"]
        self.lines += chart_of(self._clinic)
        self.lines += [*self._companions(), ""]

    def _companions(self) -> list[str]:
        provenances = self._clinic.ours("Provenance")
        roles = Counter(e["role"] for p in provenances for e in p.get("entity", ()))
        devices = len(self._clinic.ours("Device"))
        return [f"- {devices} Device, {len(provenances)} Provenance ({roles['revision']} revision)"]


def played(clinic: Clinic, lag: float = 0.0) -> str:
    """Run, re-run, correct an input, withdraw one, re-run."""
    told = Transcript(clinic, lag)
    told.step("first run")
    told.step("run again: nothing new")
    creatinine = clinic.newest(CREATININE)
    quantity = creatinine["valueQuantity"]
    clinic.change(creatinine, valueQuantity={**quantity, "value": quantity["value"] * 1.5})
    told.step("creatinine corrected at its source")
    corrected = clinic.newest(CREATININE)
    clinic.change(corrected, status="entered-in-error")
    told.step("the corrected creatinine entered in error")
    told.step("run again: nothing new")
    return "\n".join(told.lines)


@pytest.mark.slow
@pytest.mark.parametrize("name", PERSONAS)
def test_the_golden_transcript_of(open_clinic: Open, request: Any, name: str) -> None:
    persona = PERSONAS[name]()
    lag = persona.settings(Settings()).search_lag_seconds
    text = f"# {name}\n\n{played(open_clinic(persona), lag)}"
    page = PAGES / f"{name}.txt"
    if request.config.getoption("--transcripts"):
        page.write_text(text, encoding="utf-8")
    assert text == page.read_text(encoding="utf-8")


def test_every_persona_has_its_transcript() -> None:
    assert {page.stem for page in PAGES.glob("*.txt")} == {*PERSONAS}
