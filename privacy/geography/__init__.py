"""ZIP codes and states: what of an address the law lets be told, 45 CFR 164.514(b)(2)(i)(B)."""

import csv
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Any

RESIDENTS = 20_000  # a prefix needs more than this
WITHHELD = "000"

_ZIP = re.compile(r"[0-9]{5}(?:-[0-9]{4})?", re.ASCII)
_US = frozenset({"US", "USA", "840"})


def _rows(name: str) -> Iterator[dict[str, str]]:
    return csv.DictReader((files(__name__) / name).read_text(encoding="utf-8").splitlines())


def _population() -> dict[str, int]:
    """Residents of the prefixes that may be told: large now, and on no older list of small ones."""
    return {
        row["zip3"]: int(row["residents_2020"])
        for row in _rows("zip3.csv")
        if int(row["residents_2020"]) > RESIDENTS and row["small_2000"] == row["small_2010"] == "0"
    }


LARGE: Mapping[str, int] = MappingProxyType(_population())
STATES = frozenset(row["state"] for row in _rows("states.csv"))


def zip3(code: str) -> str:
    """The prefix of a US ZIP code, or 000 where too few people live under it."""
    return code[:3] if code[:3] in LARGE else WITHHELD


def area(address: Any, *, whole_zip: bool) -> dict[str, str] | None:
    """Country, state and ZIP code of a US address. Five digits are also codes of other countries:
    without a country the address is nobody's, and elsewhere nothing is told."""
    country = address.get("country") if type(address) is dict else None
    if type(country) is not str or country not in _US:
        return None
    found = {"country": "US"}
    state, code = address.get("state"), address.get("postalCode")
    if type(state) is str and state in STATES:
        found["state"] = state
    if type(code) is str and _ZIP.fullmatch(code):
        found["postalCode"] = code[:5] if whole_zip else zip3(code)
    return found
