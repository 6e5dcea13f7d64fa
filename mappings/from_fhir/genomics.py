"""Observation → the diplotype or phenotype of one pharmacogene.

As HL7 Genomics Reporting has them: the gene is a component (or named by the code itself), the
diplotype a PharmVar coding, the phenotype a LOINC answer. Nothing below the level of alleles.
"""

from collections.abc import Iterable
from typing import Any

from mappings.from_fhir.collect import Collector, Context, Record
from mappings.from_fhir.read import codes
from mappings.vocabulary import genomics
from mappings.vocabulary.facts import GenomicFact

_WITHDRAWN = {"entered-in-error": "status-withdrawn", "cancelled": "status-cancelled"}
_CARRIED = ("diplotype", "phenotype")


def map_genomics(record: Record, context: Context, out: Collector) -> bool:
    """Whether the record was about genes at all; its fact, or why there is none, is in `out`."""
    rule = _rule(codes(record.get("code")))
    if rule is None:
        return False
    fact = _fact(record, rule, context)
    if isinstance(fact, str):
        out.aside(fact, record, time=context[1])
    else:
        out.genomics.append(fact)
    return True


def _rule(given: Iterable[tuple[str, str]]) -> genomics.GenomicCode | None:
    found = (genomics.CODES.get(code) for system, code in given if system == "loinc")
    return next((one for one in found if one is not None and one.kind in _CARRIED), None)


def _fact(record: Record, rule: genomics.GenomicCode, context: Context) -> GenomicFact | str:
    """The fact, or the rule that sets the record aside."""
    _, time, precision, status, _ = context
    withdrawn = _WITHDRAWN.get(record.get("status", ""))
    if withdrawn:
        return withdrawn
    stated = _genes(record) | ({rule.gene} if rule.gene else set())
    value = record.get("valueCodeableConcept")
    if not value:
        return "value-absent"
    if rule.kind == "phenotype":
        words = {genomics.phenotype_of(code) for system, code in codes(value) if system == "loinc"}
        if len(words) != 1 or "" in words:
            return "answer-unclear"
        if len(stated) != 1:
            return "gene-unclear"
        made = GenomicFact(stated.pop(), record["id"], (), words.pop())
    else:
        pairs = _diplotypes(value, stated)
        if len(pairs) != 1:
            return "genotype-unclear"
        pair = pairs.pop()
        if stated - {pair.gene}:
            return "gene-unclear"
        made = GenomicFact(pair.gene, record["id"], pair.alleles)
    return made._replace(time=time, precision=precision, status=status)


def _genes(record: Record) -> set[str]:
    """The genes that components name; one that we do not read stands as a name of its own."""
    found: set[str] = set()
    for component in record.get("component") or ():
        rules = [genomics.CODES.get(code) for _, code in codes(component.get("code"))]
        if any(rule is not None and rule.kind == "gene-studied" for rule in rules):
            given = codes(component.get("valueCodeableConcept"))
            found |= {genomics.gene_of(*one) or "other" for one in given}
    return found


def _diplotypes(value: Any, stated: set[str]) -> set[genomics.Diplotype]:
    gene = next(iter(stated)) if len(stated) == 1 and stated != {"other"} else ""
    given = [code for system, code in codes(value) if system == "pharmvar"]
    found = {genomics.diplotype(code) or genomics.diplotype(code, gene) for code in given}
    return {pair for pair in found if pair is not None}
