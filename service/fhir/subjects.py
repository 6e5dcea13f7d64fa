"""Whose resource is this? Nothing passes that does not say it belongs to the patient asked for."""

from service.fhir.kinds import Kind
from service.fhir.references import reference_of
from service.fhir.versions import Resource

FOREIGN = "foreign-subject"
UNPROVEN = "subject-unproven"


def verdict_on_subject(resource: Resource, kind: Kind, patient: str) -> str | None:
    """None when it is `patient`'s (`Patient/id`); otherwise the reason to drop it.

    References have been made plain before, so an absolute one still here points to another server.
    """
    for element in kind.subject:
        text = reference_of(resource, element)
        if text == patient:
            return None
        if text is not None and not text.startswith(("#", "urn:")):
            return FOREIGN
    return UNPROVEN
