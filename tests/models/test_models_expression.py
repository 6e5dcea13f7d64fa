"""The language of the terms: what it computes, and what it refuses to be."""

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin_engine.equations.expression import ExpressionError, parse

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(max(A, 110) - 130) / 20", 0.5),
        ("A ** 2 - -1", 19601.0),
        ("(A >= 4) * (A <= 140)", 1.0),
        ("default(B, 7)", 7.0),
        ("unknown(B) + known(A)", 2.0),
        ("B + 1", math.nan),
        ("B > 1", 0.0),
        ("clip(A, 0, 100)", 100.0),
    ],
)
def test_it_computes(text: str, value: float) -> None:
    found = parse(text)({"A": np.array([140.0]), "B": np.array([np.nan])})
    assert np.asarray(found).ravel()[0] == pytest.approx(value, nan_ok=True)


@pytest.mark.parametrize(
    "text",
    [
        "A.__class__", "__import__('os')", "open(A)", "[A]", "'a'", "A if A else 1", "lambda: 1",
        "True", "A and B", "1 < A < 2", "min(A)", "max(A, 1, 2)", "A[0]", "min(*A)", "f'{A}'",
        "A @ A",
        "", "\0", "9" * 400, "(" * 300,
    ],
)  # fmt: skip
def test_it_refuses_everything_else(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse(text)


@given(a=NUMBERS, b=NUMBERS)
def test_it_agrees_with_python(a: float, b: float) -> None:
    found = parse("(A - 2) * B + A / 3")({"A": np.array([a]), "B": np.array([b])})
    assert found[0] == (a - 2) * b + a / 3


def test_it_knows_which_names_it_reads() -> None:
    assert parse("max(A, B) * 2 + log(A)").names == {"A", "B"}


@given(st.text(max_size=30))
def test_no_text_makes_it_do_anything_but_parse_or_refuse(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        parse(text)
