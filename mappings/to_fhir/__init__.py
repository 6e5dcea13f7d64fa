"""From assessments to FHIR R4 resources."""

from mappings.to_fhir.assessment import assessment_resources
from mappings.to_fhir.bundle import transaction_bundle
from mappings.to_fhir.links import Links, LinksError

__all__ = ["Links", "LinksError", "assessment_resources", "transaction_bundle"]
