"""Whose resource is this? Nothing passes that does not say it belongs to the patient asked for."""

from collections.abc import Container

from service.fhir.kinds import Kind
from service.fhir.references import reference_of
from service.fhir.versions import Resource

FOREIGN = "foreign-subject"
UNPROVEN = "subject-unproven"


def verdict_on_subject(resource: Resource, kind: Kind, patients: Container[str]) -> str | None:
    """None when it is of one of `patients` (`Patient/id`: one person); else the reason to drop it.

    References have been made plain before, so an absolute one still here points to another server.
    """
    for element in kind.subject:
        text = reference_of(resource, element)
        if text in patients:
            return None
        if text is not None and not text.startswith(("#", "urn:")):
            return FOREIGN
    return UNPROVEN
