"""The CapabilityStatement, read off the routing table, and the OperationDefinition of `$assess`."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import orjson
from flask import Flask, Response, current_app, request

from service.web.audiences import closed, opened
from service.web.discovery import public_base
from service.web.errors import WebError
from service.web.fhir.blueprint import facade, fhir_response
from service.web.fhir.parameters import ASSESS, DEIDENTIFY, Parameter
from service.web.fhir.search import ELSEWHERE, PARAMETERS
from service.web.ports import Failure
from service.web.version import SOFTWARE

# When what these two documents say last changed.
_REVISED = "2026-11-29"
_MODES = frozenset({"full", "normative", "terminology"})
_RULE = re.compile(r"/fhir/(?P<type>[A-Z][A-Za-z]+)(?P<rest>/.*)?")
_OPERATION = re.compile(r"/<[^>]+>/\$(?P<code>[a-z-]+)")
_SYSTEM_OPERATION = re.compile(r"/fhir/\$(?P<code>[a-z-]+)")


class Served(NamedTuple):
    """One interaction or operation of one resource type that the routing table serves."""

    type: str
    kind: str  # "interaction" or "operation"
    code: str


def served(app: Flask) -> Iterator[Served]:
    """What the routing table says, and nothing else."""
    for rule in app.url_map.iter_rules():
        form = _RULE.fullmatch(rule.rule)
        if form is None:
            continue
        found = _meaning(form["rest"] or "", rule.methods or set())
        if found is not None:
            yield Served(form["type"], *found)


def system_operations(app: Flask) -> list[str]:
    """The operations that belong to no type."""
    found = (_SYSTEM_OPERATION.fullmatch(rule.rule) for rule in app.url_map.iter_rules())
    return sorted({form["code"] for form in found if form is not None})


def _meaning(rest: str, methods: set[str]) -> tuple[str, str] | None:
    operation = _OPERATION.fullmatch(rest)
    if operation is not None:
        return "operation", operation["code"]
    if rest == "" and "GET" in methods:
        return "interaction", "search-type"
    if re.fullmatch(r"/<[^>]+>", rest) and "GET" in methods:
        return "interaction", "read"
    return None  # `_search` is the other form of search-type


@facade.get("/metadata")
@opened
def metadata() -> Response:
    """What this façade can do. `mode` is accepted; there is one statement for all of them."""
    if request.args.get("mode", "full") not in _MODES:
        raise WebError("bad-value")
    return _document(capability_statement(current_app, f"{public_base()}/fhir"))


@facade.get("/OperationDefinition/<name>")
@closed()
def definition(name: str) -> Response:
    base = f"{public_base()}/fhir"
    if name == "assess":
        return _document(operation_definition(base))
    if name == "de-identify" and name in system_operations(current_app):
        return _document(deidentify_definition(base))
    raise WebError(Failure.NOT_FOUND)


def _document(resource: dict[str, Any]) -> Response:
    response = fhir_response(resource)
    digest = hashlib.sha256(orjson.dumps(resource)).hexdigest()
    response.set_etag(digest[:16], weak=True)
    response.make_conditional(request)
    return response


def capability_statement(app: Flask, base: str) -> dict[str, Any]:
    found = list(served(app))
    return {
        "resourceType": "CapabilityStatement",
        "url": f"{base}/metadata",
        "version": SOFTWARE,
        "name": "Twinport",
        "title": "Twinport: assessments of digital twins",
        "status": "active",
        "date": _REVISED,
        "kind": "instance",
        "software": {"name": "Twinport", "version": SOFTWARE},
        "implementation": {"description": "Twinport's FHIR façade", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"],
        "rest": [
            {
                "mode": "server",
                "documentation": "Resources made by models from de-identified twins. Read-only; "
                "new ones come from Patient/$assess.",
                "security": {
                    "cors": False,
                    "description": "Bearer: an API key, or an access token of the issuer named at "
                    "/.well-known/oauth-protected-resource.",
                },
                "resource": [_resource(t, found, base) for t in sorted({s.type for s in found})],
                **_system(app, base),
            }
        ],
    }


def _system(app: Flask, base: str) -> dict[str, Any]:
    found = [
        {"name": code, "definition": f"{base}/OperationDefinition/{code}"}
        for code in system_operations(app)
    ]
    return {"operation": found} if found else {}


def _resource(resource_type: str, found: list[Served], base: str) -> dict[str, Any]:
    mine = sorted({s for s in found if s.type == resource_type})
    interactions = [{"code": s.code} for s in mine if s.kind == "interaction"]
    operations = [
        {"name": s.code, "definition": f"{base}/OperationDefinition/{s.code}"}
        for s in mine
        if s.kind == "operation"
    ]
    parameters = [
        {"name": p.name, "type": p.type, "documentation": p.documentation}
        for p in (PARAMETERS | ELSEWHERE).get(resource_type, ())
    ]
    members = {
        "interaction": interactions,
        "searchParam": parameters,
        "operation": operations,
    }
    return {"type": resource_type, **{name: part for name, part in members.items() if part}}


def operation_definition(base: str) -> dict[str, Any]:
    return {
        "resourceType": "OperationDefinition",
        "id": "assess",
        "url": f"{base}/OperationDefinition/assess",
        "version": SOFTWARE,
        "name": "Assess",
        "title": "Assess a patient's risks on a de-identified twin",
        "status": "active",
        "kind": "operation",
        "date": _REVISED,
        "description": "Pulls the patient from the named server, de-identifies the record into a "
        "twin, runs the models on it, and, unless asked not to, writes the results back once.",
        "affectsState": True,
        "code": "assess",
        "resource": ["Patient"],
        "system": False,
        "type": False,
        "instance": True,
        "parameter": [*_inputs(ASSESS), _OUTPUT],
    }


def deidentify_definition(base: str) -> dict[str, Any]:
    return {
        "resourceType": "OperationDefinition",
        "id": "de-identify",
        "url": f"{base}/OperationDefinition/de-identify",
        "version": SOFTWARE,
        "name": "DeIdentify",
        "title": "Take the identity out of a resource or Bundle under a named policy",
        "status": "active",
        "kind": "operation",
        "date": _REVISED,
        "description": "What comes in is de-identified and handed back as valid R4; whatever no "
        "rule of the policy keeps is dropped, and what cannot be judged is left out and counted. "
        "A Bundle or resource may be sent by itself, and NDJSON; then the policy stands in the "
        "address. Pseudonyms and the digest of the answer are kept, sealed and in the ledger.",
        "affectsState": True,
        "code": "de-identify",
        "comment": "Operation, parameters and policy code as in HL7's DARTS guide (1.0.0-ballot, "
        "http://hl7.org/fhir/us/darts/OperationDefinition/de-identify); file URLs are refused.",
        "system": True,
        "type": False,
        "instance": False,
        "parameter": [*_inputs(DEIDENTIFY), *_DEIDENTIFIED],
    }


def _inputs(declared: Iterable[Parameter]) -> Iterator[dict[str, Any]]:
    for parameter in declared:
        yield {
            "name": parameter.name,
            "use": "in",
            "min": parameter.low,
            "max": parameter.high,
            "documentation": parameter.documentation,
            "type": parameter.type,
        }


_DEIDENTIFIED = [
    {
        "name": "de-identifiedData",
        "use": "out",
        "min": 1,
        "max": "1",
        "documentation": "A collection Bundle; references lead to its entries.",
        "type": "Bundle",
    },
    {
        "name": "outcome",
        "use": "out",
        "min": 0,
        "max": "1",
        "documentation": "How many resources of which type were left out, and why.",
        "type": "OperationOutcome",
    },
]
_OUTPUT = {
    "name": "return",
    "use": "out",
    "min": 1,
    "max": "1",
    "documentation": "A collection Bundle: RiskAssessments and Observations of status preliminary, "
    "with their Device and Provenance.",
    "type": "Bundle",
}
