"""Shapes of codes, with their check digits. A valid check digit proves nothing about meaning."""

import re
from collections.abc import Callable

_LOINC = re.compile(r"(\d{1,6})-(\d)", re.ASCII)
_LOINC_ANSWER = re.compile(r"LA\d{1,5}-\d", re.ASCII)
_SNOMED = re.compile(r"[1-9]\d{5,17}", re.ASCII)

# Verhoeff (1969): multiplication in the dihedral group D5, and the permutation of each position.
_D5 = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 4, 0, 6, 7, 8, 9, 5), (2, 3, 4, 0, 1, 7, 8, 9, 5, 6),
    (3, 4, 0, 1, 2, 8, 9, 5, 6, 7), (4, 0, 1, 2, 3, 9, 5, 6, 7, 8), (5, 9, 8, 7, 6, 0, 4, 3, 2, 1),
    (6, 5, 9, 8, 7, 1, 0, 4, 3, 2), (7, 6, 5, 9, 8, 2, 1, 0, 4, 3), (8, 7, 6, 5, 9, 3, 2, 1, 0, 4),
    (9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
)  # fmt: skip
_STEP = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def _permutations() -> tuple[tuple[int, ...], ...]:
    rows = [tuple(range(10)), _STEP]
    while len(rows) < 8:
        rows.append(tuple(_STEP[digit] for digit in rows[-1]))
    return tuple(rows)


_PERMUTATIONS = _permutations()


def is_loinc(code: str) -> bool:
    """A LOINC number with its mod-10 check digit, or an answer code by form."""
    found = _LOINC.fullmatch(code)
    if found is None:
        return _LOINC_ANSWER.fullmatch(code) is not None
    total = 0
    for position, digit in enumerate(reversed(found[1])):
        value = int(digit) * (2 if position % 2 == 0 else 1)
        total += value // 10 + value % 10
    return (10 - total % 10) % 10 == int(found[2])


def is_snomed(code: str) -> bool:
    """A SNOMED CT concept id: Verhoeff check digit, and a partition that holds concepts."""
    if _SNOMED.fullmatch(code) is None or code[-3:-1] not in ("00", "10"):
        return False
    check = 0
    for position, digit in enumerate(reversed(code)):
        check = _D5[check][_PERMUTATIONS[position % 8][int(digit)]]
    return check == 0


def _shape(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern, re.ASCII)
    return lambda code: compiled.fullmatch(code) is not None


# System -> test of shape. UCUM and the HL7 code systems are absent on purpose: annotations and
# short words can carry a name, so there only the codes of our own tables pass.
SHAPES: dict[str, Callable[[str], bool]] = {
    "loinc": is_loinc,
    "snomed": is_snomed,
    "rxnorm": _shape(r"[1-9]\d{0,6}"),
    "atc": _shape(r"[A-Z](\d\d([A-Z]([A-Z](\d\d)?)?)?)?"),
    "icd10cm": _shape(r"[A-Z]\d[0-9AB](\.?[0-9A-Z]{1,4})?"),
    "icd10": _shape(r"[A-Z]\d\d(\.?\d{1,2})?"),
    "icd9cm": _shape(r"(\d{3}|V\d\d|E\d{3})(\.?\d{1,2})?"),
    "icd10pcs": _shape(r"[0-9A-HJ-NP-Z]{7}"),
    "mdc": _shape(r"\d{5,6}"),
    "dcm": _shape(r"1[1-3]\d{4}"),
    "cvx": _shape(r"\d{2,3}"),
}
