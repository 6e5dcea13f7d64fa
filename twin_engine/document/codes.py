"""Codes a document may carry: of known systems, in the form of the system, past the code guard.

A code that fails is not written (the builder counts it): a number in a code's place could be
anything, a telephone number included. The forms here are what the published schema can say; check
digits are the vocabulary's business.
"""

import csv
import re
from functools import lru_cache
from importlib import resources
from typing import NamedTuple

from mappings import vocabulary


class CodeForm(NamedTuple):
    """The form of the codes of one system, by its short name."""

    system: str
    pattern: str
    source: str


def _load() -> dict[str, CodeForm]:
    table = resources.files(__package__).joinpath("codes.csv").read_text("utf-8")
    rows = csv.DictReader(table.splitlines())
    return {row["system"]: CodeForm(row["system"], row["pattern"], row["source"]) for row in rows}


FORMS = _load()
_COMPILED = {name: re.compile(form.pattern) for name, form in FORMS.items()}


@lru_cache(maxsize=2**16)
def acceptable(system: str, code: str) -> bool:
    """Whether `code` may be written as a code of `system` (a short name)."""
    form = _COMPILED.get(system)
    return (
        form is not None
        and form.fullmatch(code) is not None
        and vocabulary.is_known_code(system, code)
    )
