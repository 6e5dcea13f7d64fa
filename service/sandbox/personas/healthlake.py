"""AWS HealthLake (R4).

Sources: [D] AWS HealthLake developer guide and API reference, docs.aws.amazon.com/healthlake; [M] a
third party's measurement on a live store, September 2026.
"""

from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from flask import Response, request

from service.sandbox.errors import FhirError
from service.sandbox.export.manners import Manners
from service.sandbox.persona import Pairs, Persona, Settings
from service.sandbox.search import Query

LARGEST_PAGE = 100  # [D]
BUNDLE_ENTRIES = 160  # [D]


class HealthLake(Persona):
    name = "healthlake"
    prefix = "/datastore/0123456789abcdef0123456789abcdef/r4"  # [D]
    page_parameter = "page"
    # [D] POST at every level, one export at a time; the files go to a bucket of one's own in S3,
    # which no link of the manifest opens without credentials for it.
    exports = Manners(
        methods=("POST",), jobs_per_client=1, token_for_files=False, own_credentials=True
    )

    def __init__(self, lag_seconds: float = 1.0) -> None:
        self._lag = lag_seconds

    def settings(self, given: Settings) -> Settings:
        return replace(
            given,
            default_count=10,
            max_count=LARGEST_PAGE,
            update_as_create=True,  # [D]
            search_lag_seconds=self._lag,  # [M] up to 20 s on a live store
        )

    def asked(self, kind: str, pairs: Pairs) -> Pairs:
        for name, value in pairs:
            if name == "_count" and value.isdecimal() and int(value) > LARGEST_PAGE:
                raise FhirError(400, "value", "_count is limited to 100")  # [D]
            if name == "_total" and value not in ("accurate", "none"):
                raise FhirError(400, "value", "_total takes accurate or none")  # [D]
        return pairs

    def next_link(self, base: str, query: Query, token: str) -> str:
        # [M] the token ends in `==`, not percent-encoded: byte for byte or not at all.
        return f"{base}/{query.kind}?{urlencode(query.understood())}&page={token}=="

    def token(self, given: str) -> str:
        if not given.endswith("=="):
            raise FhirError(400, "value", "the page token is damaged")
        return given.removesuffix("==")

    def page(self, bundle: dict[str, Any], query: Query) -> dict[str, Any]:
        del bundle["total"]  # [D] only where _total asks for it
        return bundle

    def transaction(self, entries: Any) -> None:
        if len(entries) > BUNDLE_ENTRIES:
            raise FhirError(400, "too-costly", "more than 160 entries")

    def respond(self, response: Response) -> Response:
        if request.method == "POST" and response.status_code == 201:
            response.headers.pop("Location", None)  # [M] the body alone says where it is
        return response
