"""Condition → one fact for each group its codes belong to."""

from mappings.from_fhir.collect import Collector, Record
from mappings.from_fhir.read import Moment, code_in, codes, moment, span
from mappings.vocabulary.facts import ConditionFact
from mappings.vocabulary.groups import condition_membership


def map_condition(record: Record, out: Collector) -> None:
    verification = code_in(record.get("verificationStatus"), "condition-ver-status")
    if verification == "entered-in-error":
        return out.aside("status-withdrawn", record)
    if verification == "refuted":
        return out.aside("condition-refuted", record)
    given = codes(record.get("code"))
    grouped = condition_codes(given)
    if not grouped:
        out.not_mapped(record, given)
        grouped = [("", *given[0])] if given else []
    for group, system, code in grouped:
        out.conditions.append(_fact(record, group, system, code, verification))
    return None


def condition_codes(given: list[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """(group, system, code), the first code of each group. An exclusion by any code wins."""
    groups: dict[str, tuple[str, str]] = {}
    excluded: set[str] = set()
    for system, code in given:
        membership = condition_membership(system, code)
        excluded |= membership.excluded
        for group in membership.groups:
            groups.setdefault(group, (system, code))
    return [(group, *groups[group]) for group in sorted(groups.keys() - excluded)]


def _fact(record: Record, group: str, system: str, code: str, verification: str) -> ConditionFact:
    (onset, onset_precision), _ = span(record, "onset")
    abatement, abatement_precision = _abatement(record)
    return ConditionFact(
        group=group,
        system=system,
        code=code,
        clinical=code_in(record.get("clinicalStatus"), "condition-clinical"),
        verification=verification,
        source=record["id"],
        onset=onset,
        onset_precision=onset_precision,
        onset_age=record.get("onsetAge"),
        abatement=abatement,
        abatement_precision=abatement_precision,
        recorded=moment(record.get("recordedDate"))[0],
    )


def _abatement(record: Record) -> Moment:
    """When it ended: of a period of abating, its end."""
    start, end = span(record, "abatement")
    return end if end[0] is not None else start
