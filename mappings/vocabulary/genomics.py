"""Pharmacogenes: their codes, and diplotypes as pairs of allele names.

A diplotype is read only where it is wholly made of a gene and two allele names, either out of
`alleles.csv` or of the form of star alleles. What comes out is always our own spelling, so that no
text of a source can pass through it. Variants below the level of alleles are never read.
"""

import re
from types import MappingProxyType
from typing import NamedTuple

from mappings.vocabulary.check_digits import SHAPES
from mappings.vocabulary.systems import SHORT_NAMES
from mappings.vocabulary.tables import VocabularyError, read_table

KINDS = frozenset({"diplotype", "gene-studied", "phenotype", "not-carried", "answer", "gene"})
FUNCTIONS = frozenset({"no", "decreased", "normal", "increased", "uncertain", "not-current"})
STAR = re.compile(r"\*[1-9][0-9]{0,2}[A-Z]?", re.ASCII)
_SPLIT = re.compile(r"([A-Z][A-Z0-9-]{1,9})[ :]?(.{1,90})", re.ASCII | re.IGNORECASE)


class Allele(NamedTuple):
    """One allele of a gene with a table. `value` is its activity where the gene has scores."""

    gene: str
    name: str
    function: str
    value: float | None


class Diplotype(NamedTuple):
    gene: str
    alleles: tuple[str, str]  # in our spelling, sorted


class GenomicCode(NamedTuple):
    """What a LOINC code of genomics stands for; `gene` where the code itself names it."""

    kind: str
    gene: str = ""


def _read_codes() -> tuple[dict[str, GenomicCode], dict[str, str], dict[str, str], dict[str, str]]:
    codes: dict[str, GenomicCode] = {}
    answers: dict[str, str] = {}
    genes: dict[str, str] = {}
    forms: dict[str, str] = {}
    for line, row in read_table("genomics.csv"):
        kind, code = row["kind"], row["code"]
        if kind not in KINDS or code in codes | answers | genes:
            raise VocabularyError("genomics.csv", line, "unknown kind, or a code twice")
        if row["system"] == "loinc" and not SHAPES["loinc"](code):
            raise VocabularyError("genomics.csv", line, "the code fails its check digit")
        if kind == "gene":
            genes[code] = row["value"]
            forms[row["value"]] = row["label"]
        elif kind == "answer":
            answers[code] = row["value"]
        else:
            codes[code] = GenomicCode(kind, row["value"])
    return codes, answers, genes, forms


def _read_alleles() -> dict[str, dict[str, Allele]]:
    """Gene -> every spelling in lower case -> the allele."""
    found: dict[str, dict[str, Allele]] = {}
    for line, row in read_table("alleles.csv"):
        value = float(row["value"]) if row["value"] else None
        allele = Allele(row["gene"], row["allele"], row["function"], value)
        spellings = found.setdefault(row["gene"], {})
        for spelling in (row["allele"], *filter(None, row["also"].split("|"))):
            if spelling.lower() in spellings or row["function"] not in FUNCTIONS:
                raise VocabularyError("alleles.csv", line, "a name twice, or an unknown function")
            spellings[spelling.lower()] = allele
    return found


_CODES, _ANSWERS, _GENES, _FORMS = _read_codes()
_ALLELES = _read_alleles()
CODES = MappingProxyType(_CODES)  # LOINC code -> what it stands for
GENOTYPE = next(code for code, one in _CODES.items() if one.kind == "diplotype")
GENE_STUDIED = next(code for code, one in _CODES.items() if one.kind == "gene-studied")
PHENOTYPES = tuple(sorted(set(_ANSWERS.values())))
GENES = tuple(sorted(gene for gene, form in _FORMS.items() if form != "none"))
TABLED = tuple(sorted(_ALLELES))


def gene_of(system: str, code: str) -> str:
    """The symbol of an HGNC id (with or without its prefix), where we read the gene at all."""
    if SHORT_NAMES.get(system) != "hgnc":
        return ""
    gene = _GENES.get(code if code.startswith("HGNC:") else f"HGNC:{code}", "")
    return gene if gene in GENES else ""


def is_gene(code: str) -> bool:
    """Whether a code is the HGNC id of one of the genes in the table."""
    return (code if code.startswith("HGNC:") else f"HGNC:{code}") in _GENES


def hgnc(gene: str) -> str:
    return next(code for code, symbol in _GENES.items() if symbol == gene)


def phenotype_of(code: str) -> str:
    """Our word for a LOINC answer; empty for an answer about something else."""
    return _ANSWERS.get(code, "")


def phenotype_code(phenotype: str) -> str:
    return next((code for code, word in _ANSWERS.items() if word == phenotype), "")


def observation_code(gene: str) -> str:
    """The LOINC code of a gene's phenotype; empty where none was confirmed."""
    named = (code for code, one in _CODES.items() if one == GenomicCode("phenotype", gene))
    return next(named, "")


def allele(gene: str, name: str) -> Allele | None:
    """An allele of `alleles.csv` under any of its names."""
    return _ALLELES.get(gene, {}).get(name.strip().lower())


def alleles(gene: str) -> tuple[Allele, ...]:
    return tuple(dict.fromkeys(_ALLELES.get(gene, {}).values()))


def diplotype(text: str, gene: str = "") -> Diplotype | None:
    """`CYP2C19 *1/*17`, or `*1/*17` where the gene is known; None for anything else."""
    found = _SPLIT.fullmatch(text.strip())
    named = found[1].upper() if found is not None else ""
    named = named if named in GENES else ""
    if (named and gene and named != gene) or not (named or gene):
        return None
    pair = (found[2] if named and found is not None else text).split("/")
    known = [_spelled(named or gene, one) for one in pair]
    if len(known) != 2 or not all(known):
        return None
    first, second = sorted(known, key=_order)
    return Diplotype(named or gene, (first, second))


def is_diplotype(code: str) -> bool:
    """Whether a code is wholly a diplotype, with its gene or as two star alleles."""
    bare = code.split("/")
    stars = len(bare) == 2 and all(STAR.fullmatch(name.strip()) for name in bare)
    return stars or diplotype(code) is not None


def _spelled(gene: str, name: str) -> str:
    """Our spelling of one allele; empty for what is none."""
    whole = name.strip()
    bare = whole[len(gene) :].strip() if whole.upper().startswith(gene) else whole
    known = allele(gene, bare)
    if known is not None:
        return known.name
    return bare if gene in GENES and gene != "DPYD" and STAR.fullmatch(bare) else ""


def _order(name: str) -> tuple[int, str]:
    digits = re.search(r"[0-9]+", name)
    return (int(digits[0]) if digits else 0, name)
