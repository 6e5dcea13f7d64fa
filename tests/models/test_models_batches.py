"""A row has the same answer whatever stands beside it; a table may be larger than memory."""

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from twin_engine.equations.evaluator import BLOCK, TILE, Evaluator, _Sums
from twin_engine.equations.library import Target, library
from twin_engine.models.registry import get
from twin_engine.models.rows import run_rows

PREVENT = library()["prevent"]
RANGES = {
    "age": (30, 79), "total-cholesterol": (130, 320), "hdl-cholesterol": (20, 100),
    "systolic-bp": (90, 200), "body-mass-index": (18.5, 39.9), "egfr-ckdepi-2021": (15, 140),
}  # fmt: skip


def people(rows: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    columns = {name: rng.uniform(*bounds, rows) for name, bounds in RANGES.items()}
    for name in ("sex", "diabetes", "smoking-current", "bp-treatment", "statin"):
        columns[name] = rng.integers(0, 2, rows).astype(float)
    return columns


def some(columns: dict[str, np.ndarray], rows: slice) -> dict[str, np.ndarray]:
    return {name: values[rows] for name, values in columns.items()}


@pytest.mark.parametrize(
    "rows",
    [slice(0, 1), slice(1, 2), slice(3, TILE + 3), slice(5, TILE + 6), slice(9, BLOCK + 10)],
)
def test_a_row_has_the_same_bits_alone_and_in_any_batch(rows: slice) -> None:
    columns = people(BLOCK + 1000)
    model = get("prevent")
    whole = model.predict(columns, variant="base")
    part = model.predict(some(columns, rows), variant="base")
    assert np.array_equal(whole.values[:, rows], part.values, equal_nan=True)
    assert np.array_equal(whole.reasons[:, rows], part.reasons)


def test_an_outcome_has_the_same_bits_alone_and_among_all() -> None:
    columns, model = people(500), get("prevent")
    target = Target("stroke", 30)
    alone = model.predict(columns, variant="base", targets=[target])
    among = model.predict(columns, variant="base")
    index = among.targets.index(target)
    assert np.array_equal(alone.values[0], among.values[index], equal_nan=True)


def test_what_one_outcome_lacks_is_no_loss_to_another() -> None:
    """BMI is read for heart failure alone, lipids for all others."""
    columns = {name: np.full(2, np.nan) for name in PREVENT.inputs} | people(2)
    columns["body-mass-index"][0] = columns["total-cholesterol"][1] = np.nan
    targets = [Target("heart-failure", 10), Target("ascvd", 10)]
    found = Evaluator(PREVENT).evaluate(columns, "base", targets)
    assert np.isnan(found).tolist() == [[True, False], [False, True]]


def test_tiles_and_sums_term_by_term_agree() -> None:
    rng = np.random.default_rng(3)
    weights, terms = rng.normal(size=(10, 24)), rng.normal(size=(24, 2 * TILE))
    tiled, one_by_one = _Sums(weights), _Sums(weights)
    tiled._tiled, one_by_one._tiled = True, False
    assert np.allclose(tiled(terms), one_by_one(terms), rtol=1e-12, atol=1e-12)


def rows_of(count: int) -> Iterator[dict[str, str]]:
    for number in range(count):
        yield {"id": str(number), "age": "50", "ast": "30", "alt": "35", "platelets": "200"}


@pytest.mark.slow
def test_many_more_rows_take_no_more_memory() -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        for _ in run_rows("fib4", rows_of(count), interval=False):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1)  # what is made once and kept
    assert peak(40_000) < 1.1 * peak(8_000)
