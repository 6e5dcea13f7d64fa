"""The API described: for programs at /openapi.json, for people at /docs (no script in it)."""

from flask import Blueprint, Flask, Response, current_app, render_template

from service.web.answers import JSON, json_response, require_acceptable
from service.web.api import openapi
from service.web.audiences import closed, opened
from service.web.errors import KINDS
from twin_engine.document import VERSION, schema

_DOCUMENT = "twinport.openapi"

docs = Blueprint("docs", __name__, template_folder="templates")


def prepare_docs(app: Flask) -> None:
    """Build the document once, when the routing table is complete."""
    app.extensions[_DOCUMENT] = openapi.build(app)


@docs.get("/openapi.json")
@closed()
def document() -> Response:
    require_acceptable(JSON)
    return json_response(current_app.extensions[_DOCUMENT])


@docs.get(f"/schemas/twin-{VERSION}.json")
@opened
def twin_schema() -> Response:
    """The closed schema of the document: whoever is given a twin may check it."""
    require_acceptable("application/schema+json", JSON)
    return json_response(schema(), media_type="application/schema+json")


@docs.get("/docs")
@closed(page=True)
def page() -> str:
    found = current_app.extensions[_DOCUMENT]
    return render_template("api_docs.html", document=found, kinds=KINDS)
