"""Every shipped equation reproduces every reference value kept beside it."""

from importlib.resources import files

import numpy as np
import pytest
from models_edges import MODELS, vectors_of, with_edges

from twin_engine.equations.library import Equation, library, read_table
from twin_engine.models.cells import parse_cell
from twin_engine.models.equation_model import equation_model

EQUATIONS = sorted(library())


def vectors(equation_id: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    folder = files("twin_engine.equations").joinpath(equation_id)
    return read_table(folder.joinpath("vectors.csv").read_text(encoding="utf-8"))


def expectations(equation: Equation, row: dict[str, str]) -> dict[int, float]:
    """Position of the target -> expected value. A column is `outcome` or `outcome@horizon`."""
    found = {}
    for index, target in enumerate(equation.targets()):
        name = target.outcome if target.horizon is None else f"{target.outcome}@{target.horizon}"
        if row.get(name):
            found[index] = float(row[name])
    return found


@pytest.mark.parametrize("equation_id", EQUATIONS)
def test_every_vector_is_reproduced(equation_id: str) -> None:
    model, equation = equation_model(equation_id), library()[equation_id]
    sources, rows = vectors(equation_id)
    compared = 0
    for row in rows:
        assert row["source"] in sources, f"{row['id']} names no declared source"
        columns = {
            one.id: np.array([parse_cell(row[one.column], one)[0]])
            for one in model.inputs.values()
            if row.get(one.column)
        }
        found = model.predict(columns, variant=row["variant"]).values[:, 0]
        for index, expected in expectations(equation, row).items():
            where = f"{row['id']} {equation.targets()[index]}"
            assert found[index] == pytest.approx(expected, abs=float(row["tolerance"])), where
            compared += 1
    assert compared >= len(rows)


@pytest.mark.parametrize("equation_id", EQUATIONS)
def test_every_variant_and_outcome_has_a_vector(equation_id: str) -> None:
    equation = library()[equation_id]
    _, rows = vectors(equation_id)
    covered = {(row["variant"], i) for row in rows for i in expectations(equation, row)}
    offered = {(v, t) for v, _, t in equation.table}
    missing = [
        (v, t) for v, t in offered if (v, equation.targets().index(t)) not in covered
    ]  # fmt: skip
    assert missing == []


@pytest.mark.parametrize("model", MODELS)
def test_the_ends_of_ranges_are_what_the_formulas_typed_once_more_say(model: str) -> None:
    kept = vectors_of(model).read_text(encoding="utf-8")
    assert kept == with_edges(model, kept), "run: PYTHONPATH=. python tests/models/models_edges.py"


@pytest.mark.parametrize("equation_id", EQUATIONS)
def test_no_tolerance_is_wider_than_the_printed_digits_allow(equation_id: str) -> None:
    equation = library()[equation_id]
    _, rows = vectors(equation_id)
    for row in rows:
        for index in expectations(equation, row):
            target = equation.targets()[index]
            name = target.outcome + (f"@{target.horizon}" if target.horizon else "")
            decimals = len(row[name].partition(".")[2])
            assert float(row["tolerance"]) <= max(1e-6, 0.51 * 10.0**-decimals)
