"""The closed lists a document is written with: our vocabulary, and the words of `words.toml`."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import NamedTuple

from mappings import vocabulary
from mappings.vocabulary import genomics

# A unit a value came in that is not one of the vocabulary's spellings is recorded as this.
OTHER_UNIT = "other"


class Terms(NamedTuple):
    """What the clinical vocabulary contributes; the schema of a document is made from it."""

    units: Mapping[str, str]  # concept -> canonical unit
    plausible: Mapping[str, tuple[float, float]]  # concept -> what a value can possibly be
    answers: Mapping[str, tuple[str, ...]]  # coded concept -> its possible answers
    spellings: frozenset[str]  # units as servers write them
    conditions: tuple[str, ...]
    medications: tuple[str, ...]
    ingredients: tuple[str, ...]
    dose_units: tuple[str, ...]
    procedures: tuple[str, ...]
    vaccines: tuple[str, ...]  # what a vaccine can be against
    rules: tuple[str, ...]
    modalities: tuple[str, ...]
    body_sites: tuple[str, ...]
    methods: tuple[str, ...]
    flags: tuple[str, ...]
    acquisition: Mapping[str, vocabulary.Parameter]
    relationships: tuple[str, ...]
    genes: tuple[str, ...]
    alleles: tuple[str, ...]  # those without the form of a star allele
    phenotypes: tuple[str, ...]


class Words(NamedTuple):
    """One list of `words.toml`."""

    words: tuple[str, ...]
    source: str


@cache
def words() -> dict[str, Words]:
    table = tomllib.loads(resources.files(__package__).joinpath("words.toml").read_text("utf-8"))
    return {name: Words(tuple(row["words"]), row["source"]) for name, row in table.items()}


@cache
def load() -> Terms:
    """The shipped vocabulary."""
    return Terms(
        units={concept.id: concept.unit for concept in vocabulary.concepts()},
        plausible={concept.id: concept.plausible for concept in vocabulary.concepts()},
        answers=vocabulary.coded_answers(),
        spellings=vocabulary.unit_spellings() - {""},
        conditions=tuple(sorted(vocabulary.condition_labels())),
        medications=tuple(sorted(vocabulary.medication_labels())),
        ingredients=vocabulary.ingredients(),
        dose_units=vocabulary.dose_units(),
        procedures=tuple(sorted(vocabulary.procedure_labels())),
        vaccines=tuple(sorted(vocabulary.vaccine_labels())),
        rules=tuple(sorted(vocabulary.rules())),
        modalities=tuple(sorted(vocabulary.modality_labels())),
        body_sites=tuple(sorted(vocabulary.body_site_labels())),
        methods=tuple(sorted(vocabulary.method_labels())),
        flags=tuple(sorted(vocabulary.hl7_codes("interpretation"))),
        acquisition=vocabulary.acquisition_parameters(),
        relationships=tuple(sorted(vocabulary.hl7_codes("relationship"))),
        genes=genomics.GENES,
        alleles=tuple(
            sorted(
                allele.name
                for gene in genomics.TABLED
                for allele in genomics.alleles(gene)
                if not genomics.STAR.fullmatch(allele.name)
            )
        ),
        phenotypes=genomics.PHENOTYPES,
    )
