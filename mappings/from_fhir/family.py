"""FamilyMemberHistory → which relative had which group of condition."""

from mappings.from_fhir.collect import Collector, Record
from mappings.from_fhir.condition import condition_codes
from mappings.from_fhir.read import code_in, codes
from mappings.vocabulary.answers import hl7_codes
from mappings.vocabulary.facts import FamilyFact

_RELATIONSHIPS = hl7_codes("relationship")
_SOMEBODY = "FAMMEMB"  # a family member, relationship not stated or not known to us


def map_family_history(record: Record, out: Collector) -> None:
    if record.get("status") == "entered-in-error":
        return out.aside("status-withdrawn", record)
    relationship = code_in(record.get("relationship"), "relationship")
    if relationship not in _RELATIONSHIPS:
        relationship = _SOMEBODY
    for condition in record.get("condition") or ():
        _map_condition(record, relationship, condition, out)
    return None


def _map_condition(record: Record, relationship: str, condition: Record, out: Collector) -> None:
    given = codes(condition.get("code"))
    grouped = condition_codes(given)
    if not grouped:
        out.not_mapped(record, given)
        grouped = [("", *given[0])] if given else []
    for group, system, code in grouped:
        out.family.append(
            FamilyFact(relationship, group, system, code, record["id"], condition.get("onsetAge"))
        )
