"""The clinical vocabulary: concepts, codes, units, groups. Tables are data; this is the way in."""

from importlib import resources

from mappings.vocabulary.acquisition import (
    Parameter,
    acquisition_parameters,
    body_site_of_part,
)
from mappings.vocabulary.answers import (
    body_site_labels,
    coded_answers,
    hl7_codes,
    method_labels,
    modality_labels,
    smoking_status,
)
from mappings.vocabulary.concept_table import (
    CodeRule,
    Concept,
    concept,
    concept_for,
    concepts,
    decimals,
    preferred_code,
)
from mappings.vocabulary.doses import LARGEST as LARGEST_DOSE
from mappings.vocabulary.doses import SMALLEST as SMALLEST_DOSE
from mappings.vocabulary.doses import Dose, dose, dose_units
from mappings.vocabulary.doses import coded as dose_code
from mappings.vocabulary.groups import (
    Membership,
    condition_groups,
    condition_labels,
    condition_membership,
    general_code,
    is_grouped,
    procedure_groups,
    procedure_labels,
    vaccine_labels,
    vaccine_targets,
)
from mappings.vocabulary.guards import is_known_code
from mappings.vocabulary.medications import Medicine, ingredients, medication, medication_labels
from mappings.vocabulary.rule_table import Rule, rules
from mappings.vocabulary.systems import short_name, system_addresses, uri
from mappings.vocabulary.tables import VocabularyError
from mappings.vocabulary.type_table import TypeRule, type_rules
from mappings.vocabulary.units import (
    Converted,
    Refused,
    UnitRule,
    clinical_decimals,
    convert,
    is_known_unit,
    unit_label,
    unit_rule,
    unit_spellings,
)


def attribution() -> str:
    """The notices that the sources of the tables ask for (Markdown)."""
    return resources.files(__package__).joinpath("attribution.md").read_text("utf-8")


__all__ = [
    "LARGEST_DOSE",
    "SMALLEST_DOSE",
    "CodeRule",
    "Concept",
    "Converted",
    "Dose",
    "Medicine",
    "Membership",
    "Parameter",
    "Refused",
    "Rule",
    "TypeRule",
    "UnitRule",
    "VocabularyError",
    "acquisition_parameters",
    "attribution",
    "body_site_labels",
    "body_site_of_part",
    "clinical_decimals",
    "coded_answers",
    "concept",
    "concept_for",
    "concepts",
    "condition_groups",
    "condition_labels",
    "condition_membership",
    "convert",
    "decimals",
    "dose",
    "dose_code",
    "dose_units",
    "general_code",
    "hl7_codes",
    "ingredients",
    "is_grouped",
    "is_known_code",
    "is_known_unit",
    "medication",
    "medication_labels",
    "method_labels",
    "modality_labels",
    "preferred_code",
    "procedure_groups",
    "procedure_labels",
    "rules",
    "short_name",
    "smoking_status",
    "system_addresses",
    "type_rules",
    "unit_label",
    "unit_rule",
    "unit_spellings",
    "uri",
    "vaccine_labels",
    "vaccine_targets",
]
