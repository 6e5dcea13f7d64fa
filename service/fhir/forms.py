"""The form of a question to a server: what was asked, never about whom.

Names of parameters, and of values only those that are words of our own plan (`types.toml`). No id,
no date and nothing that a server sent can get in: a value is written because it is listed, not
because it looks harmless.
"""

from service.fhir.kinds import KINDS
from service.fhir.paging import Params

EVERYTHING = "Patient/{id}/$everything?_count"
_COUNTED = ("_summary", "count")


def search_form(kind: str, params: Params, *, post: bool = False) -> str:
    """`Observation?patient&category=laboratory&_count`, `POST Observation/_search?patient`"""
    told = "&".join(dict.fromkeys(_told(kind, *pair) for pair in params))
    return f"POST {kind}/_search?{told}" if post else f"{kind}?{told}"


def read_form(kind: str) -> str:
    """Of a resource that was fetched by its id"""
    return f"{kind}/{{id}}"


def _told(kind: str, name: str, value: str) -> str:
    return f"{name}={value}" if (name, value) in _planned(kind) else name


def _planned(kind: str) -> set[tuple[str, str]]:
    """Parameters of which our own plan sets the value."""
    own = KINDS.get(kind)
    if own is None:
        return {_COUNTED}
    parameter, values = own.split or ("", ())
    split = {(parameter, value) for value in values}
    return {_COUNTED, *split, *(("_include", value) for value in own.include)}
