"""Decisions on our own façade: the same statuses as in the chart, without anybody's own words."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import orjson

from mappings.to_fhir import Reviewed, bears, review_provenance, reviewed
from service.pipeline.origin import IDENTIFIER_SYSTEM
from service.stores.own import Own, OwnFilter, OwnStore

_TYPES = ("RiskAssessment", "Observation")
_MOST = 100


def mark_own(store: OwnStore, twin: str, key: str, review: Reviewed) -> None:
    """The result as it stands from now on, and who decided."""
    for kind in _TYPES:
        where = OwnFilter(type=kind, twins=[twin], identifiers=[(IDENTIFIER_SYSTEM, key)])
        found, _ = store.search(where, limit=_MOST, after=None)
        store.keep(with_decisions(found, {key: review}))


def with_decisions(own: Iterable[Own], decisions: Mapping[str, Reviewed]) -> list[Own]:
    """Resources that are kept anew must not lose what a person decided on them."""
    kept: list[Own] = []
    for one in own:
        review = decisions.get((one.value or "").partition(".")[0])
        kept += [one] if review is None or one.type not in _TYPES else _decided(one, review)
    return kept


def _decided(one: Own, review: Reviewed) -> list[Own]:
    """Comments stay in the patient's chart: the façade is read by more people than it."""
    silent = replace(review, comment="")
    resource = orjson.loads(one.content)
    changed = resource if bears(resource, silent) else reviewed(resource, silent)
    reference = f"{one.type}/{one.id}"
    provenance = review_provenance(reference, silent)
    return [
        replace(one, content=orjson.dumps(changed)),
        Own("Provenance", provenance["id"], one.twin, orjson.dumps(provenance), target=reference),
    ]
