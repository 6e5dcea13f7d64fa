"""Medplum, R4.

Sources: [R] github.com/medplum/medplum and @medplum/core; [D] medplum.com/docs, "Paginated search"
and "Rate limits"; [T] tried with Medplum's own router (`@medplum/fhir-router`) in memory.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from flask import Response

from service.sandbox.errors import FhirError
from service.sandbox.export.manners import Manners
from service.sandbox.persona import Persona, Settings
from service.sandbox.search import Query

CONDITIONAL_ENTRIES = 8  # [T] more in one transaction are refused


class Medplum(Persona):
    name = "medplum"
    prefix = "/fhir/R4"
    page_parameter = "_cursor"
    # [R] server/src/fhir/operations: GET and POST, and where the status is.
    exports = Manners(status="bulkdata/export/{job}", files="binary/{file}")

    def settings(self, given: Settings) -> Settings:
        return replace(
            given,
            default_count=20,  # [R]
            max_count=1000,  # [R] larger ones are cut without a word
            strict_search=True,  # [R] 400 "Unknown search parameter"
            everything=False,
        )

    def next_link(self, base: str, query: Query, token: str) -> str:
        asked = [*query.understood(), ("_cursor", token)]  # [D]
        return f"{base}/{query.kind}?{urlencode(asked)}"

    def page(self, bundle: dict[str, Any], query: Query) -> dict[str, Any]:
        del bundle["total"]  # [R] only where _total asks for it
        return bundle

    def version(self, number: int) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))  # [T] versions are UUIDs

    def create(self, kind: str, resource: dict[str, Any]) -> dict[str, Any]:
        if kind == "RiskAssessment":
            _check_predictions(resource)
        return resource

    def transaction(self, entries: Sequence[Mapping[str, Any]]) -> None:
        requests = [e["request"] for e in entries if isinstance(e.get("request"), dict)]
        if sum("ifNoneExist" in r for r in requests) > CONDITIONAL_ENTRIES:
            raise FhirError(400, "invalid", "requires strict isolation but has too many entries")

    def respond(self, response: Response) -> Response:
        response.headers["RateLimit"] = '"requests";r=59999;t=60'  # [D]
        return response


def _check_predictions(resource: dict[str, Any]) -> None:
    for prediction in resource.get("prediction") or ():
        # [T] ras-2 is evaluated so that a prediction without a probability is refused.
        if not {"probabilityDecimal", "probabilityRange"} & prediction.keys():
            raise FhirError(400, "invariant", "Constraint ras-2 not met: Must be <= 100")
