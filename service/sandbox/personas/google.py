"""Google Cloud Healthcare API, FHIR store (R4).

Source: [G] the API's discovery document, healthcare v1 (healthcare.googleapis.com/$discovery/rest);
[IS] stored answers in public issues.
"""

import base64
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import orjson
from flask import Response, request

from service.sandbox.errors import FhirError, outcome
from service.sandbox.export.manners import Manners
from service.sandbox.persona import Pairs, Persona, Settings
from service.sandbox.search import RESULT_PARAMETERS, Query

STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}


class Google(Persona):
    name = "google"
    # [G] a base of many segments.
    prefix = "/v1/projects/p/locations/l/datasets/d/fhirStores/s/fhir"
    page_parameter = "_page_token"
    exports = Manners(
        levels=("system", "group"),  # [G] bulk-export and bulk-export-group
        methods=("GET",),
        status="operations/{job}",
    )

    def __init__(self, lag_seconds: float = 1.0) -> None:
        self._lag = lag_seconds

    def settings(self, given: Settings) -> Settings:
        return replace(
            given,
            default_count=100,  # [G]
            max_count=1000,  # [G]
            search_lag_seconds=self._lag,  # [G] the index is asynchronous
        )

    def lags(self, query: Query) -> bool:
        """[G] A search by identifier alone is immediate."""
        names = {name for name, _ in query.criteria}
        return names != {"identifier"}

    def posted(self, query: Pairs, form: Pairs) -> Pairs:
        return query  # [G] parameters in the URL even for POST; a form body is not read

    def next_link(self, base: str, query: Query, token: str) -> str:
        return f"{base}/{query.kind}/?{urlencode([*query.understood(), ('_page_token', token)])}"

    def page(self, bundle: dict[str, Any], query: Query) -> dict[str, Any]:
        if len(bundle["link"]) > 1:
            bundle["total"] += 7  # [G] an estimate until the last page
        return bundle

    def respond(self, response: Response) -> Response:
        # [G] the state of an export is a long-running operation of Google's, not a manifest; the
        # files are objects in Cloud Storage (gs://).
        if request.endpoint == "export-status" and response.status_code in (200, 202):
            done = response.status_code == 200
            body = {"name": "operations/1", "done": done}
            response = Response(orjson.dumps(body), content_type="application/json")
        return response

    def condition(self, query: str) -> None:
        names = {pair.split("=")[0] for pair in query.lstrip("?").split("&")}
        if names - {"identifier", *RESULT_PARAMETERS}:
            raise FhirError(400, "not-supported", "bad_condition")  # [G] identifier only

    def version(self, number: int) -> str:
        # [G] versions are opaque.
        return base64.urlsafe_b64encode(f"MTY{number:06}".encode()).decode()

    def error(self, error: FhirError) -> dict[str, Any]:
        if error.status in STATUS and error.code == "login":
            # [G] what is not mapped to a FHIR method comes as Google's own error object.
            status = STATUS[error.status]
            return {"error": {"code": error.status, "message": error.text, "status": status}}
        body = outcome(error.code, error.code.replace("-", "_"))
        body["issue"][0]["diagnostics"] = error.text  # [IS]
        return body
