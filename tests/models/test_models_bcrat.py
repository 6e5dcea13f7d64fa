"""The Gail model against the package of its authors' institute, its rejections included."""

from importlib.resources import files
from typing import Any

import pytest

from twin_engine.equations.library import read_table
from twin_engine.models.registry import get
from twin_engine.models.rows import run_rows

SOURCES, VECTORS = read_table(
    files("twin_engine.models.bcrat").joinpath("vectors.csv").read_text(encoding="utf-8")
)
LATINA, RELATIVES, BIRTH = "hispanic-us-born", "first_degree_relatives", "age_at_first_birth"
WOMAN = {"age": "45", "age-end": "50", "race": "white", "age-at-menarche": "12"}


def bcrat(**cells: str) -> dict[str, Any]:
    changed = {name.replace("_", "-"): value for name, value in cells.items()}
    return next(run_rows("bcrat", [WOMAN | changed]))


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: row["id"])
def test_every_vector_is_reproduced(row: dict[str, str]) -> None:
    assert row["source"] in SOURCES
    cells = {
        n: v for n, v in row.items() if n not in ("id", "source", "breast-cancer", "tolerance")
    }
    found = next(run_rows("bcrat", [cells]))
    if not row["breast-cancer"]:
        assert found["refusal"], "the peer rejects it"
    else:
        expected, tolerance = float(row["breast-cancer"]), float(row["tolerance"])
        assert found["value"] == pytest.approx(expected, abs=tolerance)


def test_the_worked_example_of_the_sheet() -> None:
    """White, 45 to 50, no biopsy, menarche at 12, first birth at 25, no relative: 0.909515 %."""
    found = bcrat(biopsies="0", age_at_first_birth="25", first_degree_relatives="0")
    assert found["value"] == pytest.approx(0.00909515, abs=5e-9)


@pytest.mark.parametrize(
    ("cells", "refusal"),
    [
        ({"age": "19.9"}, "out-of-range:age"),
        ({"age": "20", "age_end": "25", "age_at_menarche": "12"}, ""),
        ({"age": "89.9", "age_end": "90"}, ""),
        ({"age": "90", "age_end": "90"}, "out-of-range:age"),
        ({"age_end": "90.1"}, "out-of-range:age-end"),
        ({"age_end": "45"}, "no-equation"),
        ({"race": ""}, "missing-input:race"),
        ({"race": "unknown"}, "no-equation:race"),
        ({"sex": "male"}, "no-equation:sex"),
        ({"sex": "female"}, ""),
        ({"age_at_first_birth": "11"}, "no-equation"),
        ({"age_at_first_birth": "46"}, "no-equation"),
        ({"age_at_first_birth": "30", "nulliparous": "1"}, "no-equation"),
        ({"biopsies": "0", "atypical_hyperplasia": "yes"}, "no-equation"),
        ({"biopsies": "99"}, "out-of-range:biopsies"),  # the peer's code for unknown is no count
    ],
)
def test_it_refuses_what_the_published_program_rejects(cells: dict[str, str], refusal: str) -> None:
    assert bcrat(**cells)["refusal"] == refusal


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"biopsies": "2", "race": LATINA}, {"biopsies": "1", "race": LATINA}, True),
        ({"biopsies": "2"}, {"biopsies": "1"}, False),
        ({RELATIVES: "2", "race": "chinese"}, {RELATIVES: "1", "race": "chinese"}, True),
        ({BIRTH: "20", "race": "black"}, {BIRTH: "40", "race": "black"}, True),
        ({"age_at_menarche": "11"}, {"age_at_menarche": "12"}, False),
        ({"age_at_menarche": "13"}, {"age_at_menarche": "12"}, True),
        ({"nulliparous": "1"}, {"age_at_first_birth": "25"}, True),
        ({"biopsies": ""}, {"biopsies": "0"}, True),
    ],
)  # fmt: skip
def test_answers_are_grouped_as_published(
    one: dict[str, str], other: dict[str, str], same: bool
) -> None:
    assert (bcrat(**one)["value"] == bcrat(**other)["value"]) is same


def test_it_never_runs_on_a_twin() -> None:
    assert get("bcrat").rows_only
