"""How clinicians and models agree: by model, for the committee."""

from flask import Response

from service.auth import Role, Scope
from service.web.answers import JSON, json_response, require_acceptable
from service.web.api.blueprint import api
from service.web.api.described import Answer, described
from service.web.api.schemas import ObjectSchema, read_query
from service.web.audiences import closed
from service.web.services import services


@api.get("/reviews/reliance")
@closed(Scope.OPERATIONS_READ, roles=(Role.ADMIN,))
@described(
    "Tell how clinicians' estimates and each model's answers agreed; never of one person",
    {200: Answer("One entry per model, as `twinport reviews --json`.", ObjectSchema, many=True)},
    problems=("invalid",),
)
def reliance() -> Response:
    require_acceptable(JSON)
    read_query()
    return json_response({"items": services().runs.reviews.reliance()})
