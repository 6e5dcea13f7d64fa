"""From assessments to FHIR R4 resources."""

from mappings.to_fhir.assessment import assessment_resources, outline
from mappings.to_fhir.bundle import transaction_bundle
from mappings.to_fhir.companions import device_of
from mappings.to_fhir.ladder import form_of
from mappings.to_fhir.links import Links, LinksError
from mappings.to_fhir.model_card import with_card
from mappings.to_fhir.notice import Notice, notice_of, notice_type
from mappings.to_fhir.refusal import refusal_of
from mappings.to_fhir.review import Reviewed, bears, is_open, review_provenance, reviewed

__all__ = [
    "Links",
    "LinksError",
    "Notice",
    "Reviewed",
    "assessment_resources",
    "bears",
    "device_of",
    "form_of",
    "is_open",
    "notice_of",
    "notice_type",
    "outline",
    "refusal_of",
    "review_provenance",
    "reviewed",
    "transaction_bundle",
    "with_card",
]
