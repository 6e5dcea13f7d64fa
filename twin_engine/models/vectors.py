"""Reference values: what a source outside the model says it answers to given inputs.

A table has a line for each; `# key: citation` lines above name the sources. A column of an input is
called as in `twinport models run`, one of an outcome `outcome` or `outcome@years`; an outcome with
nothing in it is not compared. `tolerance` is what the source's digits allow.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from twin_engine.equations.library import Target, read_table
from twin_engine.equations.library import Variable as Input
from twin_engine.models.cells import parse_cell


@dataclass(frozen=True)
class Vector:
    """Inputs by id, as columns hold them, and the number or code expected of some outcomes."""

    id: str
    source: str
    inputs: Mapping[str, float]
    expected: Mapping[Target, float | str]
    tolerance: float = 0.0
    variant: str | None = None


def read_vectors(
    text: str, inputs: Mapping[str, Input], targets: tuple[Target, ...]
) -> tuple[Vector, ...]:
    """The rows of a table that expect a number."""
    sources, rows = read_table(text)
    return tuple(_vectors(sources, rows, inputs, targets))


def _vectors(
    sources: Mapping[str, str],
    rows: list[dict[str, str]],
    inputs: Mapping[str, Input],
    targets: tuple[Target, ...],
) -> Iterator[Vector]:
    for row in rows:
        given = {one.id: row[one.column] for one in inputs.values() if row.get(one.column)}
        expected = {t: float(row[_name(t)]) for t in targets if row.get(_name(t))}
        if expected:
            yield Vector(
                id=row["id"],
                source=sources.get(row["source"], ""),
                inputs={name: parse_cell(cell, inputs[name])[0] for name, cell in given.items()},
                expected=expected,
                tolerance=float(row["tolerance"]),
                variant=row.get("variant"),
            )


def _name(target: Target) -> str:
    return target.outcome if target.horizon is None else f"{target.outcome}@{target.horizon}"
