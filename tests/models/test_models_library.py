"""A folder that does not hold together is refused, with what to change."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import twin_engine.equations
from twin_engine.equations.expression import FloatArray
from twin_engine.equations.library import EquationError, Target, library, load
from twin_engine.models.cards import CardError, check_card
from twin_engine.models.equation_model import EquationModel

SHIPPED = Path(twin_engine.equations.__file__).parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED / "ckd-epi-2021", tmp_path / "ckd-epi-2021"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


BREAKS: list[tuple[str, str, str, str]] = [
    ("coefficients.csv", "-1.200,-1.200,I21", "-1.200,-1.200,X99", "undeclared source 'X99'"),
    (
        "coefficients.csv",
        "creatinine,,egfr,kappa",
        "creatinine,,egfr,kapa",
        "unknown names .'kappa'",
    ),
    ("coefficients.csv", "both,,egfr,scys_hi", "both,,egfr,scys_lo", "repeats 'scys_lo'"),
    ("model.yaml", "id: ckd-epi-2021", "id: other", "is not the folder's name"),
    ("model.yaml", "log(min(SCR / kappa, 1))", "log(min(SCRE / kappa, 1))", "unknown names"),
    ("model.yaml", "symbol: SCYS", "symbol: SCR", "share a symbol"),
    ("model.yaml", "known_at_least: 0", "known_at_least: 1", "must always apply"),
    ("model.yaml", "  egfr:\n    label", "  gfr:\n    label", "undeclared outcomes"),
    ("model.yaml", "terms:\n", "terms:\n  idle: AGE\n", "no coefficient uses"),
]


@pytest.mark.parametrize(("name", "old", "new", "message"), BREAKS)
def test_a_broken_folder_is_refused(
    folder: Path, name: str, old: str, new: str, message: str
) -> None:
    edit(folder / name, old, new)
    with pytest.raises(EquationError, match=message):
        load(folder)


def test_a_folder_elsewhere_is_a_model_without_any_python(folder: Path) -> None:
    edit(
        folder / "coefficients.csv",
        "creatinine,,egfr,scale,142,142",
        "creatinine,,egfr,scale,71,71",
    )
    halved = EquationModel(load(folder))
    row = {"age": 50.0, "sex": 1.0, "creatinine": 0.9}
    found = halved.predict(as_columns(row), variant="creatinine")
    assert found.values[0, 0] == pytest.approx(71 * 0.9938**50)


def as_columns(row: dict[str, float]) -> dict[str, FloatArray]:
    return {name: np.array([value]) for name, value in row.items()}


def test_a_card_must_fill_every_field_and_no_other(folder: Path) -> None:
    edit(folder / "card.yaml", "funding:", "funded:")
    with pytest.raises(CardError, match=r"fill \['funding'\]; remove \['funded'\]"):
        check_card(EquationModel(load(folder)))


def test_lipids_are_not_needed_for_heart_failure_nor_bmi_for_the_rest() -> None:
    prevent = library()["prevent"]
    for horizon in (10, 30):
        failure = prevent.needs("base", Target("heart-failure", horizon))
        total = prevent.needs("base", Target("total-cvd", horizon))
        assert failure.isdisjoint({"total-cholesterol", "hdl-cholesterol", "statin"})
        assert "body-mass-index" in failure
        assert "body-mass-index" not in total
        assert failure >= {"age", "sex", "systolic-bp", "diabetes", "smoking-current"}
