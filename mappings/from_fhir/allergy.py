"""AllergyIntolerance → what the person must not get."""

from mappings.from_fhir.collect import Collector, Record
from mappings.from_fhir.read import code_in, codes, span
from mappings.vocabulary.facts import AllergyFact


def map_allergy(record: Record, out: Collector) -> None:
    verification = code_in(record.get("verificationStatus"), "allergy-verification")
    if verification == "entered-in-error":
        return out.aside("status-withdrawn", record)
    if verification == "refuted":
        return out.aside("allergy-refuted", record)
    given = codes(record.get("code"))
    if not given:
        return out.not_mapped(record, given)
    (onset, _), _ = span(record, "onset")
    clinical = code_in(record.get("clinicalStatus"), "allergy-clinical")
    out.allergies.append(AllergyFact(*given[0], clinical, verification, record["id"], onset))
    return None
