"""The resource types we ask for, from `types.toml`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    subject: tuple[str, ...]
    withdrawn: Mapping[str, frozenset[str | bool]]
    split: tuple[str, tuple[str, ...]] | None
    """(search parameter, its values)"""
    include: tuple[str, ...] = ()
    """`_include` values that bring along what we would have to read one by one"""
    created: tuple[tuple[str, int], ...] = ()
    """(search parameter by which what is new can be found, days before the last look)"""


def _kind(name: str, row: Mapping[str, Any]) -> Kind:
    split = [(parameter, tuple(values)) for parameter, values in row.get("split", {}).items()]
    return Kind(
        name=name,
        subject=tuple(row["subject"]),
        withdrawn={element: frozenset(codes) for element, codes in row["withdrawn"].items()},
        split=split[0] if split else None,
        include=tuple(row.get("include", ())),
        created=tuple(row.get("created", {}).items()),
    )


def _load() -> Mapping[str, Kind]:
    text = files("service.fhir").joinpath("types.toml").read_text(encoding="utf-8")
    return {name: _kind(name, row) for name, row in tomllib.loads(text).items()}


KINDS: Mapping[str, Kind] = _load()
ALL: tuple[str, ...] = tuple(KINDS)
# Types that come along without being searched by patient.
CARRIED: tuple[str, ...] = ("Patient", "Medication")


def withdrawn(resource: Resource) -> str | None:
    """Why a resource is no fact, as a reason for the count of drops; None when it is one."""
    kind = KINDS.get(resource["resourceType"])
    for element, codes in kind.withdrawn.items() if kind else ():
        found = resource.get(element)
        for value in (found,) if type(found) is str else _codes(found):
            if value in codes:
                return f"{value}" if isinstance(value, str) else "do-not-perform"
    return None


def gone_word(reason: str) -> str:
    """Why a source is gone, in the words of the twin."""
    return reason if reason == "entered-in-error" else "no-longer-returned"


def _codes(value: Any) -> list[str | bool]:
    """The code(s) of a `code`, `boolean` or `CodeableConcept` element."""
    if value is None:
        return []
    if isinstance(value, str | bool):
        return [value]
    codings = value.get("coding") if isinstance(value, dict) else None
    if not isinstance(codings, list):
        return []
    found = (coding.get("code") for coding in codings if isinstance(coding, dict))
    return [code for code in found if isinstance(code, str)]
