"""One cell of a table as the number a column holds."""

import numpy as np

from twin_engine.equations.library import Variable as Input


def parse_cell(cell: str, declared: Input) -> tuple[float, str]:
    """The number, or NaN and the reason why there is none."""
    if declared.choices:
        word = declared.words.get(cell.lower(), cell.lower())
        known = word in declared.choices
        return (float(declared.choices.index(word)), "") if known else (np.nan, "no-equation")
    if cell[0] in "<>":
        return np.nan, "censored-input"
    try:
        value = float(cell)
    except ValueError:
        return np.nan, "unreadable-input"
    return (value, "") if np.isfinite(value) else (np.nan, "unreadable-input")
