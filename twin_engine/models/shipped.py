"""The models this project ships, registered through the same entry point as anybody's."""

from collections.abc import Iterable

from twin_engine.models.bcrat import Bcrat
from twin_engine.models.contract import Model
from twin_engine.models.equation_model import shipped_equations
from twin_engine.models.pgx import Pgx


def models() -> Iterable[Model]:
    return [*shipped_equations().values(), Bcrat(), Pgx()]
