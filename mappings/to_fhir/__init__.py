"""From assessments to FHIR R4 resources."""

from mappings.to_fhir.assessment import assessment_resources
from mappings.to_fhir.bundle import transaction_bundle
from mappings.to_fhir.ladder import form_of
from mappings.to_fhir.links import Links, LinksError
from mappings.to_fhir.model_card import with_card

__all__ = [
    "Links",
    "LinksError",
    "assessment_resources",
    "form_of",
    "transaction_bundle",
    "with_card",
]
