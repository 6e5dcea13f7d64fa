"""What the officer is told about the held twins."""

from collections.abc import Iterable
from dataclasses import asdict
from statistics import median
from typing import Any

from privacy.risk import ATTACKS, attack, measure, population_uniques, values_needed
from privacy.thresholds import THRESHOLDS
from service.risk.rows import Document, facts, panel, quasi_row

RESIDUAL = (
    "Pseudonymous, not anonymous: a person holding several of a patient's results could recognise "
    "the twin."
)


def report(
    documents: Iterable[Document], quasi: tuple[str, ...], population: int | None
) -> dict[str, Any]:
    """Every measure, as plain data."""
    rows, known, panels = [], [], []
    for document in documents:
        rows.append(quasi_row(document, quasi))
        known.append(facts(document))
        panels.append(panel(document))
    found = measure(rows)
    return {
        "twins": len(rows),
        "quasiIdentifiers": list(quasi),
        "classes": asdict(found),
        "thresholds": [
            {**asdict(level), "met": bool(rows) and found.k >= level.k,
             "below": measure(rows, wanted_k=level.k).below}
            for level in THRESHOLDS
        ],
        "population": _population(rows, population),
        "attacks": [asdict(made) for k in ATTACKS if (made := attack(known, k)) is not None],
        "panels": _panels(panels),
        "remains": RESIDUAL,
    }  # fmt: skip


def _population(rows: list[Any], population: int | None) -> dict[str, Any] | None:
    if population is None or not rows:
        return None
    found = population_uniques(rows, population)
    return {
        "size": population,
        "uniques": found.rounded,
        "estimator": found.estimator,
        "samplingFraction": found.fraction,
    }


def _panels(panels: list[set[Any]]) -> dict[str, Any]:
    """How many values of one day's results single out a twin among those held."""
    wide = [values for values in panels if len(values) > 1]
    needed = values_needed(wide)
    enough = [count for count in needed if count is not None]
    return {
        "panels": len(wide),
        "singledOut": len(enough),
        "medianValues": median(enough) if enough else None,
        "byOne": sum(count == 1 for count in enough),
        "byTwo": sum(count == 2 for count in enough),
    }


def lines(found: dict[str, Any]) -> list[str]:
    """The report for reading."""
    classes = found["classes"]
    quasi = ", ".join(found["quasiIdentifiers"])
    text = [
        f"{found['twins']} twins; known to an outsider: {quasi}",
        "",
        f"smallest class (k)        {classes['k']}",
        f"unique in this set        {classes['unique']}",
        f"prosecutor risk           mean {classes['prosecutor_mean']:.3f}, "
        f"worst {classes['prosecutor_worst']:.3f}",
    ]
    text += _population_lines(found["population"])
    text += ["", "threshold         k    met   twins in smaller classes"]
    text += [
        f"{level['id']:<16}{level['k']:>3}   {'yes' if level['met'] else 'no':<4}  "
        f"{level['below']:.1%}"
        for level in found["thresholds"]
    ]
    text += ["", "facts known   success (95 % interval)   fits one twin only   worst tenth"]
    text += [
        f"{a['known']:>11}   {a['success']:.3f} ({a['low']:.3f} to {a['high']:.3f})"
        f"   {a['unicity']:>18.1%}   {a['worst_decile']:>11.3f}"
        for a in found["attacks"]
    ]
    return [*text, "", *_panel_lines(found["panels"]), "", found["remains"]]


def _population_lines(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return ["unique in the population  not estimated: give --population"]
    return [
        f"unique in the population  about {found['uniques']:g} of {found['size']} "
        f"({found['estimator']}, sampling fraction {found['samplingFraction']:.3g})"
    ]


def _panel_lines(found: dict[str, Any]) -> list[str]:
    if not found["panels"]:
        return ["no twin holds a day with several results"]
    return [
        f"results of one day single out {found['singledOut']} of {found['panels']} twins: "
        f"one value is enough for {found['byOne']}, two for {found['byTwo']}"
    ]
