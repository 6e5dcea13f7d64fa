"""What no longer holds is marked on our own façade as it is on the patient's server."""

import orjson

from service.pipeline.origin import IDENTIFIER_SYSTEM
from service.refresh.earlier import Cause, Earlier
from service.stores import Database
from service.stores.own import Own, OwnFilter, OwnStore

_TYPES = ("RiskAssessment", "Observation")
_MOST = 100


def mark_own(database: Database, twin: str, one: Earlier) -> None:
    """A withdrawn input, or a corrected one without a newer result: entered-in-error."""
    if one.cause is Cause.RENEWED or (one.cause is Cause.CORRECTED and one.successor):
        return
    store = OwnStore(database)
    for kind in _TYPES:
        where = OwnFilter(type=kind, twins=[twin], identifiers=[(IDENTIFIER_SYSTEM, one.key)])
        found, _ = store.search(where, limit=_MOST, after=None)
        store.keep([_withdrawn(own) for own in found])


def _withdrawn(own: Own) -> Own:
    content = orjson.loads(own.content) | {"status": "entered-in-error"}
    return Own(own.type, own.id, own.twin, orjson.dumps(content), own.system, own.value, own.target)
