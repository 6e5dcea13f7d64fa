"""A calibrated scikit-learn pipeline as a Twinport model. Made up; for no use.

The pipeline is trained on numbers drawn here, so that the example needs no data. A real package
would load fitted parameters it ships, and state in its card where they come from.
"""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from twin_engine.models.contract import Choice, Input, Model, OutcomeSpec, Target, Vector
from twin_engine.models.vectors import read_vectors

FloatArray = NDArray[np.float64]
NAMES = ("age", "systolic-bp", "smoking-current")
ROWS = 4000


def made_up_people(rows: int = ROWS) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Inputs and events out of a random generator: nobody is behind them."""
    random = np.random.RandomState(20240311)
    people = np.column_stack(
        [
            random.uniform(30, 80, rows),
            random.uniform(90, 200, rows),
            random.randint(0, 2, rows).astype(np.float64),
        ]
    )
    risk = 1 / (1 + np.exp(9 - 0.05 * people[:, 0] - 0.02 * people[:, 1] - 0.6 * people[:, 2]))
    return people, random.uniform(size=rows) < risk


def trained() -> CalibratedClassifierCV:
    people, events = made_up_people()
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    folds = StratifiedKFold(5, shuffle=True, random_state=1)
    return CalibratedClassifierCV(pipeline, method="sigmoid", cv=folds).fit(people, events)


def _inputs() -> dict[str, Input]:
    declared = (
        Input("age", "AGE", "age", "a", sources=({"subject": "age"},), bounds=(30.0, 80.0)),
        Input(
            "systolic-bp",
            "SBP",
            "systolic-bp",
            "mm[Hg]",
            sources=({"concept": "systolic-bp"},),
            window_days=365,
            bounds=(90.0, 200.0),
            reference=120.0,
        ),
        Input(
            "smoking-current",
            "SMK",
            "smoking-current",
            flag=True,
            sources=(
                {"coded": "smoking-status", "one_if": ["current"], "zero_if": ["former", "never"]},
            ),
            window_days=1826,
            reference=0.0,
        ),
    )
    return {one.id: one for one in declared}


class MadeUpEvent(Model):
    """Declares, and computes; refusing is decided from the declarations alone."""

    id, version, kind = "made-up-event", "0.1.0", "probability"
    title = "Made-up event (example; for no use)"
    inputs: Mapping[str, Input] = MappingProxyType(_inputs())
    outcomes: Mapping[str, OutcomeSpec] = MappingProxyType(
        {"event": OutcomeSpec("event", "1", (5,), True, "A made-up event", {})}
    )
    variants: Mapping[str, tuple[str, ...]] = MappingProxyType({"only": ()})
    choices = (Choice("only", 0, ()),)
    monotone: tuple[Mapping[str, Any], ...] = (
        {"input": "systolic-bp", "direction": "rising", "outcomes": ["event"]},
        {"input": "smoking-current", "direction": "rising", "outcomes": ["event"]},
    )
    ai_kinds = ("Machine-Learning-Models",)
    on_request = True
    shelf_life_days, stake = 365, "low"
    predictor_scale = "log-odds"

    def __init__(self) -> None:
        text = files(__name__).joinpath("card.yaml").read_text(encoding="utf-8")
        self.card = yaml.safe_load(text)
        self._pipeline = trained()

    def compute(
        self, columns: Mapping[str, FloatArray], variant: str, targets: Sequence[Target]
    ) -> FloatArray:
        rows = np.column_stack([columns[name] for name in NAMES])
        return np.tile(self._pipeline.predict_proba(rows)[:, 1], (len(targets), 1))

    def vectors(self) -> Sequence[Vector]:
        text = files(__name__).joinpath("vectors.csv").read_text(encoding="utf-8")
        return read_vectors(text, self.inputs, self.targets())

    def predictor(
        self, columns: Mapping[str, FloatArray], variant: str, targets: Sequence[Target]
    ) -> FloatArray:
        risk = self.compute(columns, variant, targets)
        return np.asarray(np.log(risk / (1 - risk)))


def models() -> list[Model]:
    """What the entry point names."""
    return [MadeUpEvent()]
