"""Azure Health Data Services, FHIR service (R4).

Sources: [C] github.com/microsoft/fhir-server, from which the service is built; [D]
learn.microsoft.com/azure/healthcare-apis; [IS] issues of microsoft/fhir-server.
"""

import threading
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import orjson
from flask import Request, Response

from service.sandbox.errors import FhirError, outcome
from service.sandbox.export.manners import Manners
from service.sandbox.persona import Persona, Settings
from service.sandbox.search import Query

TRANSACTION_ENTRIES = 500  # [C]


class Azure(Persona):
    name = "azure"
    prefix = ""  # [D] host only
    page_parameter = "ct"
    # [C] GET at all three levels; the files go to Blob storage, which wants its own credentials.
    exports = Manners(methods=("GET",), token_for_files=False, own_credentials=True)

    def __init__(self, throttle_every: int = 0) -> None:
        self._throttle_every = throttle_every
        self._count = 0
        self._lock = threading.Lock()

    def settings(self, given: Settings) -> Settings:
        # [C] default 10, most 1000; PUT of a new id creates.
        return replace(given, default_count=10, max_count=1000, update_as_create=True)

    def intercept(self, request: Request) -> Response | None:
        """[C] 429 under load, as plain JSON, with the exact wait beside Retry-After."""
        with self._lock:
            self._count += 1
            busy = self._throttle_every and self._count % self._throttle_every == 0
        if not busy:
            return None
        text = "The maximum number of concurrent API calls on this instance was reached."
        headers = {"Retry-After": "0", "x-ms-retry-after-ms": "5"}
        body = orjson.dumps(outcome("throttled", text))
        return Response(body, 429, headers, content_type="application/json")

    def next_link(self, base: str, query: Query, token: str) -> str:
        return f"{base}/{query.kind}?{urlencode([*query.understood(), ('ct', token)])}"  # [C]

    def page(self, bundle: dict[str, Any], query: Query) -> dict[str, Any]:
        del bundle["total"]  # [C] only with _total=accurate
        return bundle

    def transaction(self, entries: Any) -> None:
        if len(entries) > TRANSACTION_ENTRIES:
            raise FhirError(400, "too-costly", "more than 500 entries")

    def error(self, error: FhirError) -> dict[str, Any]:
        body = outcome(error.code, error.text)
        body["issue"][0]["diagnostics"] = error.text  # [C]
        return body

    def respond(self, response: Response) -> Response:
        response.headers["X-Correlation-Id"] = "00000000-0000-4000-8000-000000000000"  # [C]
        return response
