"""Identified resources through the de-identifier and the mapper, as in a run."""

from datetime import UTC, date, datetime
from typing import Any

from mappings.from_fhir import map_records
from mappings.vocabulary.facts import Mapped
from privacy.deidentify import Refused
from privacy.pseudonyms import Pseudonyms
from privacy.subject import SubjectContext
from service.pipeline.guards import deidentifier_of

Resource = dict[str, Any]
NOW = date(2021, 3, 1)


def patient(**more: Any) -> Resource:
    return {
        "resourceType": "Patient",
        "id": "p1",
        "gender": "female",
        "birthDate": "1950-06-12",
    } | more


def mapped(*resources: Resource, person: Resource | None = None, policy: str = "") -> Mapped:
    who = person or patient()
    subject = SubjectContext.of(
        who, epoch=datetime(2015, 1, 1, tzinfo=UTC), now=NOW, pseudonym=Pseudonyms()
    )
    session = deidentifier_of(policy or "safe-harbor").session(subject)
    kept = [session.apply(resource) for resource in (who, *resources)]
    records = [record for record in kept if not isinstance(record, Refused)]
    return map_records(records, session.now, 1440 if policy == "relative-minutes" else 1)
