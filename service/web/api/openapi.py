"""The OpenAPI 3.1 document, made from the routing table, the descriptions and the schemas."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask
from marshmallow import Schema
from werkzeug.routing import Rule

from service.web.answers import JSON
from service.web.api.described import Answer, Description, description_of
from service.web.api.schemas import ProblemSchema
from service.web.audiences import Audience, audience_of
from service.web.errors import KINDS, PROBLEM
from service.web.version import SOFTWARE

PREFIX = "/api/v1"
# What the gate may answer on any route, whatever it does.
EVERYWHERE = (
    "bad-host",
    "sign-in-needed",
    "sign-in-refused",
    "forbidden",
    "form-expired",
    "not-acceptable",
    "body-too-large",
    "address-too-long",
    "throttled",
    "busy",
    "internal",
)
_PARTS = re.compile(r"<(?:(?P<kind>\w+):)?(?P<name>\w+)>")
_PROBLEM_REF = {"$ref": "#/components/schemas/Problem"}
_PATH_TEXTS = {
    "run_id": "A run.",
    "pseudonym": "A twin.",
    "version": "A version of the twin.",
    "model_id": "A model.",
}


class Route(NamedTuple):
    """One operation of the API."""

    method: str
    rule: Rule
    audience: Audience
    description: Description

    @property
    def path(self) -> str:
        return _PARTS.sub(r"{\g<name>}", self.rule.rule)

    @property
    def statuses(self) -> dict[int, list[str]]:
        """Every error status this route may answer with, and the problems behind it."""
        found: dict[int, list[str]] = {}
        for code in dict.fromkeys((*self.description.problems, *EVERYWHERE)):
            found.setdefault(KINDS[code].status, []).append(str(code))
        return dict(sorted(found.items()))


def routes(app: Flask) -> Iterator[Route]:
    """Every operation under the prefix; raises for one that does not describe itself."""
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith(PREFIX):
            continue
        view = app.view_functions[rule.endpoint]
        description, audience = description_of(view), audience_of(view)
        if description is None or audience is None:
            raise RuntimeError(f"route {rule.rule} does not describe itself. Next: add @described")
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield Route(method, rule, audience, description)


def build(app: Flask) -> dict[str, Any]:
    """The document."""
    spec = APISpec(
        title="Twinport",
        version=SOFTWARE,
        openapi_version="3.1.0",
        info={
            "description": "Pull a patient, make a de-identified twin, run models, write back.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        plugins=[MarshmallowPlugin(schema_name_resolver=_schema_name)],
    )
    spec.components.schema("Problem", schema=ProblemSchema)
    spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer"})
    session = {"type": "apiKey", "in": "cookie", "name": "__Host-twinport"}
    spec.components.security_scheme("session", session)
    for route in sorted(routes(app), key=lambda r: (r.path, r.method)):
        spec.path(path=route.path, operations={route.method.lower(): _operation(route)})
    document: dict[str, Any] = spec.to_dict()
    return document


def _schema_name(schema: Any) -> str:
    kind = schema if isinstance(schema, type) else type(schema)
    return kind.__name__.removesuffix("Schema")


def _operation(route: Route) -> dict[str, Any]:
    description = route.description
    answers = {str(status): _answer(answer) for status, answer in description.answers.items()}
    errors = {str(status): _error(codes) for status, codes in route.statuses.items()}
    body = {"requestBody": _body(description)} if description.body or description.files else {}
    return {
        "operationId": route.rule.endpoint.partition(".")[2],
        "summary": description.summary,
        "security": [{"bearer": _scopes(route.audience)}, {"session": []}],
        "parameters": [
            *_path_parameters(route),
            *_query_parameters(description),
            *_headers(description),
        ],
        **body,
        "responses": {**answers, **errors},
    }


def _scopes(audience: Audience) -> list[str]:
    return [audience.scope.value] if audience.scope else []


def _body(description: Description) -> dict[str, Any]:
    files: dict[str, Any] = {kind: {} for kind in description.files}
    content = {JSON: {"schema": description.body}} if description.body else files
    return {"required": True, "content": content}


def _answer(answer: Answer) -> dict[str, Any]:
    headers = {name: {"schema": {"type": "string"}} for name in answer.headers}
    shown: dict[str, Any] = {"description": answer.text}
    if headers:
        shown["headers"] = headers
    if answer.schema is not None:
        shown["content"] = {answer.media_type: {"schema": _shape(answer.schema, many=answer.many)}}
    return shown


def _shape(schema: type[Schema], *, many: bool) -> Any:
    if not many:
        return schema
    items = {"type": "array", "items": schema}
    return {"type": "object", "required": ["items"], "properties": {"items": items}}


def _error(codes: list[str]) -> dict[str, Any]:
    text = "; ".join(f"`{code}`: {KINDS[code].title}" for code in codes)
    return {"description": text, "content": {PROBLEM: {"schema": _PROBLEM_REF}}}


def _path_parameters(route: Route) -> Iterator[dict[str, Any]]:
    for part in _PARTS.finditer(route.rule.rule):
        kind = "integer" if part["kind"] == "int" else "string"
        yield {
            "in": "path",
            "name": part["name"],
            "required": True,
            "description": _PATH_TEXTS[part["name"]],
            "schema": {"type": kind},
        }


def _query_parameters(description: Description) -> list[dict[str, Any]]:
    return [{"in": "query", "schema": description.query}] if description.query else []


def _headers(description: Description) -> Iterator[dict[str, Any]]:
    every: Mapping[str, str] = {
        **description.headers,
        "X-Request-Id": "Repeated in the answer and in our logs; never put a patient's data in it.",
    }
    for name, text in every.items():
        yield {"in": "header", "name": name, "description": text, "schema": {"type": "string"}}
