"""A risk report for reading, line by line."""

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]


def lines(found: Json) -> list[str]:
    classes, quasi = found["classes"], ", ".join(found["quasiIdentifiers"])
    return [
        f"{found['twins']} twins; known to an outsider: {quasi}",
        "",
        f"smallest class (k)        {classes['k']}",
        f"unique in this set        {classes['unique']}",
        f"prosecutor risk           mean {classes['prosecutor_mean']:.3f}, "
        f"worst {classes['prosecutor_worst']:.3f}",
        *_outside(classes),
        *_population(found["population"]),
        *_diversity(found["diversity"]),
        "",
        *_thresholds(found["thresholds"]),
        "",
        *_attacks(found["attacks"]),
        "",
        *_panels(found["panels"]),
        *_sampled(found),
        "",
        found["remains"],
    ]


def _outside(classes: Json) -> Iterator[str]:
    if classes["marketer"] is not None:
        yield (
            f"journalist risk           mean {classes['journalist_mean']:.3f}, "
            f"worst {classes['journalist_worst']:.3f}"
        )
        yield f"marketer risk             {classes['marketer']:.3f}"


def _population(found: Json | None) -> Iterator[str]:
    if found is None:
        yield "unique in the population  not estimated: see `twinport risk set --population`"
        return
    yield (
        f"unique in the population  about {found['uniques']:g} of {found['size']} "
        f"({found['estimator']}, sampling fraction {found['samplingFraction']:.3g}; "
        f"{found['source'] or 'source not stated'})"
    )


def _diversity(found: Json | None) -> Iterator[str]:
    if found is not None:
        yield (
            f"diagnoses in a class      at least {found['distinct']} different sets "
            f"(entropy {found['entropy']:.2f}); {found['disclosed']} twins share theirs with all "
            "of their class"
        )


def _thresholds(levels: list[Json]) -> Iterator[str]:
    yield "threshold            k  published    1/k   met   twins in smaller classes"
    for level in levels:
        risk = "" if level["risk"] is None else f"{level['risk']:g}"
        yield (
            f"{'* ' if level['chosen'] else '  '}{level['id']:<16}{level['k']:>4}  {risk:>9}  "
            f"{level['oneIn']:.4f}   {'yes' if level['met'] else 'no':<4}  {level['below']:.1%}"
        )
    yield "* in use. Sizes are compared, not ratios: one in 11 is above the 0.09 published with it."


def _attacks(attacks: list[Json]) -> Iterator[str]:
    yield "facts known   success (95 % interval)   fits one twin only   worst tenth"
    for made in attacks:
        yield (
            f"{made['known']:>11}   {made['success']:.3f} ({made['low']:.3f} to "
            f"{made['high']:.3f})   {made['unicity']:>18.1%}   {made['worst_decile']:>11.3f}"
        )


def _panels(found: Json) -> Iterator[str]:
    if not found["panels"]:
        yield "no twin holds a day with several results"
        return
    yield (
        f"results of one day single out {found['singledOut']} of {found['panels']} twins: "
        f"one value is enough for {found['byOne']}, two for {found['byTwo']}"
    )


def _sampled(found: Json) -> Iterator[str]:
    if found["compared"] < found["twins"]:
        yield (
            f"facts and results are compared among {found['compared']} of {found['twins']} twins: "
            "among all of them, fewer are singled out"
        )


def twin_lines(found: Json) -> list[str]:
    """Of one twin."""
    quasi, panel = ", ".join(found["quasiIdentifiers"]), found["panel"]
    needed = panel["needed"]
    single = f"{needed} single it out" if needed else "all together do not single it out"
    return [
        f"{found['twin']}; known to an outsider: {quasi}",
        "",
        f"twins alike (k)           {found['k']}; wanted {found['wanted']} "
        f"({found['threshold']}): {'met' if found['met'] else 'not met'}",
        f"prosecutor risk           {found['prosecutor']:.3f}",
        *([f"journalist risk           {found['journalist']:.3f}"] if found["people"] else []),
        "",
        *_attacks(found["attacks"]),
        "",
        f"of {panel['values']} values of its fullest day, {single}"
        if panel["values"]
        else "it holds no results",
        f"compared with {found['compared'] - 1} others",
        "",
        found["remains"],
    ]
