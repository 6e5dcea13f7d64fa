"""What no longer holds is marked on our own façade as it is on the patient's server."""

from dataclasses import replace
from typing import Any

import orjson

from service.fhir.look import ACCEPTED, WITHDRAWN
from service.pipeline.origin import IDENTIFIER_SYSTEM
from service.refresh.correct import TAG, flagged, superseded
from service.refresh.earlier import Cause, Earlier
from service.stores import Database
from service.stores.own import Own, OwnFilter, OwnStore
from twin_engine.models.shelf import Expiry

_TYPES = ("RiskAssessment", "Observation")
_MOST = 100
_PAST = "No longer current: past the shelf life that its model declares."
_TOO_OLD = "No longer current: an input is older than the model accepts."

Json = dict[str, Any]


def mark_own(database: Database, twin: str, one: Earlier) -> None:
    """A withdrawn input, or a corrected one without a newer result: entered-in-error; what a person
    accepted is flagged instead, whatever came of its inputs."""
    if one.cause is Cause.RENEWED and not one.refused:
        return
    corrected = one.cause is Cause.CORRECTED and one.replaced
    store = OwnStore(database)
    for kind in _TYPES:
        where = OwnFilter(type=kind, twins=[twin], identifiers=[(IDENTIFIER_SYSTEM, one.key)])
        found, _ = store.search(where, limit=_MOST, after=None)
        store.keep([_outdated(own) if one.refused else _marked(own, corrected) for own in found])


def past(resource: Json, end: Expiry) -> Json:
    """The result, saying that it is no longer current."""
    tag = {"system": TAG, "code": "no-longer-current"}
    meta = resource.get("meta") or {}
    note = {"text": _PAST if end.cause == "shelf-life" else _TOO_OLD}
    return {
        **resource,
        "meta": {**meta, "tag": [*meta.get("tag", ()), tag]},
        "note": [*resource.get("note", ()), note],
    }


def _outdated(own: Own) -> Own:
    """A refusal was no error: the model was asked again."""
    resource = orjson.loads(own.content)
    return replace(own, content=orjson.dumps(superseded(resource) or resource))


def _marked(own: Own, corrected: bool) -> Own:
    resource = orjson.loads(own.content)
    if resource["status"] in ACCEPTED:
        resource = flagged(resource) or resource
    elif not corrected:
        resource = {**resource, "status": WITHDRAWN}
    return replace(own, content=orjson.dumps(resource))
