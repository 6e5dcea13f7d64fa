"""Writes docs/sandbox.md from the population itself: `python -m service.sandbox.docs`."""

from collections import Counter
from datetime import date
from importlib import resources
from pathlib import Path

from service.sandbox.population import DEMO_PATIENTS, PatientBundle, awkward, generate
from service.sandbox.population.tables import patients
from service.sandbox.search import known_types

PAGE = Path("docs/sandbox.md")
ANCHOR = date(2026, 6, 1)
"""Any day gives the same page: nothing on it depends on the calendar."""


def render() -> str:
    population = generate(ANCHOR)
    types = ", ".join(known_types())
    prose = resources.files("service.sandbox").joinpath("page.md").read_text(encoding="utf-8")
    return prose.format(patients=_patients(population), types=types, oddities=_oddities())


def _patients(population: list[PatientBundle]) -> str:
    specs = {spec["id"]: spec for spec in patients()}
    lines = [f"## The {len(population)} patients", ""]
    full, partial, refused = DEMO_PATIENTS
    shows = f"{full} (a full answer), {partial} (partial) and {refused} (refused)"
    lines += [f"`twinport demo` runs {shows}.", ""]
    lines += ["| id | age | sex | resources | what it shows |", "|---|---|---|---|---|"]
    for patient in population:
        spec = specs[patient.id]
        age = _age(spec["age"], spec.get("died"))
        lines.append(
            f"| {patient.id} | {age} | {spec['sex']} | {_counts(patient)} | {patient.shows} |"
        )
    return "\n".join([*lines, ""])


def _age(age: float, died: float | None) -> str:
    if age < 1:
        return f"{round(age * 365)} days"
    return f"† {int(age - died)}" if died else str(int(age))


def _counts(patient: PatientBundle) -> str:
    counts = Counter(r["resourceType"] for r in patient.resources)
    shown = ("Observation", "Condition", "MedicationRequest", "ImagingStudy")
    parts = [f"{counts[kind]} {kind}" for kind in shown if counts[kind]]
    return f"{len(patient.resources)}: {', '.join(parts)}"


def _oddities() -> str:
    named = [(name, (fn.__doc__ or "").strip()) for name, fn in awkward.ODDITIES.items()]
    rows = sorted([*named, *awkward.WRITTEN_ELSEWHERE.items()])
    users = {spec["id"]: spec.get("awkward", []) for spec in patients()}
    lines = ["| name | patients | what |", "|---|---|---|"]
    for name, text in rows:
        who = ", ".join(identity for identity, names in users.items() if name in names)
        lines.append(f"| {name} | {who} | {text} |")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
