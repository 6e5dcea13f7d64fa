"""What if: asked about one twin, answered, and not kept."""

from flask import Response

from service.auth import Scope
from service.web.answers import JSON, json_response
from service.web.api.blueprint import api
from service.web.api.described import Answer, described
from service.web.api.schemas import ObjectSchema, PurposeQuerySchema, WhatIfSchema, read_body
from service.web.api.twins import may_see
from service.web.audiences import closed
from service.web.gate import principal
from service.web.ports import Failure
from service.web.services import services


@api.post("/twins/<pseudonym>/whatif")
@closed(Scope.TWINS_READ)
@described(
    "Ask a model with other inputs, or what trials of one treatment measured",
    {200: Answer("The graded answer, with the range of the difference.", ObjectSchema)},
    problems=(
        "malformed",
        "unsupported-media-type",
        "invalid",
        Failure.NOT_FOUND,
        Failure.NOT_CONSENTED,
        Failure.UNKNOWN_MODEL,
        Failure.NOT_ASKABLE,
    ),
    body=WhatIfSchema,
    query=PurposeQuerySchema,
)
def what_if(pseudonym: str) -> Response:
    purpose = may_see(pseudonym, PurposeQuerySchema)["purpose"]
    question = read_body(WhatIfSchema)
    found = services().runs.what_if(pseudonym, question)
    services().runs.use(principal(), "whatif", pseudonym, purpose)
    return json_response(found, media_type=JSON)
