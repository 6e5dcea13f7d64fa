"""Reading and searching the resources we made. Read-only: they change by new runs alone."""

from collections.abc import Iterable
from dataclasses import replace

from flask import Response, request
from werkzeug.datastructures import MultiDict
from werkzeug.http import http_date

from service.auth import Principal, Scope
from service.web.audiences import closed
from service.web.discovery import public_base
from service.web.errors import WebError
from service.web.fhir.blueprint import FHIR_ID, facade, fhir_response
from service.web.fhir.search import PARAMETERS, read_search, searchset, shown
from service.web.gate import principal
from service.web.ports import Failure, FhirPage, FhirQuery, OwnResource
from service.web.services import services

_FORM = "application/x-www-form-urlencoded"


def _register(resource_type: str) -> None:
    """The three routes of one type, written out so that the routing table tells the truth."""

    @facade.get(f"/{resource_type}/<resource_id>", endpoint=f"read_{resource_type}")
    @closed(Scope.FHIR_READ)
    def read(resource_id: str) -> Response:
        return _read(resource_type, resource_id)

    @facade.get(f"/{resource_type}", endpoint=f"search_{resource_type}")
    @closed(Scope.FHIR_READ)
    def search() -> Response:
        return _search(resource_type, request.args)

    @facade.post(f"/{resource_type}/_search", endpoint=f"search_form_{resource_type}")
    @closed(Scope.FHIR_READ)
    def search_form() -> Response:
        if request.mimetype != _FORM:
            raise WebError("unsupported-media-type")
        both = MultiDict([*request.args.items(multi=True), *request.form.items(multi=True)])
        return _search(resource_type, both)


for _type in PARAMETERS:
    _register(_type)


def _read(resource_type: str, resource_id: str) -> Response:
    if not FHIR_ID.fullmatch(resource_id):
        raise WebError(Failure.NOT_FOUND)
    found = services().runs.fhir_resource(resource_type, resource_id)
    if found.twin is not None and not principal().may_see(found.twin):
        raise WebError(Failure.NOT_FOUND)
    _use([found])
    response = fhir_response(shown(found))
    if found.past:  # what somebody holds from before does not say so yet
        return response
    response.set_etag(str(found.version), weak=True)
    response.headers["Last-Modified"] = http_date(found.updated)
    response.make_conditional(request)
    return response


def _search(resource_type: str, given: "MultiDict[str, str]") -> Response:
    search = read_search(resource_type, given)
    query = _within_reach(search.query, principal())
    page = FhirPage((), 0, False) if query is None else services().runs.fhir_search(query)
    if not search.count_only:
        _use(page.resources)
    return fhir_response(searchset(search, page, f"{public_base()}/fhir"))


def _use(found: Iterable[OwnResource]) -> None:
    """Whoever a twin is about has not refused it, and can see later that somebody read of it."""
    for twin in sorted({resource.twin for resource in found if resource.twin is not None}):
        services().runs.use(principal(), "results-read", twin)


def _within_reach(query: FhirQuery, caller: Principal) -> FhirQuery | None:
    """A bound caller's search is narrowed, not refused; None when nothing can be left."""
    if caller.twin is None:
        return replace(query, consented=True)
    if query.twins is not None and caller.twin not in query.twins:
        return None
    return replace(query, twins=(caller.twin,))
