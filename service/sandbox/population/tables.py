"""The packaged tables of the population, read once."""

import csv
import tomllib
from functools import lru_cache
from importlib import resources
from typing import Any

SYSTEMS = {
    "snomed": "http://snomed.info/sct",
    "loinc": "http://loinc.org",
    "icd10cm": "http://hl7.org/fhir/sid/icd-10-cm",
    "rxnorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "cvx": "http://hl7.org/fhir/sid/cvx",
}


def _text(name: str) -> str:
    folder = resources.files("service.sandbox.population")
    return folder.joinpath(name).read_text(encoding="utf-8")


@lru_cache(maxsize=8)
def rows(name: str) -> tuple[dict[str, str], ...]:
    """The rows of one CSV table; lines that start with # are remarks."""
    lines = [line for line in _text(name).splitlines() if not line.startswith("#")]
    return tuple(csv.DictReader(lines))


@lru_cache(maxsize=1)
def observations() -> dict[str, dict[str, str]]:
    return {row["key"]: row for row in rows("observations.csv")}


@lru_cache(maxsize=1)
def drugs() -> dict[str, dict[str, str]]:
    return {row["key"]: row for row in rows("drugs.csv")}


@lru_cache(maxsize=1)
def _codings() -> dict[str, list[dict[str, str]]]:
    table: dict[str, list[dict[str, str]]] = {}
    for row in rows("codes.csv"):
        coding = {"system": SYSTEMS[row["system"]], "code": row["code"], "display": row["label"]}
        table.setdefault(row["key"], []).append(coding)
    return table


def concept(key: str) -> dict[str, Any]:
    """A CodeableConcept with every coding of this key and its label as text."""
    codings = [dict(coding) for coding in _codings()[key]]
    return {"coding": codings, "text": codings[0]["display"]}


def coding(key: str) -> dict[str, str]:
    return dict(_codings()[key][0])


def patients() -> list[dict[str, Any]]:
    cast: list[dict[str, Any]] = tomllib.loads(_text("patients.toml"))["patient"]
    return cast
