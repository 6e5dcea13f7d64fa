"""HAPI FHIR JPA server as hapi-fhir-jpaserver-starter configures it.

Sources: [ST] github.com/hapifhir/hapi-fhir-jpaserver-starter, application.yaml and AppProperties;
[IS] issues of github.com/hapifhir/hapi-fhir; [SRC] that repository's source; [FDP]
github.com/google/fhir-data-pipes issues.
"""

import threading
import time
from dataclasses import replace
from typing import Any

from flask import Request, Response, request

from service.sandbox.errors import FhirError, outcome
from service.sandbox.export.manners import Manners
from service.sandbox.persona import Persona, Settings
from service.sandbox.search import Query

REUSED_SECONDS = 60.0
MOST_SEARCHES = 500


class Hapi(Persona):
    name = "hapi"
    page_parameter = "_getpages"
    exports = Manners(
        # [SRC] JpaConstants.OPERATION_EXPORT_POLL_STATUS; files are Binary resources.
        status="$export-poll-status?_jobId={job}",
        files="Binary/{file}",
        lifetime_seconds=7200,  # [ST] bulk_export_file_retention_period_hours: 2
    )

    def __init__(self) -> None:
        self._searches: dict[str, tuple[float, bytes]] = {}
        self._lock = threading.Lock()

    def settings(self, given: Settings) -> Settings:
        return replace(
            given,
            default_count=20,  # [ST] default_page_size
            strict_search=True,  # [ST] an unknown search parameter is refused (HAPI-0524)
            update_as_create=True,  # [ST] client ids allowed, strategy ALPHANUMERIC
            stale_version_status=409,  # [IS] HAPI-0550: 409 where R4 has 412
        )

    def intercept(self, request: Request) -> Response | None:
        # [ST] reuse_cached_search_results_millis 60000: the same search again within a minute is
        # answered as before, whatever was written since; Cache-Control: no-cache asks anew.
        anew = "no-cache" in request.headers.get("Cache-Control", "")
        body = None if anew else self._searched(request.url)
        return None if body is None else Response(body, content_type="application/fhir+json")

    def _searched(self, url: str) -> bytes | None:
        with self._lock:
            asked, body = self._searches.get(url, (-REUSED_SECONDS, b""))
        return body if time.monotonic() - asked < REUSED_SECONDS else None

    def respond(self, response: Response) -> Response:
        done = request.endpoint == "search" and response.status_code == 200
        if done and self._searched(request.url) is None:
            with self._lock:
                if len(self._searches) >= MOST_SEARCHES:
                    self._searches.clear()
                self._searches[request.url] = time.monotonic(), response.get_data()
        return response

    def next_link(self, base: str, query: Query, token: str) -> str:
        # [IS] hapi-fhir#674: on the base itself, without the type, with a _format of its own.
        return (
            f"{base}?_getpages={token}&_getpagesoffset={query.count}&_count={query.count}"
            "&_format=json&_pretty=true&_bundletype=searchset"
        )

    def expired(self) -> FhirError:
        # [FDP] fhir-data-pipes#845: 410 once the cached search is gone.
        return FhirError(410, "processing", "Search ID does not exist and may have expired")

    def page(self, bundle: dict[str, Any], query: Query) -> dict[str, Any]:
        # [IS] hapi-fhir#5237: total is told only when the search ended within the first fetch.
        if len(bundle["link"]) > 1:
            del bundle["total"]
        # [IS] hapi-fhir#674: $everything repeats the Patient on every page.
        if query.kind == "Patient" and bundle.get("entry"):
            bundle["entry"] = [*bundle["entry"], bundle["entry"][0]]
        return bundle

    def update(self, kind: str, resource: dict[str, Any]) -> dict[str, Any]:
        # [ST] client_id_strategy ALPHANUMERIC: an id of digits alone is the server's to give.
        if str(resource.get("id", "")).isdecimal():
            raise FhirError(400, "processing", "clients may only assign ids with a non-digit")
        return resource

    def error(self, error: FhirError) -> dict[str, Any]:
        # [IS] hapi-fhir#7308: the code is nearly always `processing`: the status must do.
        return outcome("processing", f"HAPI: {error.text}")
