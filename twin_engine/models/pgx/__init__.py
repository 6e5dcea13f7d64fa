"""CPIC guidance for three genes: from a diplotype or a phenotype to what the guideline says.

A lookup, not a prediction: the value of an outcome is 1 where the guideline asks for another
medicine or dose than usual and 0 where it does not; its category names which. Alleles come from the
vocabulary, their meaning and the recommendations from the tables beside this file.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from mappings.vocabulary import genomics
from twin_engine.equations.expression import FloatArray
from twin_engine.equations.library import file_digest, read_table, read_yaml
from twin_engine.models.canonical import digest
from twin_engine.models.cells import parse_cell
from twin_engine.models.contract import Choice, Columns, Input, Model, OutcomeSpec, Target
from twin_engine.models.equation_model import AI_KINDS
from twin_engine.models.vectors import Vector

INDETERMINATE, NOT_CURRENT = "indeterminate", "not-current"
REFUSED = {INDETERMINATE: "indeterminate-result", NOT_CURRENT: "allele-not-current"}
HOMOZYGOUS = ("DPYD", ("c.2846A>T", "c.2846A>T"))  # a note of the guideline's own
ADULT = 18.0
RXNORM = {
    "fluorouracil": "4492", "capecitabine": "194000", "clopidogrel": "32968",
    "simvastatin": "36567", "atorvastatin": "83367",
}  # fmt: skip
SITUATIONS = {
    "clopidogrel-acs-pci": "acute coronary syndrome or PCI",
    "clopidogrel-cardiovascular": "other cardiovascular indications",
    "clopidogrel-neurovascular": "neurovascular indications",
}
GENE_OF = {
    "fluorouracil": "DPYD", "capecitabine": "DPYD", "simvastatin": "SLCO1B1",
    "atorvastatin": "SLCO1B1", **dict.fromkeys(SITUATIONS, "CYP2C19"),
}  # fmt: skip
STATINS = frozenset({"simvastatin", "atorvastatin"})
BY_HISTORY = "clopidogrel-acs-pci"  # prasugrel is contraindicated after a stroke or TIA


class Recommendation(NamedTuple):
    changes: bool
    code: str
    strength: str
    sentence: str
    source: str


# -- tables ------------------------------------------------------------------------------------


def _table(name: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    return read_table(files(__package__).joinpath(name).read_text(encoding="utf-8"))


@cache
def _meanings() -> Mapping[tuple[str, Any], str]:
    """(gene, pair of functions or score) -> what CPIC calls it."""
    sources, rows = _table("phenotypes.csv")
    found: dict[tuple[str, Any], str] = {}
    for row in rows:
        if row["source"] not in sources:
            raise ValueError(f"phenotypes.csv: undeclared source {row['source']!r}")
        pair = frozenset((row["first"], row["second"]))
        found[row["gene"], float(row["score"]) if row["score"] else pair] = row["phenotype"]
    return MappingProxyType(found)


@cache
def recommendations() -> Mapping[tuple[str, str, str], Recommendation]:
    """(outcome, result, history) -> what the guideline says."""
    sources, rows = _table("recommendations.csv")
    found: dict[tuple[str, str, str], Recommendation] = {}
    for row in rows:
        said = Recommendation(
            row["changes"] == "1",
            row["code"],
            row["strength"],
            row["sentence"],
            sources[row["source"]],
        )
        for outcome in _outcomes_of(row["outcome"]):
            for history in [row["history"]] if row["history"] else ["clear", "not-clear"]:
                found[outcome, row["result"], history] = said
    return MappingProxyType(found)


def _outcomes_of(name: str) -> tuple[str, ...]:
    return ("fluorouracil", "capecitabine") if name == "fluoropyrimidine" else (name,)


def meaning(pair: genomics.Diplotype) -> str:
    """The result a diplotype stands for; `indeterminate` or `not-current` where there is none."""
    if (pair.gene, pair.alleles) == HOMOZYGOUS:
        return "intermediate-metabolizer-1.0-2846"
    known = [genomics.allele(pair.gene, name) for name in pair.alleles]
    first, second = known
    if first is None or second is None or NOT_CURRENT in (first.function, second.function):
        return NOT_CURRENT
    key: Any = frozenset((first.function, second.function))
    if first.value is not None and second.value is not None:
        key = first.value + second.value
    return _meanings().get((pair.gene, key), INDETERMINATE)


# -- inputs ------------------------------------------------------------------------------------


class Spellings(Mapping[str, str]):
    """How a table or a record may state the result of one gene: a diplotype, or its meaning."""

    def __init__(self, gene: str, results: Sequence[str]) -> None:
        self._gene, self._results = gene, results

    def __getitem__(self, text: str) -> str:
        if text in self._results:
            return text
        pair = genomics.diplotype(text, self._gene)
        if pair is None:
            raise KeyError(text)
        return meaning(pair)

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)


def _results(gene: str) -> tuple[str, ...]:
    """The answers of one gene, those with a recommendation first."""
    said = dict.fromkeys(
        result for outcome, result, _ in recommendations() if GENE_OF[outcome] == gene
    )
    derived = {name for (of, _), name in _meanings().items() if of == gene}
    return (*said, *sorted(derived - said.keys()), INDETERMINATE, NOT_CURRENT)


def _gene_input(gene: str) -> Input:
    name, results = gene.lower(), _results(gene)
    return Input(
        name,
        gene,
        name,
        choices=results,
        words=Spellings(gene, results),
        sources=({"genotype": gene},),
        refuses=MappingProxyType(REFUSED),
    )


STROKE = ("stroke-any", "stroke-ischaemic", "stroke-haemorrhagic", "stroke-tia-history", "tia")


def _inputs() -> dict[str, Input]:
    age = Input(
        "age", "AGE", "age", "a", optional=True, sources=({"subject": "age"},),
        bounds=(0.0, 120.0), top_coded=True,
    )  # fmt: skip
    stroke = Input(
        "stroke-tia", "STROKE", "stroke-tia", flag=True, optional=True,
        sources=({"condition": [*STROKE], "when": "ever"},),
    )  # fmt: skip
    genes = [_gene_input(gene) for gene in ("DPYD", "CYP2C19", "SLCO1B1")]
    return {one.id: one for one in (*genes, stroke, age)}


def _outcomes() -> dict[str, OutcomeSpec]:
    return {
        outcome: OutcomeSpec(outcome, "1", (), True, _label(outcome, gene), {}, _about(outcome))
        for outcome, gene in GENE_OF.items()
    }


def _label(outcome: str, gene: str) -> str:
    drug, situation = outcome.partition("-")[0], SITUATIONS.get(outcome, "")
    return f"{drug.capitalize()}{f', {situation}' if situation else ''}: CPIC guidance for {gene}"


def _about(outcome: str) -> Mapping[str, str]:
    drug = outcome.partition("-")[0]
    return {"system": "rxnorm", "code": RXNORM[drug], "display": drug}


# -- the model ---------------------------------------------------------------------------------


def _bands() -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    found: dict[str, dict[str, Mapping[str, str]]] = {}
    for (outcome, _, _), said in recommendations().items():
        found.setdefault(f"cpic-{outcome}", {})[said.code] = {
            "text": said.sentence,
            "strength": said.strength,
            "source": said.source,
        }
    return MappingProxyType(found)


def _vector(
    inputs: Mapping[str, Input], sources: Mapping[str, str], row: Mapping[str, str]
) -> Vector:
    """A result of one gene, and the code of what the guideline says, or why it says nothing."""
    cells = {row["gene"]: row["result"], "stroke-tia": row["stroke-tia"], "age": row["age"]}
    given = {name: parse_cell(cell, inputs[name])[0] for name, cell in cells.items() if cell}
    expected = {Target(row["outcome"], None): row["code"] or row["refusal"].partition(":")[0]}
    return Vector(row["id"], sources[row["source"]], given, expected)


class Pgx(Model):
    """What CPIC says of five medicines for what is known of three genes."""

    id, version, kind = "pgx", "1.0.0", "recommendation"
    title = "CPIC pharmacogenetic guidance"
    inputs: Mapping[str, Input] = MappingProxyType(_inputs())
    outcomes: Mapping[str, OutcomeSpec] = MappingProxyType(_outcomes())
    variants: Mapping[str, tuple[str, ...]] = MappingProxyType({"published": ("age", "stroke-tia")})
    choices = (Choice("published", 0, ()),)
    exclusions = (
        {"reason": "donor-genes", "procedure": ("bone-marrow-transplant",), "when": "ever"},
    )
    only_with = "genomics"
    not_monotone = "Results of a gene have no order, and what is said of them is a recommendation."
    ai_kinds = AI_KINDS

    def __init__(self) -> None:
        folder = files("twin_engine.models.pgx")
        self.card = read_yaml(folder, "card.yaml")
        tables = ("phenotypes.csv", "recommendations.csv")
        self.bands = _bands()
        self.content = {name: file_digest(folder, name) for name in tables} | {
            "alleles": digest([list(one) for g in genomics.TABLED for one in genomics.alleles(g)])
        }

    def vectors(self) -> Sequence[Vector]:
        sources, rows = _table("vectors.csv")
        return [_vector(self.inputs, sources, row) for row in rows if row["code"] or row["age"]]

    def needs(self, variant: str, target: Target) -> frozenset[str]:
        gene = GENE_OF[target.outcome].lower()
        more = {"stroke-tia"} if target.outcome == BY_HISTORY else set()
        more |= {"age"} if target.outcome in STATINS else set()
        return frozenset({gene, *more})

    def compute(self, columns: Columns, variant: str, targets: Sequence[Target]) -> FloatArray:
        return np.array([self._changes(columns, target) for target in targets])

    def _changes(self, columns: Columns, target: Target) -> FloatArray:
        """1, 0, or NaN where the guideline says nothing or is not for this person."""
        gene = GENE_OF[target.outcome].lower()
        values = np.array([self._said(target, gene, place) for place in columns[gene]])
        young = columns["age"] < ADULT  # false where the age is unknown
        return np.where(young & (target.outcome in STATINS), np.nan, values)

    def _said(self, target: Target, gene: str, place: float) -> float:
        said = recommendations().get((target.outcome, self._result(gene, place), "clear"))
        return np.nan if said is None else float(said.changes)

    def _result(self, gene: str, place: float) -> str:
        return self.inputs[gene].choices[int(place)]

    def category(
        self, target: Target, value: float, row: Mapping[str, float]
    ) -> tuple[str, str] | None:
        gene = GENE_OF[target.outcome].lower()
        history = "clear" if row.get("stroke-tia") == 0 else "not-clear"
        said = recommendations()[target.outcome, self._result(gene, row[gene]), history]
        return f"cpic-{target.outcome}", said.code
