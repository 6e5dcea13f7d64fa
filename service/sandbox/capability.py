"""The CapabilityStatement, made from the tables that the server itself runs on."""

from typing import Any

from service.sandbox.export.manners import DEFINITION, INSTANTIATES, NAMES, Manners
from service.sandbox.persona import Settings
from service.sandbox.search import include_values, parameter_table

SECURITY_SERVICE = "http://terminology.hl7.org/CodeSystem/restful-security-service"


def capability_statement(
    base: str, settings: Settings, exports: Manners, date: str, version: str
) -> dict[str, Any]:
    rest: dict[str, Any] = {
        "mode": "server",
        "security": _security(settings),
        "resource": [_resource(kind, settings) for kind in parameter_table()],
    }
    if settings.transactions:
        rest["interaction"] = [{"code": "transaction"}, {"code": "batch"}]
    _add_exports(rest, exports)
    statement: dict[str, Any] = {
        "resourceType": "CapabilityStatement",
        "name": "TwinportSandbox",
        "title": "Twinport sandbox FHIR server",
        "status": "active",
        "experimental": True,
        "date": date,
        "publisher": "Twinport",
        "kind": "instance",
        "software": {"name": "twinport-sandbox", "version": version},
        "implementation": {"description": "Synthetic patients, in memory", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"],
        "rest": [rest],
    }
    if exports.levels:
        statement["instantiates"] = [f"{INSTANTIATES}|{exports.guide}"]
    return statement


def _security(settings: Settings) -> dict[str, Any]:
    if settings.bearer_token is None:
        return {"cors": False, "description": "Open: synthetic data only."}
    return {
        "cors": False,
        "service": [{"coding": [{"system": SECURITY_SERVICE, "code": "OAuth"}]}],
        "description": "A bearer token is needed.",
    }


def _resource(kind: str, settings: Settings) -> dict[str, Any]:
    codes = ["read", "vread", "search-type", "create", "update"]
    row: dict[str, Any] = {
        "type": kind,
        "profile": f"http://hl7.org/fhir/StructureDefinition/{kind}",
        "interaction": [{"code": code} for code in codes],
        "versioning": "versioned",
        "readHistory": True,
        "updateCreate": settings.update_as_create,
        "conditionalCreate": settings.conditional_create,
        "conditionalRead": "not-match",
        "conditionalUpdate": settings.conditional_update,
        "conditionalDelete": "not-supported",
        "searchParam": [{"name": p.name, "type": p.kind} for p in parameter_table()[kind].values()],
    }
    if includes := include_values(kind):
        row["searchInclude"] = includes
    if kind == "Patient" and settings.everything:
        definition = "http://hl7.org/fhir/OperationDefinition/Patient-everything"
        row["operation"] = [{"name": "everything", "definition": definition}]
    return row


def _add_exports(rest: dict[str, Any], exports: Manners) -> None:
    """At each level the operation of the guide, in the version whose dialect is spoken."""
    rows = {row["type"]: row for row in rest["resource"]}
    places = {"system": rest, "patient": rows["Patient"], "group": rows["Group"]}
    for level in exports.levels:
        definition = f"{DEFINITION}/{NAMES[level]}|{exports.guide}"
        listed = places[level].setdefault("operation", [])
        listed.append({"name": "export", "definition": definition})
