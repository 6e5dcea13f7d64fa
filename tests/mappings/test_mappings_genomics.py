"""Pharmacogenes: only a whole diplotype of known names is read, under our spelling."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.depth import examples

from mappings.vocabulary import genomics
from mappings.vocabulary.guards import is_known_code

PHARMVAR, HGNC = "http://www.pharmvar.org", "http://www.genenames.org/geneId"


@pytest.mark.parametrize(
    ("text", "gene", "alleles"),
    [
        ("CYP2C19 *1/*2", "", ("*1", "*2")),
        ("CYP2C19*17/*2", "", ("*2", "*17")),
        ("CYP2C19:*1/CYP2C19*1", "", ("*1", "*1")),
        ("*1/*15", "SLCO1B1", ("*1", "*15")),
        ("DPYD c.2846a>t/reference", "", ("reference", "c.2846A>T")),
        ("DPYD Reference/c.1129-5923C>G, c.1236G>A (HapB3)", "", ("reference", "c.1129-5923C>G")),
        ("CYP2D6 *4/*41", "", ("*4", "*41")),
    ],
)
def test_a_diplotype_is_read_under_its_names(
    text: str, gene: str, alleles: tuple[str, str]
) -> None:
    found = genomics.diplotype(text, gene)
    assert found is not None
    assert found.alleles == alleles


@pytest.mark.parametrize(
    "text",
    [
        "", "*1/*2", "CYP2C19", "CYP2C19 *1", "CYP2C19 *1/*2/*3", "CYP2C19 *1/Smith",
        "CYP2C19 *1/*2 (seen by Dr Smith)", "Smith *1/*2", "DPYD *99/*1", "DPYD c.1A>G/reference",
        "HLA-B *57:01/*58:01", "CYP2C19 *0/*1", "CYP2C19 *1234/*1", "CYP2C19 *1/*2\nname",
    ],
)  # fmt: skip
def test_anything_else_is_no_diplotype(text: str) -> None:
    assert genomics.diplotype(text) is None
    assert text == "*1/*2" or not is_known_code(PHARMVAR, text)


@settings(max_examples=examples(200))
@given(st.text(max_size=60), st.sampled_from(["", *genomics.GENES]))
def test_what_comes_out_is_spelled_by_us(text: str, gene: str) -> None:
    for tried in (text, f"{gene} {text}", f"{gene} *1/{text}"):
        found = genomics.diplotype(tried, gene)
        if found is not None:
            names = {one.name for one in genomics.alleles(found.gene)}
            assert all(n in names or genomics.STAR.fullmatch(n) for n in found.alleles)
            assert found.gene in genomics.GENES


def test_every_pair_of_tabled_alleles_is_read_back_from_its_own_spelling() -> None:
    for gene in genomics.TABLED:
        names = [one.name for one in genomics.alleles(gene)]
        for name in names:
            found = genomics.diplotype(f"{gene} {name}/{names[0]}")
            assert found is not None
            assert set(found.alleles) == {name, names[0]}


def test_gene_ids_pass_and_nothing_like_them() -> None:
    assert is_known_code(HGNC, "HGNC:2621")
    assert is_known_code(HGNC, "2621")
    assert not is_known_code(HGNC, "HGNC:1806"), "a wrong id of DPYD that circulates"
    assert not is_known_code(HGNC, "Smith")
    assert genomics.gene_of(HGNC, "HGNC:23663") == "", "its results are not star alleles"
    assert genomics.hgnc("DPYD") == "HGNC:3012"
