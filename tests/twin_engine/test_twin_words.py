"""What the rest of the house says about a record fits into the words of the document."""

import tomllib
from collections.abc import Iterator
from importlib import resources
from typing import Any

from service.dicomweb.study import SLICE as ARCHIVE
from service.fhir.bundle import CLAIMS, HELD
from service.fhir.errors import FhirError
from service.fhir.kinds import ALL, CARRIED
from service.fhir.subjects import FOREIGN, UNPROVEN
from twin_engine.document.terms import words


def kinds(error: type[FhirError]) -> Iterator[type[FhirError]]:
    yield error
    for below in error.__subclasses__():
        yield from kinds(below)


def values(node: Any) -> Iterator[Any]:
    if isinstance(node, dict | list):
        for inner in node.values() if isinstance(node, dict) else node:
            yield from values(inner)
    else:
        yield node


def test_every_error_of_a_server_is_a_reason_for_an_incomplete_slice() -> None:
    of_servers = {e.code for e in kinds(FhirError) if e.__module__ == FhirError.__module__}
    assert of_servers <= set(words()["shortfall"].words)


def test_every_claim_of_a_file_is_a_reason_for_an_incomplete_slice() -> None:
    said = {word for claim in (*CLAIMS.values(), HELD) for word in (claim.present, claim.absent)}
    assert said - {"complete"} <= set(words()["shortfall"].words)


def test_every_status_that_withdraws_a_resource_is_a_reason_for_dropping_it() -> None:
    table = tomllib.loads(resources.files("service.fhir").joinpath("types.toml").read_text("utf-8"))
    withdrawn = {
        value
        for kind in table.values()
        for value in values(kind.get("withdrawn", {}))
        if isinstance(value, str)
    }
    known = set(words()["drop-reason"].words)
    assert {*withdrawn, FOREIGN, UNPROVEN, "do-not-perform"} <= known


def test_every_type_that_is_pulled_has_a_slice() -> None:
    assert {*ALL, *CARRIED, ARCHIVE} == set(words()["slice-type"].words)
